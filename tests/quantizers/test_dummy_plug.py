"""A quantizer is one file and one line of the registry: nothing else is touched.

Oracle: tests/peers/round_quantizer.py, whose results are computed here again.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from bitloss import demo, registry
from bitloss.cli.main import main
from bitloss.formats import open_checkpoint
from bitloss.quantizers import all_quantizers

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = {"round": "peers.round_quantizer:ROUND"}
    monkeypatch.setattr(registry, "QUANTIZERS", MappingProxyType({**registry.QUANTIZERS, **line}))
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_quantize_writes_what_the_plug_makes(pocket: Path, capsys: Captured) -> None:
    assert main(["quantize", "pocket", "rounded", "--recipe", "round-3-coarse", "-q"]) == 0
    made = Path(capsys.readouterr().out.strip())
    reference, rounded = open_checkpoint(pocket), open_checkpoint(made)
    name = "model.layers.1.mlp.up_proj.weight"
    dense, got = reference.read(name).float(), rounded.read(name).float()
    # -2 to 2 steps; the largest weight is 2 of them, and few rows lack one of the five.
    assert max(len(row.unique()) for row in got) == 5
    # A step is half of the row's largest weight, and rounding is off by half a step at most.
    step = dense.abs().amax(1, keepdim=True) / 2
    assert ((got - dense).abs() <= step / 2 * 1.01).all()
    assert torch.equal(rounded.read("model.norm.weight"), reference.read("model.norm.weight"))
    record = json.loads((made / "recipe.json").read_text())
    assert record["recipe"] == {
        "name": "round-3-coarse", "method": "round", "options": {"bits": 3, "coarse": True},
        "calibration": None, "seed": 0,
    }  # fmt: skip
    assert set(record["versions"]) == {"torch", "safetensors"}


def test_list_shows_its_recipes(capsys: Captured) -> None:
    assert main(["list", "recipes"]) == 0
    out = capsys.readouterr().out
    assert "  round-8         rounded to 8 bits\n" in out
    assert "  gguf-q8_0       llama.cpp's Q8_0\n" in out


def test_compare_makes_plans_and_scores_it(capsys: Captured) -> None:
    words = [
        "compare", "pocket", "round-8", "round-3", "--corpus", "pocket-prose", "--limit", "2",
        "--out", "run",
    ]  # fmt: skip
    assert main([*words, "--plan"]) == 0
    assert "round-3" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    variants = json.loads(capsys.readouterr().out)["variants"]
    assert [variant["recipe"]["options"]["bits"] for variant in variants] == [8, 3]
    means = [v["corpora"]["pocket-prose"]["kl_divergence"]["mean"] for v in variants]
    assert 0 < 20 * means[0] < means[1]


@pytest.mark.parametrize(
    ("recipe", "error", "hint"),
    [
        ("round-9", "round takes 2 to 8 bits, got `round-9`", "use `round-8`"),
        ("round-3@web", "recipe `round-3@web` names a calibration text", "use `round-3`"),
        ("rund-8", "unknown recipe `rund-8`", "did you mean `round-8`"),
    ],
)
def test_its_errors_are_its_own(capsys: Captured, recipe: str, error: str, hint: str) -> None:
    assert main(["quantize", "pocket", "out", "--recipe", recipe]) == 2
    err = capsys.readouterr().err
    assert error in err
    assert hint in err
    assert not Path("out").exists()


def test_the_rest_of_bitloss_knows_it() -> None:
    assert demo.plan_demo(["round-3"]).spec.variants == ("round-3",)
    assert "round" in [quantizer.method for quantizer in all_quantizers()]
