"""`bitloss new-task`: two files, and the command to type next."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bitloss.cli.main import main
from bitloss.cli.new_task import Kind
from bitloss.tasks import resolve_task
from bitloss.tasks.custom.examples import KINDS, NEEDS_CHAT

Captured = pytest.CaptureFixture[str]


def test_every_kind_can_be_chosen() -> None:
    assert tuple(kind.value for kind in Kind) == KINDS


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_says_what_to_type_next(
    kind: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["new-task", "mine", "--out", "my tasks", *(["--kind", kind] if kind else [])]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    task, data, following = (line.partition(": ")[2] for line in out.splitlines())
    assert (Path(task), Path(data)) == (Path("my tasks/mine.yaml"), Path("my tasks/mine.jsonl"))
    *command, path = shlex.split(following)
    chat = ["--chat"] * (kind in NEEDS_CHAT)
    assert command == ["bitloss", "compare", "REF", "VARIANT", *chat, "--tasks"]
    assert resolve_task(path).facts.name == "mine"


@pytest.mark.parametrize("name", ["mine.yaml", "mine.yml", "mine.jsonl", "mine.YAML"])
def test_the_name_of_a_file_is_that_of_its_task(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-task", name]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.jsonl", "mine.yaml"]


def test_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-task", "mine"]) == 0
    (tmp_path / "mine.yaml").write_text("changed")
    capsys.readouterr()
    assert main(["new-task", "mine", "--kind", "choice"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: `mine.yaml` is there already, and is not overwritten",
        "hint: choose another name, or another folder with --out",
    ]
    assert (tmp_path / "mine.yaml").read_text() == "changed"


def test_mistyped_kind(capsys: Captured) -> None:
    assert main(["new-task", "mine", "--kind", "chioce"]) == 2
    assert "invalid value for '--kind'" in capsys.readouterr().err
