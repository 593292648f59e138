"""An engine from one file and one line of the registry, through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.cli.main import main
from bitloss.errors import UsageError
from bitloss.results import Comparison
from peers.registering import register

WORDS = ["--corpus", "pocket-prose", "--limit", "4", "--no-report", "--quiet"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    register(
        monkeypatch,
        "ENGINES",
        logits="peers.logits_engine:ENGINE",
        logits_beside_dense="peers.logits_engine:BESIDE_DENSE",
    )
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def coarse(place: Path, pocket: Path) -> str:
    """A copy of the bundled model with coarser weights, and the model itself under another name."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    for name in ("coarse", "copy"):
        shutil.copytree(pocket, place / name)
    weights = place / "coarse" / "model.safetensors"
    tensors = {}
    for name, tensor in load_file(weights).items():
        mantissa, exponent = torch.frexp(tensor.float())
        tensors[name] = torch.ldexp((mantissa * 32).round() / 32, exponent).to(tensor.dtype)
    save_file(tensors, weights, metadata={"format": "pt"})
    return "./coarse"


def test_a_dummy_engine_scores_a_run(coarse: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The oracle is the dense engine on the same files and tokens."""
    results = {}
    for engine in ("dense", "logits", "logits-beside-dense"):
        words = ["compare", "pocket", coarse, "./copy", "--engine", engine, "--out", engine, *WORDS]
        assert main(words) == 0, capsys.readouterr().err
        results[engine] = Comparison.load(engine)
    capsys.readouterr()
    dense = results["dense"].variants[0].corpora["pocket-prose"]
    for engine, result in results.items():
        assert result.environment.engine.name == engine
        lossy, copy = (variant.corpora["pocket-prose"] for variant in result.variants)
        assert lossy.kl_divergence.mean == pytest.approx(dense.kl_divergence.mean, abs=1e-5)
        assert lossy.perplexity == pytest.approx(dense.perplexity, rel=1e-5)
        if engine != "logits-beside-dense":
            assert copy.kl_divergence.max == 0
        else:
            assert abs(copy.kl_divergence.mean or 0.0) < 1e-6
        assert lossy.noise_floor is not None


def test_a_dummy_engine_scores_options(coarse: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same chosen options and, to rounding, the same divergence as the dense engine."""
    results = {}
    for engine in ("dense", "logits"):
        words = ["compare", "pocket", coarse, "--engine", engine, "--out", engine, "--limit", "6",
                 "--tasks", "pocket_knowledge_en,pocket_logic", "--no-report", "-q"]  # fmt: skip
        assert main(words) == 0, capsys.readouterr().err
        results[engine] = Comparison.load(engine).variants[0].tasks
    capsys.readouterr()
    assert results["dense"] is not None
    assert results["logits"] is not None
    for name, dense in results["dense"].items():
        other = results["logits"][name]
        assert other.score == dense.score
        assert other.kl_divergence is not None
        assert dense.kl_divergence is not None
        assert other.kl_divergence.value == pytest.approx(dense.kl_divergence.value, abs=1e-4)


def test_a_second_run_and_another_engine_in_the_same_directory(
    coarse: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for engine in ("dense", "logits"):
        words = ["compare", "pocket", coarse, "--engine", engine, "--out", "run", *WORDS]
        assert main(words) == 0, capsys.readouterr().err
        kept = {path.name for path in (place / "run" / "records").iterdir()}
        first = (place / "run" / "comparison.json").read_bytes()
        assert main(words) == 0
        assert {path.name for path in (place / "run" / "records").iterdir()} == kept
        assert (place / "run" / "comparison.json").read_bytes() == first
    capsys.readouterr()


def test_what_an_engine_cannot_do_is_said(coarse: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "pocket", coarse, "--engine", "logits", "--tasks", "pocket_math",
             "--limit", "2", "--out", "run", "--no-report", "--quiet"]  # fmt: skip
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: engine `logits` cannot generate text, which task `pocket_math` needs",
        "hint: choose tasks that score options, or another --engine",
    ]


def test_an_unknown_engine_is_named(coarse: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "pocket", coarse, "--engine", "logit", *WORDS]) == UsageError.exit_code
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: unknown engine `logit`"
    assert "logits" in hint


def test_list_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "engines"]) == 0
    assert "logits" in capsys.readouterr().out
