"""Oracles: lm-eval 0.4.13's own task run on the same files (digests and grades), and by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.errors import TaskDataError, UsageError
from bitloss.spec.fingerprint import sha256_text
from bitloss.tasks.base import Answer, Item, Prompt
from bitloss.tasks.gsm8k import GSM8K
from tasks.conformance import NoSandbox

# sha256 over the contexts that lm-eval 0.4.13's ConfigurableTask builds from gsm8k.yaml and these
# files (few-shot seed 1234), joined by NUL.
CONTEXTS = "84119a05b6c77e92415182c7963444e153dd2df04e05e238744f26b105c0a8b6"


def row(number: int) -> dict[str, Any]:
    return {"question": f"How many? {number}", "answer": f"It is {number}.\n#### {number}"}


def write(folder: Path, *, train: int = 40, test: int = 3) -> Path:
    (folder / "gsm8k").mkdir(parents=True)
    for name, rows in (
        ("train", map(row, range(100, 100 + train))),
        ("test", map(row, range(test))),
    ):
        (folder / "gsm8k" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def grade(text: str, gold: str = "So.\n#### 1,234") -> tuple[float, float]:
    item = Item("test/0", Prompt("?"), gold_answer=gold)
    scores = GSM8K.grade(item, Answer(texts=(text,)), NoSandbox()).scores
    return scores["strict"], scores["flexible"]


def test_the_prompt(tmp_path: Path) -> None:
    first, *_ = GSM8K.load(write(tmp_path), shots=1).items
    # random.Random(1234).sample(range(40), 1)
    number = 100 + random.Random(1234).sample(range(40), 1)[0]
    assert first.prompt.text == (
        f"Question: How many? {number}\nAnswer: It is {number}.\n#### {number}\n\n"
        "Question: How many? 0\nAnswer:"
    )
    assert (first.id, first.delimiter, first.gold_answer) == ("test/0", " ", "It is 0.\n#### 0")


def test_one_generator_goes_on_from_question_to_question(tmp_path: Path) -> None:
    few = GSM8K.load(write(tmp_path / "few", test=2)).items
    many = GSM8K.load(write(tmp_path / "many", test=9)).items
    assert few == many[:2]
    assert len({item.prompt.shots for item in many}) == 9
    assert all(len(set(item.prompt.shots)) == 5 for item in many)


def test_the_prompts_are_those_of_lm_eval(shared: Path) -> None:
    loaded = GSM8K.load(shared / "data")
    assert (len(loaded.items), loaded.notes) == (1319, ())
    assert sha256_text("\0".join(item.prompt.text for item in loaded.items)) == CONTEXTS


def test_right_answers_are_right(shared: Path) -> None:
    for item in GSM8K.load(shared / "data", shots=0).items:
        scores = GSM8K.grade(item, Answer(texts=(item.gold_answer or "",)), NoSandbox()).scores
        assert dict(scores) == {"strict": 1.0, "flexible": 1.0}


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        (" It is.\n#### 1234", (1.0, 1.0)),
        (" #### 1,234.", (1.0, 1.0)),
        (" #### $1234", (0.0, 1.0)),  # the dollar sign is no part of the strict pattern
        (" #### 1234\n\nThat was 7", (1.0, 0.0)),
        (" #### 7 #### 1234", (0.0, 1.0)),
        (" The answer is 1234", (0.0, 1.0)),
        (" #### 1234.00", (0.0, 0.0)),
        (" ####1234", (0.0, 1.0)),
        (" #### -1234", (0.0, 0.0)),
        ("", (0.0, 0.0)),
        (" none", (0.0, 0.0)),
        (" 1234, I think.", (0.0, 1.0)),
    ],
)
def test_grades_are_those_of_lm_eval(text: str, scores: tuple[float, float]) -> None:
    assert grade(text) == scores


@given(st.integers(-(10**9), 10**9), st.text(alphabet="ab \n$,.", max_size=20))
def test_numbers_may_be_written_with_commas(number: int, before: str) -> None:
    gold = f"So.\n#### {number}"
    assert grade(f"{before}\n#### {number:,}", gold) == (1.0, 1.0)
    assert grade(f"{before}\n#### {number + 1:,}", gold) == (0.0, 0.0)


@given(st.text(alphabet="#019,.$- \nab"))
def test_a_grade_is_nought_or_one(text: str) -> None:
    assert set(grade(text)) <= {0.0, 1.0}


def test_decoding_is_that_of_lm_eval() -> None:
    decoding = GSM8K.facts.decoding
    assert decoding is not None
    assert decoding.stop == ("Question:", "</s>", "<|im_end|>")
    assert (decoding.max_new_tokens, decoding.temperature, decoding.decided) == (256, 0.0, None)


def test_several_samples_are_refused() -> None:
    item = Item("test/0", Prompt("?"), gold_answer="#### 1")
    with pytest.raises(ValueError, match="unpack"):
        GSM8K.grade(item, Answer(texts=("a", "b")), NoSandbox())


def test_no_examples_need_no_training_file(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "gsm8k" / "train.jsonl").unlink()
    assert [item.prompt.shots for item in GSM8K.load(folder, shots=0).items] == [()] * 3
    with pytest.raises(TaskDataError, match=r"gsm8k/train\.jsonl"):
        GSM8K.load(folder)


def test_other_counts_are_said(tmp_path: Path) -> None:
    notes = GSM8K.load(write(tmp_path)).notes
    assert "GSM8K test: 3 rows, the published files have 1,319" in notes
    assert "GSM8K train: 40 rows, the published files have 7,473" in notes


@pytest.mark.parametrize("shots", [-1, 41])
def test_shots_that_there_are_not(tmp_path: Path, shots: int) -> None:
    with pytest.raises(UsageError, match=f"got {shots}"):
        GSM8K.load(write(tmp_path), shots=shots)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"question": "?", "answer": "no mark"}, r"row 4 .*expected `#### ` and a number"),
        ({"question": 5, "answer": "#### 5"}, r"row 4 .*expected text in `question`, got int"),
        ({"question": "", "answer": "#### 5"}, r"row 4 .*expected text in `question`, got ''"),
        ({"question": "?"}, r"line 4 .*expected fields question, answer"),
    ],
)
def test_damaged_rows_are_named(tmp_path: Path, bad: dict[str, Any], message: str) -> None:
    path = write(tmp_path) / "gsm8k" / "test.jsonl"
    path.write_text(path.read_text() + "\n" + json.dumps(bad))
    with pytest.raises(TaskDataError, match=message):
        GSM8K.load(tmp_path)
