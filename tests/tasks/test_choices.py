"""Oracles: hand computation, and numpy's argmax as lm-eval's process_results uses it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.datasets.tables import Table
from bitloss.errors import NumericalError, TaskDataError
from bitloss.tasks.base import Item, Prompt
from bitloss.tasks.choices import grade_acc, grade_acc_norm, grade_greedy, require_options
from tasks.conformance import NoSandbox, answer

SANDBOX = NoSandbox()


def item(*options: str, gold: int = 0) -> Item:
    return Item("i", Prompt("Q"), options=options, gold=gold)


def test_length_decides_between_acc_and_acc_norm() -> None:
    # -4 / 2 = -2.0 and -6 / 4 = -1.5: the likelier option is not the likelier a character.
    two = item("no", "yeah", gold=1)
    grade = grade_acc_norm(two, answer(-4.0, -6.0), SANDBOX)
    assert dict(grade.scores) == {"acc": 0.0, "acc_norm": 1.0}
    assert grade.detail == "acc: no; acc_norm: yeah"
    assert dict(grade_acc(two, answer(-4.0, -6.0), SANDBOX).scores) == {"acc": 0.0}


def test_length_is_in_characters_without_the_delimiter() -> None:
    # In characters -3/1 against -4/2, the second; in bytes it were -3/2 against -4/2.
    grade = grade_acc_norm(item("é", "ab", gold=1), answer(-3.0, -4.0), SANDBOX)
    assert grade.scores["acc_norm"] == 1.0
    # Without the delimiter -1/1 against -1.6/2, the second; with it -1/2 against -1.6/3.
    grade = grade_acc_norm(item("a", "ab", gold=1), answer(-1.0, -1.6), SANDBOX)
    assert grade.scores["acc_norm"] == 1.0


def test_among_equals_the_first_wins() -> None:
    tie = answer(-1.0, -1.0, -2.0)
    assert grade_acc(item("a", "b", "c", gold=0), tie, SANDBOX).scores["acc"] == 1.0
    assert grade_acc(item("a", "b", "c", gold=1), tie, SANDBOX).scores["acc"] == 0.0


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=4), st.sampled_from([-1.0, -2.0, -3.0, -4.0, -6.0, -0.3])
        ),
        min_size=2,
        max_size=5,
    ),
    st.integers(0, 1),
)
def test_as_numpy_has_it(pairs: list[tuple[str, float]], gold: int) -> None:
    options, logprobs = zip(*pairs, strict=True)
    lengths = np.array([float(len(option)) for option in options])
    grade = grade_acc_norm(item(*options, gold=gold), answer(*logprobs), SANDBOX)
    assert grade.scores["acc"] == float(np.argmax(logprobs) == gold)
    assert grade.scores["acc_norm"] == float(np.argmax(np.array(logprobs) / lengths) == gold)


def test_greedy_looks_at_the_greedy_flag_alone() -> None:
    assert grade_greedy(item("word"), answer(-9.0, greedy=0), SANDBOX).scores["acc"] == 1.0
    assert grade_greedy(item("word"), answer(-0.1), SANDBOX).scores["acc"] == 0.0


def test_the_detail_tells_options_of_equal_text_apart() -> None:
    prompts = (Prompt("the cup"), Prompt("the box"))
    blank = Item("i", Prompt("the"), options=("fell.", "fell."), option_prompts=prompts, gold=0)
    assert grade_acc(blank, answer(-2.0, -1.0), SANDBOX).detail == "the box"


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), float("inf")])
@pytest.mark.parametrize("grade", [grade_acc, grade_acc_norm])
def test_no_number_is_no_wrong_answer(bad: float, grade: object) -> None:
    with pytest.raises(NumericalError, match="item i: expected finite"):
        grade(item("a", "b"), answer(-1.0, bad), SANDBOX)


def test_scores_missing_are_a_bug() -> None:
    with pytest.raises(ValueError, match="expected 2 scores, got 1"):
        grade_acc(item("a", "b"), answer(-1.0), SANDBOX)


@pytest.mark.parametrize(
    ("options", "gold", "message"),
    [
        (("a",), 0, "two options or more"),
        (("a", ""), 0, "two options or more"),
        (("a", None), 0, "two options or more"),
        (("a", "b"), None, "the right one of 2 options, got KEY"),
        (("a", "b"), 2, "the right one of 2 options, got KEY"),
        (("a", "b"), -1, "the right one of 2 options, got KEY"),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(
    options: tuple[object, ...], gold: int | None, message: str
) -> None:
    with pytest.raises(TaskDataError, match=f"row 4 of `f.jsonl`: expected {message}"):
        require_options(Table((), "", "f.jsonl"), 3, options, gold, "KEY")
