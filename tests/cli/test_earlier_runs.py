"""Run directories of an earlier bitloss, from the command line: refused, and nothing is lost.

Oracle: the message names the file, its version, and the command with another directory; every file
is there as before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitloss.cli.main import main
from example_store import write_run
from peers.tiny_model import write_tiny_model

Captured = pytest.CaptureFixture[str]

COMMAND = "bitloss compare ./tiny ./noisy --corpus ./fox.txt --out run"
AGAIN = "score again in a new directory: bitloss compare ./tiny ./noisy --corpus ./fox.txt --out "


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the earlier layout: manifest version 4, comparison schema 1."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run")
    edit(tmp_path / "run/manifest.json", manifest_version=4)
    edit(tmp_path / "run/comparison.json", schema_version=1)
    return tmp_path


def edit(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text())
    document["environment"]["command"] = COMMAND
    path.write_text(json.dumps({**document, **changes}))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(words: str, capsys: Captured) -> tuple[str, str]:
    """The error and its hint, of a command that ends with 1 and changes nothing."""
    before = contents(Path("run"))
    assert main(words.split()) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert contents(Path("run")) == before
    error, hint = err.splitlines()
    return error.removeprefix("error: "), hint.removeprefix("hint: ")


MANIFEST = (
    "run/manifest.json: expected a manifest of version 6, got version 4 of an earlier bitloss"
)
RESULT = (
    "run/comparison.json: expected a comparison of version 3, got version 1 of an earlier bitloss"
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (COMMAND.removeprefix("bitloss "), MANIFEST),
        (f"{COMMAND.removeprefix('bitloss ')} --plan", MANIFEST),
        ("report run", MANIFEST),
        ("report run --format json --format csv --out all", MANIFEST),
        ("check run --max-kld 1", RESULT),
        ("check run --baseline run --max-kld 1", RESULT),
        ("card run", RESULT),
    ],
)
def test_earlier_run_is_refused(here: Path, capsys: Captured, words: str, message: str) -> None:
    assert refused(words, capsys) == (message, f"{AGAIN}run-new")
    assert not (here / "all").exists()


def test_stopped_earlier_run_is_refused(here: Path, capsys: Captured) -> None:
    (here / "run/comparison.json").unlink()
    (here / "run/manifest.json").rename(here / "run/unfinished.json")
    message = MANIFEST.replace("manifest.json", "unfinished.json")
    for words in (COMMAND.removeprefix("bitloss "), "report run"):
        assert refused(words, capsys) == (message, f"{AGAIN}run-new")


def test_the_hint_scores_in_a_new_directory(here: Path, capsys: Captured) -> None:
    write_tiny_model(here / "tiny")
    write_tiny_model(here / "noisy", noise=0.02)
    (here / "fox.txt").write_text("The quick brown fox jumps over the lazy dog. " * 30)
    capsys.readouterr()
    _, hint = refused("report run", capsys)
    command = hint.removeprefix("score again in a new directory: bitloss ")
    assert main([*command.split(), "-q", "--no-report"]) == 0
    assert main(["report", "run-new", "--format", "json"]) == 0
    assert (here / "run-new/report.json").read_bytes() == (
        here / "run-new/comparison.json"
    ).read_bytes()


def test_earlier_result_beside_records_of_this_version_is_written_again(
    here: Path, capsys: Captured
) -> None:
    edit(here / "run/manifest.json", manifest_version=6)
    message, hint = refused("card run", capsys)
    assert message == RESULT
    command = hint.removeprefix("write it again from the run's records: bitloss ")
    assert command == "report run --format json --out run/comparison.json"
    assert main(command.split()) == 0
    assert main(["card", "run"]) == 0


def test_hand_edited_manifest_is_refused_by_its_field(here: Path, capsys: Captured) -> None:
    edit(here / "run/manifest.json", manifest_version=6, tasks={"sums": {"capability": 7}})
    edit(here / "run/comparison.json", schema_version=3)
    for words in ("report run", "check run --baseline run --max-kld 1"):
        message, hint = refused(words, capsys)
        assert message.startswith("run/manifest.json: not a manifest as bitloss writes it: `tasks.")
        assert hint == f"rerun to write it again: {COMMAND}"


def test_hand_edited_result_is_refused_by_its_field(here: Path, capsys: Captured) -> None:
    edit(here / "run/comparison.json", schema_version=3, licence="MIT")
    for words in ("card run", "check run --max-kld 1"):
        message, hint = refused(words, capsys)
        assert message == (
            "run/comparison.json: not a comparison as bitloss writes it: `licence`: Extra inputs "
            "are not permitted"
        )
        assert hint == f"rerun to write it again: {COMMAND}"
