"""`compare --expectations`: verdicts by a user's tables. Oracle: limits put around the figures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from bitloss.cli.main import main
from bitloss.formats.location.builtin import builtin_model
from bitloss.results import Comparison

WORDS = [
    "compare",
    "./model",
    "./noisy",
    "--corpus",
    "pocket-prose",
    "--limit",
    "6",
    "--out",
    "run",
    "-q",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("model", "noisy"):
        shutil.copytree(builtin_model("pocket"), tmp_path / name)
    file = tmp_path / "noisy" / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.0.mlp.down_proj.weight"
    tensors[name] = tensors[name] * 1.05
    save_file(tensors, file, {"format": "pt"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def levels(folder: Path, *limits: float) -> str:
    text = ", ".join(
        f"{name}: {limit}"
        for name, limit in zip(("yes", "usually", "marginal"), limits, strict=True)
    )
    (folder / "mine.yaml").write_text(f"levels: {{{text}}}\n")
    return "mine.yaml"


def test_a_finished_run_is_judged_by_another_table(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--expectations", levels(here, 5, 6, 7)]) == 0
    out = capsys.readouterr().out
    assert "verdicts: the worst of perplexity, same top-1, overlap and KLD on pocket-prose" in out
    assert "- levels, margins and expected losses of mine.yaml" in out
    assert "noisy (8.4 MB) is acceptable" in out
    found = Comparison.load(here / "run")
    assert found.answer is not None
    assert (found.answer.recommended, found.answer.expectations[0]) == ("./noisy", "mine.yaml")
    records = {path: path.stat().st_mtime_ns for path in (here / "run" / "records").iterdir()}

    assert main([*WORDS, "--expectations", levels(here, 0.1, 0.2, 0.3)]) == 0
    assert "noisy is not acceptable: it is `problematic`" in capsys.readouterr().out
    again = Comparison.load(here / "run")
    verdict = again.variants[0].verdict
    assert verdict is not None
    assert (verdict.level, verdict.settled) == ("problematic", True)
    assert again.variants[0].corpora == found.variants[0].corpora
    assert records == {path: path.stat().st_mtime_ns for path in (here / "run/records").iterdir()}


def test_mistakes_are_told_before_anything_is_scored(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.yaml").write_text("levls: {yes: 1}\n")
    assert main([*WORDS, "--expectations", "mine.yaml"]) == 2
    assert "error: mine.yaml:1: levls: no such key; did you mean `levels`?" in (
        capsys.readouterr().err
    )
    assert not (here / "run").exists()
