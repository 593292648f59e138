"""Oracle: a stand-in quantizer that writes down what it was given."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bitloss.errors import CorpusError, QuantizationError, StorageError, UnknownName, UsageError
from bitloss.quantizers import (
    library_versions,
    make_variant,
    quantize_to,
    variants,
)
from bitloss.spec.recipe import Recipe, parse_recipe
from bitloss.types import Progress, SilentProgress


@dataclass
class StandIn:
    calls: list[tuple[Recipe, list[list[int]]]] = field(default_factory=list)
    fault: BaseException | None = None

    def __call__(
        self,
        recipe: Recipe,
        model: Path,
        out: Path,
        *,
        calibration: Sequence[Sequence[int]],
        progress: Progress,
    ) -> None:
        self.calls.append((recipe, [list(ids) for ids in calibration]))
        (out / ("model.gguf" if recipe.method == "gguf" else "model.safetensors")).write_text("x")
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def quantizer(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(variants, "load", lambda kind, table, name: stand_in)
    return stand_in


@pytest.fixture
def recipe(text: Path) -> Recipe:
    return parse_recipe("gptq-4", calibration=str(text), samples=4, sample_length=64)


@pytest.fixture
def make(tiny: Path, tmp_path: Path) -> Callable[..., Path]:
    def made(recipe: Recipe, digest: str = "d") -> Path:
        return make_variant(
            recipe, tiny, model_digest=digest, data=None, cache=tmp_path / "cache",
            progress=SilentProgress(),
        )  # fmt: skip

    return made


def test_a_hit_does_not_call_the_quantizer(
    quantizer: StandIn, make: Callable[..., Path], recipe: Recipe
) -> None:
    assert make(recipe) == make(recipe)
    assert len(quantizer.calls) == 1


def test_everything_that_decides_the_bytes_is_in_the_key(
    quantizer: StandIn,
    make: Callable[..., Path],
    recipe: Recipe,
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [make(recipe), make(recipe, digest="another model"), make(replace(recipe, seed=1))]
    made.append(make(replace(recipe, group_size=64)))
    made.append(make(replace(recipe, samples=5)))
    original = text.read_text()
    text.write_text("ba be " + original)
    made.append(make(recipe))
    text.write_text(original)
    monkeypatch.setattr(variants, "library_versions", lambda method: {"gptqmodel": "8"})
    made.append(make(recipe))
    monkeypatch.setattr(variants, "settings", lambda recipe: {"mse": 2.0})
    made.append(make(recipe))
    assert len(set(made)) == len(made) == len(quantizer.calls) == 8


def test_samples_are_cut_to_the_context_and_that_is_recorded(
    quantizer: StandIn, make: Callable[..., Path], recipe: Recipe
) -> None:
    made = make(replace(recipe, sample_length=512))
    given, tokens = quantizer.calls[0]
    assert given.sample_length == 96  # max_position_embeddings of the tiny model
    assert {len(ids) for ids in tokens} == {96}
    record = json.loads((made / "recipe.json").read_text())
    assert record["recipe"]["sample_length"] == 96
    assert record["calibration"]["corpus"] == "words.txt"
    assert record["model_digest"] == "d"
    assert record["seconds"] >= 0


def test_gguf_is_one_file_and_needs_no_text(quantizer: StandIn, make: Callable[..., Path]) -> None:
    assert make(parse_recipe("gguf-q8_0")).name == "model.gguf"
    assert quantizer.calls[0][1] == []


@pytest.mark.parametrize("text_name", ["code", "nowhere/text.txt", "wbe"])
def test_a_missing_calibration_text_says_how_to_give_one(
    make: Callable[..., Path], text_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    with pytest.raises(CorpusError, match=f"calibration text `{text_name}`") as caught:
        make(parse_recipe("gptq-4", calibration=text_name))
    assert "--data DIR" in caught.value.hint
    assert "--calibration FILE" in caught.value.hint


def write(recipe: Recipe, tiny: Path, out: Path) -> Path:
    return quantize_to(recipe, tiny, out, model_digest="d", data=None, progress=SilentProgress())


def test_quantize_to_writes_a_new_or_empty_place(
    quantizer: StandIn, tiny: Path, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "deep" / "new"):
        assert write(recipe, tiny, out) == out
        assert sorted(path.name for path in out.iterdir()) == ["model.safetensors", "recipe.json"]
        assert list(out.parent.glob(".*")) == []


def test_quantize_to_writes_gguf_as_a_file_or_into_a_directory(
    quantizer: StandIn, tiny: Path, recipe: Recipe, tmp_path: Path
) -> None:
    gguf = parse_recipe("gguf-q8_0")
    assert write(gguf, tiny, tmp_path / "small.gguf").is_file()
    assert write(gguf, tiny, tmp_path / "folder") == tmp_path / "folder" / "model.gguf"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "small.gguf"]
    with pytest.raises(UsageError, match="writes a directory"):
        write(recipe, tiny, tmp_path / "other.gguf")


def test_quantize_to_refuses_a_place_that_holds_something(
    quantizer: StandIn, tiny: Path, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("x")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(StorageError, match="holds something"):
            write(recipe, tiny, out)
    assert quantizer.calls == []
    assert (tmp_path / "mine").read_text() == "x"


@pytest.mark.parametrize("fault", [QuantizationError("no"), KeyboardInterrupt()])
def test_quantize_to_leaves_nothing_when_it_fails(
    quantizer: StandIn, tiny: Path, recipe: Recipe, tmp_path: Path, fault: BaseException
) -> None:
    quantizer.fault = fault
    with pytest.raises(type(fault)):
        write(recipe, tiny, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_versions_name_what_decides_the_bytes() -> None:
    assert set(library_versions("gguf")) == {"llama-cpp-python", "gguf"}
    assert library_versions("awq")["gptqmodel"].startswith("7.")
    with pytest.raises(UnknownName, match="nf4"):
        library_versions("nf4")
