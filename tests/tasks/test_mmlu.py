"""Oracle: prompts written out by hand after lm-eval 0.4.13's tasks/mmlu/default."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.datasets import hub
from bitloss.errors import HubError, TaskDataError, UsageError
from bitloss.tasks.mmlu import MMLU

# _default_template_yaml's doc_to_text and doc_to_target, mmlu_college_biology.yaml's description,
# fewshot_delimiter and target_delimiter of lm_eval/config/task.py.
TWO_SHOTS = """\
The following are multiple choice questions (with answers) about college biology.

What is 1?
A. one
B.  two
C. three
D. four
Answer: A

Quoted, "so"
and on two lines
A. w
B. x
C. y
D. z
Answer: D

Asked with spaces around?
A. p
B. q
C. r
D. s
Answer:"""
DEV = (
    "What is 1?,one, two,three,four,A\n"
    '"Quoted, ""so""\nand on two lines",w,x,y,z,D\n'
    "Unused?,1,2,3,4,B\n"
)
TEST = " Asked with spaces around?\t,p,q,r,s,C\nSecond?,1,2,3,4,D\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split, text in (("dev", DEV), ("test", TEST)):
        (tmp_path / "mmlu" / split).mkdir(parents=True)
        for subject in MMLU.facts.groups:
            (tmp_path / "mmlu" / split / f"{subject}_{split}.csv").write_text(text)
    return tmp_path


def test_the_prompt_is_that_of_lm_eval(data: Path) -> None:
    items = [i for i in MMLU.load(data, shots=2).items if i.subject == "college_biology"]
    assert [i.id for i in items] == ["college_biology/0", "college_biology/1"]
    assert items[0].prompt.text == TWO_SHOTS
    assert items[0].prompt.description.endswith("biology.\n\n")
    assert [shot[-5:] for shot in items[0].prompt.shots] == [": A\n\n", ": D\n\n"]
    assert items[0].options == ("A", "B", "C", "D")
    assert (items[0].delimiter, items[0].gold, items[1].gold) == (" ", 2, 3)


def test_questions_below_one_passage_belong_together(data: Path) -> None:
    passage = "This question refers to the following information.\nFour score and seven years ago"
    path = data / "mmlu" / "test" / "high_school_us_history_test.csv"
    path.write_text(
        "".join(f'"{passage}\n{q}?",1,2,3,4,A\n' for q in ("Who", "When"))
        + '"Short.\nWhat?",1,2,3,4,A\n"Short.\nWhy?",1,2,3,4,A\n'
    )
    items = MMLU.load(data, shots=2).items
    found = [i.belongs_to for i in items if i.subject == "high_school_us_history"]
    first = "high_school_us_history/0"
    assert found == [first, first, "high_school_us_history/2", "high_school_us_history/3"]


def test_without_shots_the_description_stays_and_no_example_file_is_needed(data: Path) -> None:
    for path in (data / "mmlu" / "dev").iterdir():
        path.unlink()
    prompt = MMLU.load(data, shots=0).items[0].prompt
    assert prompt.shots == ()
    assert prompt.text == (
        "The following are multiple choice questions (with answers) about abstract algebra.\n\n"
        "Asked with spaces around?\nA. p\nB. q\nC. r\nD. s\nAnswer:"
    )


def test_five_shots_are_the_default_and_the_maximum_is_named(data: Path) -> None:
    with pytest.raises(UsageError, match="`mmlu`: expected at most 3 shots, got 5"):
        MMLU.load(data)


def test_items_of_a_subject_share_their_preamble(shared: Path) -> None:
    loaded = MMLU.load(shared / "data")
    assert (len(loaded.items), loaded.notes) == (14_042, ())
    by_subject = {item.subject: item.prompt for item in loaded.items}
    assert len(by_subject) == 57
    for item in loaded.items:
        assert item.prompt.shots is by_subject[item.subject].shots
        assert item.prompt.description is by_subject[item.subject].description
        assert len(item.prompt.shots) == 5


def test_four_groups() -> None:
    # Counts of the tags in tasks/mmlu/default: 19, 13, 12, 13.
    groups = list(MMLU.facts.groups.values())
    assert {group: groups.count(group) for group in groups} == {
        "stem": 19, "humanities": 13, "social sciences": 12, "other": 13,
    }  # fmt: skip
    assert MMLU.facts.groups["anatomy"] == "stem"
    assert MMLU.facts.groups["econometrics"] == "social sciences"


def test_other_rows_than_the_published_are_said(data: Path) -> None:
    notes = MMLU.load(data, shots=1).notes
    assert notes[0] == "MMLU dev: 171 rows, the published files have 285"
    assert "MMLU test: 114 rows, the published files have 14,042" in notes
    assert any("the published files have" in note for note in notes)


def test_missing_files_are_named_with_their_source(data: Path) -> None:
    (data / "mmlu" / "test" / "anatomy_test.csv").unlink()
    with pytest.raises(TaskDataError) as caught:
        MMLU.load(data)
    assert "mmlu/test/anatomy_test.csv" in caught.value.message
    assert "hendrycks/data.tar" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Q?,1,2,3,4,A\nQ?,1,2,3,A\n",
            r"line 2 of .*virology_test.csv`: expected 6 columns, got 5",
        ),
        (
            "Q?,1,2,3,4,A\nQ?,1,2,3,4,E\n",
            r"row 2 of .*virology_test.csv`: expected an answer .*'E'",
        ),
        ('Q?,1,2,3,4,A\n"Q?,1,2,3,4,A\n', r"line \d of .*virology_test.csv`: expected CSV"),
    ],
)
def test_a_damaged_row_is_named(data: Path, text: str, message: str) -> None:
    (data / "mmlu" / "test" / "virology_test.csv").write_text(text)
    with pytest.raises(TaskDataError, match=message):
        MMLU.load(data, shots=0)


def test_the_hub_gives_the_same_items(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # cais/mmlu, config "all": choices as a list, the answer as an index; rows in any order.
    local = MMLU.load(data, shots=2)
    dev = [("What is 1?", ["one", " two", "three", "four"], 0),
           ('Quoted, "so"\nand on two lines', ["w", "x", "y", "z"], 3)]  # fmt: skip
    test = [(" Asked with spaces around?\t", ["p", "q", "r", "s"], 2),
            ("Second?", ["1", "2", "3", "4"], 3)]  # fmt: skip
    asked = []

    def fetch(table: hub.HubTable, expected: str, first: int | None) -> list[hub.Row]:
        asked.append((table.repository, table.config, table.split))
        return [
            {"question": question, "subject": subject, "choices": choices, "answer": answer}
            for question, choices, answer in (dev if table.split == "dev" else test)
            for subject in MMLU.facts.groups
        ]

    monkeypatch.setattr(hub, "_fetch", fetch)
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    loaded = MMLU.load(None, shots=2)
    assert asked == [("cais/mmlu", "all", "dev"), ("cais/mmlu", "all", "test")]
    assert loaded.items == local.items
    assert loaded.source == "hub: cais/mmlu, all, dev"
    assert not any("sha256" in note for note in loaded.notes)


def test_without_network_the_hint_names_the_local_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    with pytest.raises(HubError, match=r"mmlu/dev/abstract_algebra_dev.csv: --data DIR"):
        MMLU.load(None)
