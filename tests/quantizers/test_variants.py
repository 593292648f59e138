"""Oracle: a stand-in quantizer that writes down what it was given."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bitloss import registry
from bitloss.errors import (
    BitlossError,
    CorpusError,
    MissingDependency,
    QuantizationError,
    StorageError,
    UsageError,
)
from bitloss.quantizers import Workers, check_recipe, make_variant, quantize_to, quantizer_of
from bitloss.spec.calibration import Calibration
from bitloss.spec.recipe import Recipe, parse_recipe
from bitloss.types import Progress, SilentProgress


@dataclass
class StandIn:
    calls: list[tuple[Recipe, list[list[int]]]] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    fault: BaseException | None = None

    def __call__(
        self,
        recipe: Recipe,
        model: Path,
        out: Path,
        *,
        calibration: Sequence[Sequence[int]],
        device: str,
        progress: Progress,
        workers: Workers,
    ) -> None:
        self.devices.append(device)
        self.calls.append((recipe, [list(ids) for ids in calibration]))
        (out / ("model.gguf" if recipe.method == "gguf" else "model.safetensors")).write_text("x")
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def quantizer(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Takes the place of every function that quantizes, and of no other fact."""
    stand_in = StandIn()
    replace_quantizers(monkeypatch, quantize=stand_in, check=lambda recipe, model: None)
    return stand_in


def replace_quantizers(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    def changed(kind: str, table: Any, name: str) -> Any:
        found = load(kind, table, name)
        return replace(found, **changes) if kind == "quantizer" else found

    load = registry.load
    monkeypatch.setattr(registry, "load", changed)


@pytest.fixture
def recipe(text: Path) -> Recipe:
    return parse_recipe("gptq-4", calibration=Calibration(str(text), 4, 64))


def resized(recipe: Recipe, **sizes: Any) -> Recipe:
    assert recipe.calibration is not None
    return replace(recipe, calibration=replace(recipe.calibration, **sizes))


@pytest.fixture
def make(tiny: Path, tmp_path: Path) -> Callable[..., Path]:
    def made(recipe: Recipe, digest: str = "d", device: str = "cpu") -> Path:
        return make_variant(
            recipe, tiny, model_digest=digest, data=None, cache=tmp_path / "cache",
            device=device, progress=SilentProgress(),
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
    made.append(make(replace(recipe, options=replace(recipe.options, group_size=64))))
    made.append(make(resized(recipe, samples=5)))
    made.append(make(recipe, device="cuda"))
    original = text.read_text()
    text.write_text("ba be " + original)
    made.append(make(recipe))
    text.write_text(original)
    replace_quantizers(monkeypatch, packages=("torch",))
    made.append(make(recipe))
    replace_quantizers(monkeypatch, settings=lambda recipe, device: {"mse": 2.0})
    made.append(make(recipe))
    assert len(set(made)) == len(made) == len(quantizer.calls) == 9


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
     "chat_template.jinja"],
)  # fmt: skip
def test_the_files_that_a_variant_takes_over_are_in_the_key(
    quantizer: StandIn, tiny: Path, tmp_path: Path, name: str
) -> None:
    """The same weights with another epsilon, tokenizer or template are another variant."""
    model = Path(shutil.copytree(tiny, tmp_path / "model"))

    def made() -> Path:
        return make_variant(
            parse_recipe("gguf-q8_0"), model, model_digest="d", data=None,
            cache=tmp_path / "cache", progress=SilentProgress(),
        )  # fmt: skip

    first = made()
    file = model / name
    file.write_text((file.read_text() if file.is_file() else "{}") + " ")
    assert made() != first
    (model / "README.md").write_text("of no account")
    assert made() == made()
    assert len(quantizer.calls) == 2


def test_a_device_that_does_not_decide_the_bytes_is_not_in_the_key(
    quantizer: StandIn, make: Callable[..., Path], recipe: Recipe
) -> None:
    """llama.cpp quantizes on the CPU, whatever `--device` says; GPTQModel knows no `mps`."""
    gguf = parse_recipe("gguf-q8_0")
    assert make(gguf) == make(gguf, device="cuda:1")
    assert make(recipe) == make(recipe, device="mps")
    assert quantizer.devices == ["cpu", "cpu"]
    assert make(recipe, device="cuda") == make(recipe, device="cuda:1")
    assert quantizer.devices[2:] == ["cuda"]


def test_samples_are_cut_to_the_context_and_that_is_recorded(
    quantizer: StandIn, make: Callable[..., Path], recipe: Recipe
) -> None:
    made = make(resized(recipe, length=512))
    given, tokens = quantizer.calls[0]
    fitted = replace(recipe, options=replace(recipe.options, group_size=128))
    assert given == resized(fitted, length=96)  # max_position_embeddings of the tiny model
    assert {len(ids) for ids in tokens} == {96}
    record = json.loads((made / "recipe.json").read_text())
    assert record["recipe"]["calibration"]["length"] == 96
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
    with pytest.raises(BitlossError, match=f"calibration text `{text_name}`") as caught:
        make(parse_recipe("gptq-4", calibration=Calibration(text_name)))
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
    with pytest.raises(UsageError, match="writes a directory") as caught:
        write(recipe, tiny, tmp_path / "other.gguf")
    assert caught.value.hint == "remove `.gguf`, or choose a gguf recipe"


def test_quantize_to_refuses_a_place_that_holds_something(
    quantizer: StandIn, tiny: Path, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("x")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(StorageError, match="is not empty"):
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


def test_a_missing_library_is_named_before_the_work(
    quantizer: StandIn,
    make: Callable[..., Path],
    tiny: Path,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace_quantizers(monkeypatch, packages=("torch", "no-such-package"))
    for call in (lambda: make(recipe), lambda: write(recipe, tiny, tmp_path / "out")):
        with pytest.raises(
            MissingDependency, match="needs the package `no-such-package`"
        ) as caught:
            call()
        assert caught.value.hint == 'pip install "bitloss[gptq]"'
    assert quantizer.calls == []
    assert list(tmp_path.iterdir()) == []


def test_versions_name_what_decides_the_bytes() -> None:
    assert set(quantizer_of(parse_recipe("gguf-q8_0")).versions()) == {"llama-cpp-python", "gguf"}
    assert quantizer_of(parse_recipe("awq-4")).versions()["gptqmodel"].startswith("7.")


@pytest.mark.parametrize("command", ["wbe", "nowhere/text.txt"])
def test_a_mistyped_calibration_text_is_found_before_the_work(tiny: Path, command: str) -> None:
    recipe = parse_recipe("gptq-4", calibration=Calibration(command))
    with pytest.raises(BitlossError, match=f"recipe `gptq-4@{command}` needs"):
        check_recipe(recipe, tiny, data=None)


def test_texts_of_columns_and_of_the_data_directory_are_found(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,body\n1," + "once upon a time " * 99 + "\n")
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "exl3_code.utf8").write_text("def f(x): return x\n" * 99)
    for text in (f"{tmp_path / 'rows.csv'}::body", "code"):
        recipe = parse_recipe("gptq-4", calibration=Calibration(text))
        check_recipe(recipe, tiny, data=tmp_path)


def test_a_text_that_is_too_short_is_found_before_the_work(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("once upon a time")
    recipe = parse_recipe("gptq-4", calibration=Calibration(str(tmp_path / "short.txt")))
    with pytest.raises(CorpusError, match="expected at least 96 tokens, got 4"):
        check_recipe(recipe, tiny, data=None)


def test_sizes_and_architectures_are_checked_before_the_work(tiny: Path, text: Path) -> None:
    calibration = Calibration(str(text))
    with pytest.raises(QuantizationError, match="got 48"):
        check_recipe(parse_recipe("gptq-4-g48", calibration=calibration), tiny, data=None)
    # The fixture's tokenizer is of whole words, for which GGUF has no place.
    with pytest.raises(QuantizationError, match="WordLevel"):
        check_recipe(parse_recipe("gguf-q8_0"), tiny, data=None)


def test_a_missing_package_is_found_before_the_work(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_quantizers(monkeypatch, packages=("no-such-package",))
    with pytest.raises(MissingDependency, match="no-such-package"):
        check_recipe(parse_recipe("gguf-q8_0"), tiny, data=None)
