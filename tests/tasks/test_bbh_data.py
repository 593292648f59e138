"""Oracles: the upstream layout, written by hand, and the published counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import TaskDataError, UsageError
from bitloss.tasks.bbh_data import ITEMS, Example, load_subjects
from peers.bbh_files import items_file, text_file, write_bbh

NAME = "web_of_lies"


def test_descriptions_and_examples_are_taken_apart(tmp_path: Path) -> None:
    loaded = load_subjects("bbh", write_bbh(tmp_path), None)
    first, *_ = loaded.subjects
    assert (first.name, first.description) == ("boolean_expressions", "Do boolean_expressions.")
    assert first.examples[1] == Example("Which\nB?", "It is\nB. So the answer is (B).", "(B)")
    assert [example.answer for example in first.examples] == ["(A)", "(B)", "(C)"]
    assert first.items.rows[1] == {"input": "boolean_expressions 1?", "target": "no"}
    assert [subject.name for subject in loaded.subjects] == sorted(ITEMS)
    assert loaded.source == str(tmp_path / "bbh")


def test_the_published_counts(shared: Path) -> None:
    loaded = load_subjects("bbh", shared / "data", None)
    assert {subject.name: len(subject.items.rows) for subject in loaded.subjects} == dict(ITEMS)
    assert (sum(ITEMS.values()), loaded.notes) == (6511, ())
    assert all(len(subject.examples) == 3 for subject in loaded.subjects)


@pytest.mark.parametrize("root", ["bbh", "SaylorTwift/bbh"])
def test_items_may_be_there_as_the_hub_has_them(tmp_path: Path, root: str) -> None:
    """Oracle: the same items in the authors' files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = load_subjects("bbh", write_bbh(tmp_path), None)
    for subject in expected.subjects:
        items_file(tmp_path, subject.name).unlink()
        path = tmp_path / root / subject.name / "test-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(list(subject.items.rows)), path)
    loaded = load_subjects("bbh", tmp_path, None)
    assert [s.items.rows for s in loaded.subjects] == [s.items.rows for s in expected.subjects]
    assert [s.examples for s in loaded.subjects] == [s.examples for s in expected.subjects]


def test_reasoning_may_go_on_in_its_first_line(tmp_path: Path) -> None:
    # As in sports_understanding; lm-eval begins a new line there too.
    path = text_file(write_bbh(tmp_path), NAME)
    path.write_text(path.read_text().replace("by step.\nIt", "by step. It"))
    assert load_subjects("bbh", tmp_path, None).subjects[-2].examples[0].reasoning.startswith("It")


def test_a_description_may_have_paragraphs(tmp_path: Path) -> None:
    path = text_file(write_bbh(tmp_path), NAME)
    path.write_bytes(path.read_bytes().replace(b"Do ", b"One.\n\nTwo. Do ").replace(b"\n", b"\r\n"))
    subject = load_subjects("bbh", tmp_path, None).subjects[-2]
    assert subject.description == f"One.\n\nTwo. Do {NAME}."


def test_other_data_is_said(tmp_path: Path) -> None:
    notes = load_subjects("bbh", write_bbh(tmp_path), None).notes
    assert notes[0] == "BBH: 54 rows, the published files have 6,511"
    assert [note.split(":")[0] for note in notes] == ["BBH", "BBH", "BBH examples"]


@pytest.mark.parametrize("shots", [0, 1, 3])
def test_the_first_examples_are_taken(tmp_path: Path, shots: int) -> None:
    all_three = load_subjects("bbh", write_bbh(tmp_path), None).subjects[0].examples
    assert load_subjects("bbh", tmp_path, shots).subjects[0].examples == all_three[:shots]


@pytest.mark.parametrize("shots", [-1, 4])
def test_shots_that_there_are_not(tmp_path: Path, shots: int) -> None:
    with pytest.raises(UsageError, match=f"`bbh`: expected .* got {shots}"):
        load_subjects("bbh", tmp_path, shots)


def test_without_a_folder_the_repository_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    with pytest.raises(TaskDataError) as caught:
        load_subjects("bbh", None, None)
    assert "worked examples" in caught.value.message
    assert "git clone https://github.com/suzgunmirac/BIG-Bench-Hard" in caught.value.hint


def test_missing_files_are_named(tmp_path: Path) -> None:
    text_file(write_bbh(tmp_path), NAME).unlink()
    items_file(tmp_path, NAME).unlink()
    with pytest.raises(TaskDataError, match=rf"{NAME}\.json, bbh/cot-prompts/{NAME}\.txt"):
        load_subjects("bbh", tmp_path, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"examples": [', "expected JSON"),
        (b"[]", "an object with a list `examples`, got list"),
        (b'{"examples": []}', "an object with a list `examples`"),
        (b'{"examples": [{"input": "a", "target": "b"}, {"input": "a"}]}', "of example 2"),
        (b'{"examples": [{"input": "a", "target": 5}]}', "text in `input` and `target`"),
        (b'{"examples": ["a"]}', "of example 1"),
        (b"\xff", "UTF-8 text, got byte 0xff"),
    ],
)
def test_damaged_items_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    items_file(write_bbh(tmp_path), NAME).write_bytes(content)
    with pytest.raises(TaskDataError, match=rf"{NAME}\.json`.*{message}"):
        load_subjects("bbh", tmp_path, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-----\n", "", 'a line "-----"'),
        ("Q: Which\nB?", "What", 'a description and 3 times "Q: ", got 2'),
        ("A: Let's think step by step.", "A:", 'step by step." .* in example 1'),
        ("So the answer is (C).", "So it is (C).", "in example 3"),
    ],
)
def test_damaged_examples_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = text_file(write_bbh(tmp_path), NAME)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(TaskDataError, match=rf"{NAME}\.txt`.*{message}"):
        load_subjects("bbh", tmp_path, None)
