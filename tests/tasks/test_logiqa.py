"""Oracle: a prompt written out by hand after AGIEval's dataset_loader.py, convert_zero_shot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitloss.datasets import hub
from bitloss.errors import TaskDataError
from bitloss.tasks.base import TaskItems
from bitloss.tasks.logiqa import LOGIQA

ROW = {
    "passage": "All cats sleep.",
    "question": "What follows?",
    "options": ["(A)Cats sleep", "(B)Dogs sleep", "(C)None"],
    "label": "B",
}
PROMPT = (
    "All cats sleep.Q: What follows? Answer Choices: (A)Cats sleep (B)Dogs sleep (C)None\n"
    "A: Among A through C, the answer is"
)


def load(folder: Path, **changes: Any) -> TaskItems:
    (folder / "logiqa").mkdir()
    (folder / "logiqa" / "logiqa-en.jsonl").write_text(json.dumps({**ROW, **changes}))
    return LOGIQA.load(folder)


def test_the_prompt_is_that_of_agieval(tmp_path: Path) -> None:
    (item,) = load(tmp_path).items
    assert item.prompt.text == PROMPT
    assert item.options == ("(A)Cats sleep", "(B)Dogs sleep", "(C)None")
    assert (item.gold, item.delimiter) == (1, " ")


def test_there_may_be_no_passage(tmp_path: Path) -> None:
    (item,) = load(tmp_path, passage=None).items
    assert item.prompt.text.startswith("Q: What follows? Answer")
    assert item.cluster == ""


def test_questions_about_one_passage_belong_together(tmp_path: Path) -> None:
    (tmp_path / "logiqa").mkdir()
    rows = [ROW, {**ROW, "passage": "Dogs bark."}, {**ROW, "question": "What else?"}]
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "logiqa" / "logiqa-en.jsonl").write_text(text)
    found = [item.belongs_to for item in LOGIQA.load(tmp_path).items]
    assert found == ["logiqa/0", "logiqa/1", "logiqa/0"]


@pytest.mark.parametrize("label", ["", "AB", "D", None])
def test_a_row_without_a_label_is_named(label: str | None, tmp_path: Path) -> None:
    with pytest.raises(TaskDataError, match=r"row 1 of .*: expected the right one of 3 options"):
        load(tmp_path, label=label)


def test_the_hub_gives_the_same_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"query": PROMPT, "choices": list(ROW["options"]), "gold": [1]}]
    monkeypatch.setattr(hub, "_fetch", lambda table, expected, first: rows)
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    assert LOGIQA.load(None).items == load(tmp_path).items
    rows[0]["gold"] = [0, 1]
    with pytest.raises(TaskDataError, match=r"row 1 of `hub: hails/agieval-logiqa-en, test`"):
        LOGIQA.load(None)


def test_the_real_file_is_the_published(shared: Path) -> None:
    loaded = LOGIQA.load(shared / "data")
    assert (len(loaded.items), loaded.notes) == (651, ())
