"""Oracle: texts worked out by hand after lm-eval 0.4.13's tasks/hellaswag/utils.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import TaskDataError
from bitloss.tasks.base import TaskItems
from bitloss.tasks.hellaswag import HELLASWAG

RAW = {
    "activity_label": "Baking bread",
    "ctx_a": "[header] How to bake [title] Take flour. [step] It is  white.",
    "ctx_b": "then YOU",
    "endings": ["[substeps] mix it.", "go [x] home  ", "sit.", "sleep."],
    "label": "2",
}


def load(folder: Path, name: str, *rows: dict[str, Any]) -> TaskItems:
    (folder / "hellaswag").mkdir(exist_ok=True)
    (folder / "hellaswag" / name).write_text("\n".join(map(json.dumps, rows)))
    return HELLASWAG.load(folder)


def test_the_texts_are_those_of_lm_eval(tmp_path: Path) -> None:
    loaded = load(tmp_path, "hellaswag_val.jsonl", RAW)
    (item,) = loaded.items
    # " [title]" becomes ". "; other marks go, two spaces become one, once; str.capitalize lowers
    # what follows the first letter.
    assert item.prompt.text == ("Baking bread: How to bake. Take flour. It is white. Then you")
    # Stripped before the mark goes, not after: the space stays, and the delimiter comes on top.
    assert item.options == (" mix it.", "go home", "sit.", "sleep.")
    assert (item.gold, item.delimiter) == (2, " ")
    assert loaded.notes == ("HellaSwag validation: 1 rows, the published files have 10,042",)


def test_the_subset_is_taken_as_it_is(tmp_path: Path) -> None:
    row = {"ind": 3, "ctx": "A: b [c]", "endings": [" x", "y  z", "v", "w"], "label": 3}
    (item,) = load(tmp_path, "hellaswag_val_1000.olmes.jsonl", row).items
    assert item.prompt.text == "A: b [c]"
    assert item.options == (" x", "y  z", "v", "w")
    assert item.gold == 3
    # The authors' file goes before the subset.
    (item,) = load(tmp_path, "hellaswag_val.jsonl", RAW).items
    assert item.gold == 2


def test_the_real_subset_is_said_to_be_one(shared: Path) -> None:
    loaded = HELLASWAG.load(shared / "data")
    assert len(loaded.items) == 1_000
    assert loaded.notes == ("HellaSwag validation: 1,000 rows, the published files have 10,042",)


@pytest.mark.parametrize("label", ["", "4", None, -1])
def test_a_row_without_a_label_is_named(label: object, tmp_path: Path) -> None:
    with pytest.raises(TaskDataError, match=r"row 2 of .*: expected the right one of 4 options"):
        load(tmp_path, "hellaswag_val.jsonl", RAW, {**RAW, "label": label})


def test_both_files_are_named_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(TaskDataError) as caught:
        HELLASWAG.load(tmp_path)
    assert "hellaswag_val.jsonl or hellaswag/hellaswag_val_1000" in caught.value.message
    assert "github.com/rowanz/hellaswag" in caught.value.hint
