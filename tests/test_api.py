"""Runs from Python on a tiny random model; transformers and arithmetic are the oracles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import bitloss
from bitloss import Calibration, api, quantizers
from bitloss.errors import CheckpointError, UnknownName, UsageError
from bitloss.results import Comparison
from bitloss.runner.models import name_variants
from bitloss.spec.recipe import parse_recipe
from peers.tiny_model import write_tiny_model

TEXT = "The quick brown fox jumps over the lazy dog. " * 30


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    write_tiny_model(folder / "tiny")
    write_tiny_model(folder / "noisy", noise=0.02)
    (folder / "fox.txt").write_text(TEXT)
    return folder


def loop_perplexity(model: Path, length: int, stride: int) -> float:
    """The sliding window of the transformers guide, tokens weighted alike, by its own model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(model)(TEXT, return_tensors="pt").input_ids
    scorer = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    total, count, scored = 0.0, 0, 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + length, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : -(end - scored)] = -100
        with torch.no_grad():
            loss = scorer(ids[:, begin:end], labels=labels).loss.item()
        valid = int((labels[:, 1:] != -100).sum())
        total, count, scored = total + loss * valid, count + valid, end
        if end == ids.shape[1]:
            break
    return math.exp(total / count)


def test_perplexity_is_that_of_transformers(place: Path) -> None:
    perplexity = bitloss.evaluate_perplexity(
        place / "tiny", corpus=place / "fox.txt", max_length=96, stride=48, dtype="fp32"
    )
    assert perplexity == pytest.approx(loop_perplexity(place / "tiny", 96, 48), rel=1e-5)


def test_quantized_copy_is_scored_with_the_models_tokenizer(place: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((place / "noisy" / name).read_bytes())
    perplexity = bitloss.evaluate_perplexity(
        str(place / "tiny"), str(bare), corpus=place / "fox.txt", max_length=96, stride=48,
        dtype="fp32",
    )  # fmt: skip
    assert perplexity == pytest.approx(loop_perplexity(place / "noisy", 96, 48), rel=1e-5)


def test_perplexity_leaves_nothing_behind(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    bitloss.evaluate_perplexity(place / "tiny", corpus=place / "fox.txt", limit=1)
    assert list(tmp_path.iterdir()) == []


def test_compare_returns_what_it_writes(place: Path, tmp_path: Path) -> None:
    result = bitloss.compare(
        place / "tiny", [place / "noisy"], corpora=[place / "fox.txt"], out=tmp_path / "run"
    )
    assert Comparison.load(tmp_path / "run") == result
    (variant,) = result.variants
    (figures,) = variant.corpora.values()
    assert figures.kl_divergence.mean is not None
    assert figures.kl_divergence.mean > 1e-5


def test_copy_of_the_reference_loses_nothing(place: Path, tmp_path: Path) -> None:
    copy = write_tiny_model(tmp_path / "copy")
    result = bitloss.compare(
        place / "tiny", [copy], corpora=[place / "fox.txt"], out=tmp_path / "run"
    )
    (figures,) = result.variants[0].corpora.values()
    assert figures.kl_divergence.max == 0.0
    assert figures.relative_perplexity.value == 1.0
    assert figures.top1_agreement.value == 1.0


def test_second_run_scores_nothing_and_writes_the_same(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitloss.engines.dense.scoring import heads, scorer

    spec = api.make_spec(place / "tiny", [place / "noisy"], corpora=[place / "fox.txt"])
    api.run(spec, tmp_path)
    before = (tmp_path / "comparison.json").read_bytes()

    def fail(*_: object) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(scorer, "hidden_states", fail)
    monkeypatch.setattr(heads, "score_positions", fail)
    api.run(spec, tmp_path)
    assert (tmp_path / "comparison.json").read_bytes() == before


def test_variant_that_fails_is_in_the_result(place: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = bitloss.compare(
        place / "tiny",
        [tmp_path / "empty", place / "noisy"],
        corpora=[place / "fox.txt"],
        out=tmp_path / "run",
    )
    failed, scored = result.variants
    assert failed.error is not None
    assert "config.json" in failed.error.message
    assert not failed.corpora
    assert scored.error is None
    assert scored.corpora


def test_plan_scores_nothing(place: Path, tmp_path: Path) -> None:
    spec = api.make_spec(place / "tiny", [place / "noisy"], corpora=[place / "fox.txt"])
    summary = api.plan(spec, tmp_path / "run")
    assert [model.name for model in summary.models] == [
        str(place / "tiny"), str(place / "noisy"),
    ]  # fmt: skip
    assert summary.models[0].tokens > 0
    assert not (tmp_path / "run").exists()


def test_missing_model() -> None:
    with pytest.raises(CheckpointError, match="no model at"):
        bitloss.evaluate_perplexity("./nothing-here")


def test_all_faults_of_a_call_are_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        api.make_spec("x", limit=0, dtype="fp16", surprise=1)
    assert all(word in caught.value.message for word in ("limit", "dtype", "surprise"))


def test_options_of_another_function_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="chat: no such option here"):
        bitloss.evaluate_perplexity("x", chat=True)
    with pytest.raises(UsageError, match="suite: no such option here"):
        bitloss.quantize("x", tmp_path / "out", recipe="gptq-4", suite="quick")


@pytest.mark.parametrize(
    ("given", "calibration"),
    [
        ("code", Calibration("code", samples=128, length=512)),
        (Path("my.txt"), Calibration("my.txt")),
        (Calibration("wiki", samples=3, length=64), Calibration("wiki", samples=3, length=64)),
    ],
)
def test_calibration_is_a_name_a_path_or_a_value(given: Any, calibration: Calibration) -> None:
    spec = api.make_spec("x", ["gptq-4"], calibration=given)
    assert spec.calibration == calibration
    (ref,) = name_variants(spec)
    assert ref.recipe == parse_recipe("gptq-4", calibration=calibration, seed=0)


def test_quantize_passes_its_options_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    def record(recipe: Any, model: Path, out: Path, **options: Any) -> Path:
        calls.append((recipe, model, out, options["data"], options["device"]))
        return out

    monkeypatch.setattr(quantizers, "quantize_to", record)
    calibration = Calibration("code", samples=3, length=64)
    bitloss.quantize(
        place / "tiny", tmp_path / "out", recipe="gptq-4", calibration=calibration, seed=7,
        data="data", device="cuda:1",
    )  # fmt: skip
    recipe = parse_recipe("gptq-4", calibration=calibration, seed=7)
    assert calls == [(recipe, place / "tiny", tmp_path / "out", Path("data"), "cuda:1")]


@pytest.mark.parametrize("names", [{"engine": "native"}, {"protocol": "gpqt"}])
def test_unknown_names(names: dict[str, str]) -> None:
    with pytest.raises(UnknownName):
        api.make_spec("x", **names)


@pytest.mark.parametrize(
    ("reference", "stem"),
    [
        ("org/Llama-3@v1", "Llama-3"),
        ("./a b/x.gguf", "x"),
        ("..", "model"),
        ("org/tiny-GGUF:Q4_K_M", "tiny-GGUF-Q4_K_M"),
    ],
)
def test_run_directory_is_named_after_the_question(reference: str, stem: str) -> None:
    spec = api.make_spec(reference, ["gptq-4"])
    name = api.default_run_dir(spec)
    assert name.parent == Path("runs")
    assert name.name.rpartition("-")[0] == stem
    assert api.default_run_dir(api.make_spec(reference, ["gptq-4"])) == name
    assert api.default_run_dir(api.make_spec(reference, ["gptq-3"])) != name
    assert api.default_run_dir(api.make_spec(reference, ["gptq-4"], seed=1)) != name


def test_a_plan_has_a_total_and_refuses_what_a_run_would(place: Path, tmp_path: Path) -> None:
    good = api.make_spec(place / "tiny", [place / "noisy"], corpora=[place / "fox.txt"])
    summary = api.plan(good, tmp_path / "run")
    parts = [model.seconds for model in summary.models] + [summary.compared_seconds]
    assert all(part is not None and part > 0 for part in parts)
    assert summary.seconds == pytest.approx(sum(part or 0 for part in parts))
    (tmp_path / "empty").mkdir()
    bad = api.make_spec(
        place / "tiny", [tmp_path / "empty", place / "noisy"], corpora=[place / "fox.txt"]
    )
    with pytest.raises(CheckpointError, match=r"without config\.json"):
        api.plan(bad, tmp_path / "run")


def test_a_run_without_a_variant_stops_before_the_reference_is_scored(
    place: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"without config\.json"):
        bitloss.compare(
            place / "tiny", [tmp_path / "empty"], corpora=[place / "fox.txt"], out=tmp_path / "run"
        )
    assert not list(tmp_path.glob("run/**/*.parquet"))
