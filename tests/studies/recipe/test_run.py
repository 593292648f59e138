"""A recipe from end to end on the bundled model: measured, made, compared on held-out text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import bitloss
from bitloss.cli.main import main
from bitloss.errors import UsageError
from bitloss.formats.gguf.checkpoint import open_checkpoint
from bitloss.quantizers.tensor_types import TypedFile, make_typed, stored_types
from bitloss.studies.page import page
from bitloss.studies.recipe import RecipeResult, recipe_study
from bitloss.types import SilentProgress
from page_reader import Reader
from study_parts import numbers_at_paths

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)
QUICK: dict[str, Any] = {"max_length": 64, "stride": 64, "limit": 12}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITLOSS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def result(out: Path) -> RecipeResult:
    return bitloss.study(
        "recipe", ["pocket"], like="gguf-q4_k_m", measure_on="pocket-calibration-mixed",
        layer_groups=1, windows=3, corpora=["pocket-prose"], out=out, **QUICK,
    )  # fmt: skip


def test_the_file_is_what_was_chosen_and_no_larger(result: RecipeResult, out: Path) -> None:
    made = open_checkpoint(Path(result.recipe.name))
    types = {name: one.type for name, one in stored_types(made).items()}
    chosen = {group.group: group.chosen for group in result.groups}
    assert {types[f"blk.{n}.ffn_down.weight"] for n in range(4)} == {chosen["layers-0-3.down"]}
    assert types["output.weight"] == chosen["head"]
    assert types["token_embd.weight"] == chosen["embeddings"]
    assert result.recipe.nbytes == Path(result.recipe.name).stat().st_size
    assert result.recipe.nbytes <= result.size == result.baseline.nbytes
    assert len(chosen) == 9


def test_what_was_chosen_loses_least_of_all_that_fit(result: RecipeResult) -> None:
    """Oracle: every single exchange of one group's type that still fits."""
    losses = {g.group: {o.type: o for o in g.options} for g in result.groups}
    chosen = {group.group: losses[group.group][group.chosen] for group in result.groups}
    room = result.size - result.recipe.nbytes
    assert result.predicted == pytest.approx(sum(one.loss.value or 0 for one in chosen.values()))
    for name, options in losses.items():
        for one in options.values():
            if one.nbytes - chosen[name].nbytes <= room:
                assert (one.loss.value or 0) >= (chosen[name].loss.value or 0) - 1e-12


def test_the_file_has_the_tensors_that_were_measured(result: RecipeResult, pocket: Path) -> None:
    made = open_checkpoint(Path(result.recipe.name))
    kind = next(group.chosen for group in result.groups if group.group == "layers-0-3.q")
    uniform = make_typed(
        TypedFile("q4_k_m", ((".", kind),), "uniform"), pocket, model_digest=result.digest,
        progress=SilentProgress(),
    )  # fmt: skip
    name = "model.layers.1.self_attn.q_proj.weight"
    assert torch.equal(made.read(name), open_checkpoint(uniform).read(name))


def test_it_is_compared_on_held_out_text(result: RecipeResult, out: Path) -> None:
    one = result.held_out["pocket-prose"]
    assert one.gain.value == pytest.approx((one.baseline.value or 0) - (one.recipe.value or 0))
    expected = "not shown"
    if one.gain.excludes_zero:
        expected = "better" if (one.gain.value or 0) > 0 else "worse"
    assert one.verdict == expected
    assert (out / result.run / "comparison.json").is_file()
    shown = str(result)
    assert "held-out text" in shown
    assert f"{result.recipe.nbytes:,} bytes" in shown
    folder = out / "recipe" / "pocket"
    assert RecipeResult.load(folder / "recipe.json") == result
    assert {name for name in result.exports if (folder / name).is_file()} == set(result.exports)
    assert json.loads((folder / "gptqmodel.json").read_text())["bits"] in (2, 3, 4, 8)


def test_the_page_has_the_numbers_of_the_document(result: RecipeResult) -> None:
    pytest.importorskip("vl_convert")
    text = page(result)
    assert numbers_at_paths(text, result.to_json()) > 60
    assert [one.tag for one in Reader(text).root.all()].count("svg") == 2
    assert "Which types of tensors lose least in 2.7 MB?" in text


def test_losses_are_held_against_those_of_all_groups_together(result: RecipeResult) -> None:
    by_type = {one.type: one for one in result.uniform}
    assert list(by_type) == ["q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k"]
    sizes = [one.nbytes for one in result.uniform]
    assert sizes == sorted(sizes, reverse=True)
    assert (by_type["q2_k"].loss.value or 0) > (by_type["q8_0"].loss.value or 0) > 0
    parts = sum(
        (next(o for o in group.options if o.type == "q2_k").loss.value or 0)
        for group in result.groups
    )
    ratio = by_type["q2_k"].sum_of_parts.value or 0
    assert ratio == pytest.approx(parts / (by_type["q2_k"].loss.value or 1))


def test_a_size_is_compared_with_the_largest_single_type_that_fits(
    result: RecipeResult, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "study recipe pocket --size 2.9MB --measure-on pocket-calibration-mixed --layer-groups 1 "
        f"--windows 3 --corpus pocket-prose --max-length 64 --stride 64 --limit 12 --out {out} -q"
    )
    assert main([*words.split(), "--json"]) == 0
    found = RecipeResult.model_validate_json(capsys.readouterr().out)
    fitting = [one for one in found.uniform if one.nbytes <= 2_900_000]
    assert found.baseline.nbytes == fitting[0].nbytes
    assert found.recipe.nbytes <= found.size == 2_900_000
    assert found.predicted < result.predicted  # of 2.7 MB


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "expected a size"),
        ({"like": "gptq-4"}, "expected a GGUF recipe"),
        ({"size": "much"}, "expected a size"),
        ({"size": "1kB"}, "at least"),
        ({"size": "1GB"}, "at most"),
        ({"size": "3MB", "layer_groups": 0}, "--layer-groups"),
        ({"size": "3MB", "engine": "llama.cpp"}, "engine"),
        ({"size": "3MB", "corpora": ["pocket-calibration-mixed"]}, "expected held-out text"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        recipe_study(
            "pocket", measure_on="pocket-calibration-mixed", out=tmp_path,
            **{"corpora": ["pocket-prose"], **given},
        )  # fmt: skip


def test_a_size_with_a_typing_error_shows_before_a_text_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a size, got `3XB`"):
        recipe_study("pocket", size="3XB", measure_on="no-such-text", out=tmp_path)


def test_a_command_without_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "recipe", "pocket"]) == 2
    assert "add --size 4.5bpw" in capsys.readouterr().err
