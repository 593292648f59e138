"""A new plug is one file and one line of `bitloss.registry`; the command line shows it.

The file is ``tests/peers/dummy_plugs.py``. Oracles: the variant is the reference itself, stored
negated, so nothing may be lost; and every name and number that is counted here comes from the file.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import bitloss
from bitloss.cli.main import main
from bitloss.results import Comparison
from peers import dummy_plugs
from peers.registering import register

FILE = "peers.dummy_plugs"
POCKET = Path(bitloss.__file__).parent / "models" / "pocket"

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The four lines, one a table."""
    register(monkeypatch, "FORMATS", negated=FILE)
    register(monkeypatch, "PROTOCOLS", dummy=f"{FILE}:WordWindows")
    register(monkeypatch, "CORPORA", dummy=f"{FILE}:corpus")
    register(monkeypatch, "TASKS", dummy=f"{FILE}:TASK")


@pytest.fixture
def negated(tmp_path: Path) -> Path:
    """The pocket model with every tensor negated, and a config that says so."""
    folder = tmp_path / "negated"
    shutil.copytree(POCKET, folder)
    weights = folder / "model.safetensors"
    save_file({name: -tensor for name, tensor in load_file(weights).items()}, weights)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": dummy_plugs.METHOD}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def compare(negated: Path, out: Path, *options: str) -> Comparison:
    words = ["compare", "pocket", str(negated), "--out", str(out), "--limit", "4", *options]
    assert main(words) == 0
    return Comparison.load(out)


def test_all_four_are_compared_and_exported(
    negated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    result = compare(negated, run, "--corpus", "dummy", "--protocol", "dummy", "--tasks", "dummy")
    (variant,) = result.variants
    assert (variant.error, variant.format, variant.bits) == (None, "negated", 16)
    corpus = variant.corpora["dummy"]
    assert corpus.kl_divergence.mean == 0
    assert corpus.relative_perplexity.value == 1
    assert (corpus.protocol.name, corpus.protocol.parameters) == ("dummy", {"width": 24})
    assert (corpus.n_windows, corpus.n_scored, corpus.source) == (4, 4 * 23, "made up")
    assert variant.tasks is not None
    task = variant.tasks["dummy"]
    assert (task.n_scored, task.n_total, task.capability) == (4, 8, "math")
    assert task.difference.value == 0
    assert "negated" in capsys.readouterr().out

    assert main(["report", str(run), "--format", "html", "--format", "lm-eval"]) == 0
    exported = [json.loads(path.read_text()) for path in (run / "lm-eval").iterdir()]
    assert [one["versions"] for one in exported] == [{"dummy_in_the_harness": 7.0}] * 2
    assert main(["card", str(run), "--out", str(tmp_path / "card.md")]) == 0
    card = (tmp_path / "card.md").read_text()
    assert "org/dummy-questions" in card
    assert "Dummy text" in card


def test_all_four_are_listed(capsys: Captured) -> None:
    assert main(["list", "--json"]) == 0
    names: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert names["formats"]["negated"].startswith("The smallest format")
    assert names["protocols"]["dummy"].startswith("Windows of a few tokens")
    assert names["corpora"]["dummy"] == "A sentence, again and again"
    assert "8 items; acc" in names["tasks"]["dummy"]


def test_misspelt_names_suggest_them(negated: Path, tmp_path: Path, capsys: Captured) -> None:
    for option in ("--corpus", "--protocol", "--tasks"):
        words = ["compare", "pocket", str(negated), "--out", str(tmp_path / "run")]
        assert main([*words, option, "dumy"]) == 2
        assert "did you mean `dummy`" in capsys.readouterr().err
