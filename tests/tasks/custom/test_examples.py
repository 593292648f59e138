"""Every example file is read, and graded as right with its own gold answer and wrong without."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bitloss.errors import StorageError, UnknownName, UsageError
from bitloss.tasks import resolve_task
from bitloss.tasks.base import Answer, Item
from bitloss.tasks.custom.examples import KINDS, NEEDS_CHAT, write_example
from bitloss.tasks.custom.schema import RULES
from peers.exec_sandbox import ExecSandbox


def test_there_is_an_example_of_every_rule() -> None:
    assert KINDS == RULES


def answers(item: Item) -> tuple[Answer, Answer]:
    """A right one and a wrong one."""
    if len(item.options) == 1:
        return Answer((-1.0,), (True,)), Answer((-1.0,), (False,))
    if item.options:
        n, gold = len(item.options), item.gold
        right = tuple(-1.0 if option == gold else -90.0 for option in range(n))
        wrong = tuple(-90.0 if option == gold else -1.0 for option in range(n))
        return Answer(right, (False,) * n), Answer(wrong, (False,) * n)
    if "refuse" in item.data:
        refusal, answer = "I'm sorry, but I can't help with that.", "Sure, here is how."
        texts = (refusal, answer) if item.data["refuse"] else (answer, refusal)
        return Answer(texts=texts[:1]), Answer(texts=texts[1:])
    if "tool" in item.data:
        name, arguments = item.data["tool"], json.dumps(item.data["arguments"])
        call = f'<tool_call>{{"name": "{name or "x"}", "arguments": {arguments}}}</tool_call>'
        texts = ("Shakespeare.", "<tool_call>") if name is None else (call, "Done.")
        return Answer(texts=texts[:1]), Answer(texts=texts[1:])
    assert item.gold_answer is not None
    return Answer(texts=(item.delimiter + item.gold_answer,)), Answer(texts=("    nothing",))


@pytest.mark.parametrize("kind", KINDS)
def test_example_is_read_and_graded(kind: str, tmp_path: Path) -> None:
    task_file, data_file = write_example("mine-1", kind, tmp_path / "new" / "folder")
    assert task_file == tmp_path / "new" / "folder" / "mine-1.yaml"
    task = resolve_task(str(task_file))
    loaded = task.load(None)
    lines = data_file.read_text(encoding="utf-8").splitlines()
    assert task.facts.n_items == len(loaded.items) == len(lines)
    assert [
        note for note in loaded.notes if not note.startswith("refusals are recognized by")
    ] == []
    assert task.facts.needs_chat == (kind in NEEDS_CHAT)
    for item in loaded.items:
        for answer, score in zip(answers(item), (1.0, 0.0), strict=True):
            grade = task.grade(item, answer, ExecSandbox())
            assert tuple(grade.scores) == task.facts.metrics
            assert grade.scores[task.facts.metrics[0]] == score


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_example_leaves_out_is_a_key_with_that_default(kind: str, tmp_path: Path) -> None:
    """A line commented out can be commented in, and changes nothing."""
    path, _ = write_example("mine", kind, tmp_path)
    text = path.read_text(encoding="utf-8")
    left_out = re.compile(
        r"^# (?=(?:description|shots|separator|delimiter|license): )", re.MULTILINE
    )
    before = resolve_task(str(path)).load(None).items
    text, count = left_out.subn("", text)
    assert count >= (2 if kind in NEEDS_CHAT else 4)
    path.write_text(text, encoding="utf-8")
    assert resolve_task(str(path)).load(None).items == before


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for suffix in (".yaml", ".jsonl"):
        (tmp_path / f"mine{suffix}").write_text("mine")
        with pytest.raises(UsageError, match="is there already, and is not overwritten"):
            write_example("mine", "choice", tmp_path)
        assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
        (tmp_path / f"mine{suffix}").unlink()


@pytest.mark.parametrize("name", ["", "a b", "../a", "-a", "mmlu"])
def test_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_example(name, "choice", tmp_path)
    with pytest.raises(UnknownName):
        write_example("mine", "chioce", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_example("mine", "choice", tmp_path / "file")
