"""Oracle: prompts written out by hand after lm-eval 0.4.13's tasks/arc/arc_easy.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import TaskDataError
from bitloss.tasks.arc import ARC_CHALLENGE, ARC_EASY
from bitloss.tasks.base import TaskItems


def load(folder: Path, *rows: dict[str, Any]) -> TaskItems:
    (folder / "arc").mkdir()
    (folder / "arc" / "ARC-Easy_test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ARC_EASY.load(folder)


def row(key: str, labels: str, *texts: str) -> dict[str, Any]:
    choices = {"text": list(texts), "label": list(labels)}
    return {"id": "M_1", "question": " Why? ", "choices": choices, "answerKey": key}


def test_the_prompt_is_that_of_lm_eval(tmp_path: Path) -> None:
    loaded = load(tmp_path, row("B", "ABC", "for one", "for two", "for three"))
    (item,) = loaded.items
    # arc_easy.yaml does not strip the question.
    assert item.prompt.text == "Question:  Why? \nAnswer:"
    assert (item.options, item.delimiter) == (("for one", "for two", "for three"), " ")
    assert (item.id, item.gold) == ("M_1", 1)
    assert loaded.notes[0] == "ARC-Easy test: 1 rows, the published files have 2,376"


def test_keys_may_be_digits_and_options_five(tmp_path: Path) -> None:
    (item,) = load(tmp_path, row("4", "12345", "a", "b", "c", "d", "e")).items
    assert (item.gold, len(item.options)) == (3, 5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("E", "ABCD", *"abcd"), "the right one of 4 options, got 'E' of A, B, C, D"),
        (row("A", "A", "a"), "two options or more"),
        ({**row("A", "AB", *"ab"), "choices": ["a", "b"]}, "choices with `text` and `label`"),
    ],
)
def test_a_row_without_a_right_option_is_named(
    bad: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(
        TaskDataError, match=rf"row 2 of .*ARC-Easy_test.jsonl`: expected {message}"
    ):
        load(tmp_path, row("A", "AB", "a", "b"), bad)


def test_the_real_files_are_the_published(shared: Path) -> None:
    for task, count in ((ARC_EASY, 2_376), (ARC_CHALLENGE, 1_172)):
        loaded = task.load(shared / "data")
        assert (len(loaded.items), loaded.notes) == (count, ())


def test_a_missing_file_is_named_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(TaskDataError) as caught:
        ARC_CHALLENGE.load(tmp_path)
    assert "arc/ARC-Challenge_test.jsonl" in caught.value.message
    assert "hub: allenai/ai2_arc, ARC-Challenge, test" in caught.value.hint
