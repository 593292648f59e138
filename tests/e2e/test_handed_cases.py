"""Files that a user handed in: each is refused in the usual form, or read as it says.

Oracle: the README beside them, ``../shared/cases``; absent, the tests skip. What they have in
common is tested with inputs of the tests' own in `tests/formats/configs/test_door.py`,
`tests/spec` and `campaigns.malformed`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bitloss.cli.main import main
from peers.complaints import Captured, complaint
from peers.tiny import save_tiny

TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the sun.\n" * 8
SCORE = ["--max-length", "64", "--stride", "64", "--limit", "2", "--out", "run", "-q"]


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    folder = shared / "cases" / "malformed"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/cases is absent")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama that the configs are broken copies of."""
    folder = tmp_path_factory.mktemp("models")
    sizes = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
    save_tiny(
        folder / "llama", "llama", **sizes, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=512, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    (folder / "text.txt").write_text(TEXT)
    return folder


def score(model: Path, models: Path) -> int:
    return main(["perplexity", str(model), "--corpus", str(models / "text.txt"), *SCORE])


def test_configs(
    cases: Path, models: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = {}
    for case in sorted((cases / "config").glob("*.json")):
        model = tmp_path / case.stem
        shutil.copytree(models / "llama", model)
        shutil.copyfile(case, model / "config.json")
        if score(model, models) != 1:
            wrong[case.stem] = capsys.readouterr().out[-200:]
            continue
        error, _ = complaint(capsys)
        if "internal error" in error:
            wrong[case.stem] = error
    assert wrong == {}


def test_gguf_files(
    cases: Path, models: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = {}
    for case in sorted((cases / "gguf").glob("*.gguf")):
        if score(case, models) != 1:
            wrong[case.stem] = capsys.readouterr().out[-200:]
            continue
        error, _ = complaint(capsys)
        if "internal error" in error:
            wrong[case.stem] = error
    assert wrong == {}


@pytest.mark.parametrize("kind", ["tasks", "suites", "yaml", "data"])
def test_files_of_users(
    cases: Path,
    models: Path,
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Plans: nothing is scored, and everything is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text(TEXT)
    model = str(models / "llama")
    wrong = {}
    for case in sorted((cases / kind).iterdir()):
        words = ["compare", model, str(models / "copy"), "--plan", *SCORE]
        shutil.copytree(models / "llama", models / "copy", dirs_exist_ok=True)
        if kind == "tasks":
            words += ["--tasks", str(case / "task.yaml")]
        elif kind == "suites":
            words += ["--suite", str(case)]
        elif kind == "yaml":
            words = ["check", str(tmp_path), "--thresholds", str(case)]
            if case.name.startswith("x"):
                words = ["report", str(tmp_path), "--expectations", str(case)]
        else:
            words += ["--corpus", str(case)]
        status = main(words)
        out, err = capsys.readouterr()
        lines = err.splitlines()
        right = status == 0 or (status in (1, 2) and lines[-1].startswith("hint: "))
        if not right or "internal error" in err or "Traceback" in err:
            wrong[case.name] = f"{status} {err[-300:]} {out[-100:]}"
    assert wrong == {}
