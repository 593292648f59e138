"""Oracle: lm-eval 0.4.13's tasks/lambada/lambada_openai.yaml, applied by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitloss.datasets import hub
from bitloss.errors import TaskDataError
from bitloss.tasks.base import TaskItems
from bitloss.tasks.lambada import LAMBADA


def load(folder: Path, context: str, word: str) -> TaskItems:
    (folder / "lambada").mkdir()
    path = folder / "lambada" / "lambada_openai.jsonl"
    path.write_text(json.dumps({"context": context, "continuation": word}))
    return LAMBADA.load(folder)


def test_the_last_word_is_the_one_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, "Line one\n\nand  two", "more")
    (item,) = loaded.items
    assert item.prompt.text == "Line one\n\nand  two"
    assert (item.delimiter + item.options[0], item.gold) == (" more", 0)
    assert loaded.notes[0] == "LAMBADA (OpenAI) test: 1 rows, the published files have 5,153"

    text = "Line one\n\nand  two more"
    # The yaml's doc_to_text and doc_to_target.
    assert item.prompt.text == " ".join(text.split(" ")[:-1])
    assert item.delimiter + item.options[0] == " " + text.split(" ")[-1]
    monkeypatch.setattr(hub, "_fetch", lambda table, expected, first: [{"text": text}])
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    assert LAMBADA.load(None).items == loaded.items


@pytest.mark.parametrize(("context", "word"), [("", "word"), ("context", ""), ("context", " ")])
def test_a_row_without_either_is_named(context: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(TaskDataError, match=r"row 1 of .*: expected a context and a last word"):
        load(tmp_path, context, word)


def test_the_real_file_is_the_published(shared: Path) -> None:
    loaded = LAMBADA.load(shared / "data")
    assert (len(loaded.items), loaded.notes) == (5_153, ())
