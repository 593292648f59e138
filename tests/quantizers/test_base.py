"""What every registered quantizer must keep. Oracle: its own names, read and written again."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest
from packaging.requirements import Requirement

from bitloss.quantizers import Quantizer, all_quantizers, quantizer_of
from bitloss.spec.recipe import common_recipes, parse_recipe

HEAVY = ("torch", "transformers", "gguf", "llama_cpp", "gptqmodel", "pydantic", "datasets")


@pytest.mark.parametrize("name", common_recipes())
def test_a_common_recipe(name: str) -> None:
    recipe = parse_recipe(name)
    quantizer = quantizer_of(recipe)
    assert recipe.name == name
    assert quantizer.method == recipe.method
    assert is_dataclass(recipe.options)
    with pytest.raises(FrozenInstanceError):
        setattr(recipe.options, fields(recipe.options)[0].name, None)
    assert quantizer.describe(recipe.options)
    assert 1 < quantizer.bits_per_weight(recipe) <= 32


@pytest.mark.parametrize("quantizer", all_quantizers(), ids=lambda q: q.method)
def test_the_extra_installs_the_packages(quantizer: Quantizer) -> None:
    """Oracle: the requirements in bitloss's own metadata."""
    requirements = list(map(Requirement, importlib.metadata.requires("bitloss") or []))
    installed = {
        requirement.name
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": quantizer.extra})
    }
    assert set(quantizer.packages) <= installed


def test_bits_fall_with_the_name() -> None:
    ladder = ["gguf-q8_0", "gptq-8", "gguf-q6_k", "gguf-q4_k_m", "gptq-4", "gptq-3", "gptq-2"]
    bits = [quantizer_of(r).bits_per_weight(r) for r in map(parse_recipe, ladder)]
    assert bits == sorted(bits, reverse=True)


def test_slow_methods_have_the_greater_pace() -> None:
    paces = {quantizer.method: quantizer.pace for quantizer in all_quantizers()}
    assert paces["awq"] > paces["gptq"] > paces["gguf"]


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = replace(all_quantizers()[0], packages=("torch", "no-such-package"))
    assert quantizer.missing_packages() == ("no-such-package",)
    assert quantizer.versions() == {
        "torch": importlib.metadata.version("torch"), "no-such-package": "",
    }  # fmt: skip


def test_names_are_read_without_a_library() -> None:
    program = (
        "import sys\n"
        "from bitloss.spec.recipe import parse_recipe, common_recipes, is_recipe_name\n"
        "assert all(parse_recipe(name).name == name for name in common_recipes())\n"
        "assert is_recipe_name('gptq-4@code')\n"
        "from bitloss.quantizers import all_quantizers\n"
        "print([q.versions() for q in all_quantizers()] and sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {f"'{name}'" for name in HEAVY} & set(done.stdout.strip("[]\n").split(", "))
