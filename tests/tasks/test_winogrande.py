"""Oracle: texts written out by hand after lm-eval 0.4.13's winogrande/preprocess_winogrande.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitloss.errors import TaskDataError
from bitloss.tasks.base import TaskItems
from bitloss.tasks.winogrande import WINOGRANDE


def load(folder: Path, sentence: str, answer: str) -> TaskItems:
    row = {"sentence": sentence, "option1": "cup", "option2": "box", "answer": answer}
    (folder / "winogrande").mkdir()
    path = folder / "winogrande" / "winogrande_xl_validation.jsonl"
    path.write_text(json.dumps(row))
    return WINOGRANDE.load(folder)


def test_each_noun_is_filled_in_and_the_rest_scored(tmp_path: Path) -> None:
    (item,) = load(tmp_path, "The cup fits the box as the _  is _ small. ", "1").items
    assert [prompt.text for prompt in item.option_prompts] == [
        "The cup fits the box as the cup",
        "The cup fits the box as the box",
    ]
    assert item.options == ("is _ small.", "is _ small.")
    assert (item.delimiter, item.gold) == (" ", 0)


@pytest.mark.parametrize(
    ("sentence", "answer", "message"),
    [
        ("no blank", "1", "a blank `_` with text after it"),
        ("ends in _", "1", "a blank `_` with text after it"),
        ("a _ b", "", "the right one of 2 options, got ''"),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(
    sentence: str, answer: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskDataError, match=f"row 1 of .*: expected {message}"):
        load(tmp_path, sentence, answer)


def test_the_real_file_is_the_published(shared: Path) -> None:
    loaded = WINOGRANDE.load(shared / "data")
    assert (len(loaded.items), loaded.notes) == (1_267, ())


def test_a_sentence_and_its_twin_belong_together(tmp_path: Path) -> None:
    (tmp_path / "winogrande").mkdir()
    sentences = [
        "The cup did not fit the box as the _ is small.",
        "The cup did not fit the box as the _ is large.",
        "A cup stood on a box, and the _ fell.",
    ]
    rows = [{"sentence": s, "option1": "cup", "option2": "box", "answer": "1"} for s in sentences]
    rows[1] |= {"option1": "box", "option2": "cup"}
    path = tmp_path / "winogrande" / "winogrande_xl_validation.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    found = [item.belongs_to for item in WINOGRANDE.load(tmp_path).items]
    assert found == ["winogrande/0", "winogrande/0", "winogrande/2"]
