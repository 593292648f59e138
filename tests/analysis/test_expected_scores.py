"""Oracle: probabilities of a few items put in by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bitloss.analysis.expected_scores import (
    expected_difference,
    expected_scores,
    stands_for_score,
)
from bitloss.analysis.task_items import TaskItems
from bitloss.analysis.tasks import analyse_capabilities, analyse_task
from bitloss.results.manifest import TaskEntry
from bitloss.runner.tasks.records import WRITING
from task_parts import ENTRY

NAN = math.nan


def items(
    right: list[float], nll: list[float], scores: list[float], *, kl: float = 0.0, **entry: Any
) -> TaskItems:
    n = len(right)
    return TaskItems(
        TaskEntry(**{**ENTRY, **entry}),
        {
            "subject": np.array([""] * n, dtype=object),
            "asked": np.ones(n, dtype=bool),
            "score:acc": np.array(scores),
            "weight:acc": np.ones(n),
            "gold_tokens": np.ones(n, dtype=int),
            "gold_nll": np.array(nll),
            "gold_kl": np.full(n, kl),
            "gold_affinity": np.ones(n),
            **{name: np.full(n, math.nan) for name in WRITING},
            "right": np.array(right),
        },
    )


CHOICE = items([0.9, 0.6, 0.2, 0.5], [9.0] * 4, [1, 1, 0, 1])
WRITTEN = items([NAN] * 4, [-math.log(p) for p in (0.9, 0.5, 0.5, 0.1)], [1, 1, 1, 0])


def test_the_right_options_probability_or_the_whole_answers() -> None:
    assert expected_scores(CHOICE) == pytest.approx([0.9, 0.6, 0.2, 0.5])
    assert expected_scores(WRITTEN) == pytest.approx([0.9, 0.5, 0.5, 0.1])


def test_options_stand_for_the_score_whatever_their_mean() -> None:
    assert stands_for_score(items([0.1] * 4, [9.0] * 4, [1, 1, 1, 1]))


@pytest.mark.parametrize(("likely", "stands"), [(0.46, True), (0.44, False)])
def test_a_written_answer_has_to_be_likely(likely: float, stands: bool) -> None:
    # The score is 0.75, of which 0.6 is 0.45.
    assert stands_for_score(items([NAN] * 4, [-math.log(likely)] * 4, [1, 1, 1, 0])) is stands


@pytest.mark.parametrize(
    "other",
    [
        items([NAN] * 4, [0.0] * 4, [1, 1, 1, 0], gold="reference"),
        items([0.9] * 4, [0.0] * 4, [1, 1, 0.5, 0]),  # several samples: neither right nor wrong
        items([NAN] * 4, [0.0] * 4, [0, 0, 0, 0]),
    ],
)
def test_where_it_does_not_stand_there_is_none(other: TaskItems) -> None:
    assert not stands_for_score(other)
    assert expected_difference(other, other) is None
    assert analyse_task(other, other, seed=0).expected_difference is None


def test_an_item_without_a_gold_answer_leaves_nothing_to_expect() -> None:
    columns = {**CHOICE.columns, "gold_tokens": np.array([1, 0, 1, 1])}
    assert not stands_for_score(TaskItems(CHOICE.entry, columns))


def test_the_difference_is_the_variants_less_the_references() -> None:
    worse = items([0.7, 0.6, 0.1, 0.2], [9.0] * 4, [1, 1, 0, 0])
    found = analyse_task(worse, CHOICE, seed=0)
    assert found.expected_score == pytest.approx(0.4)
    assert found.expected_difference is not None
    assert found.expected_difference.value == pytest.approx(-0.15)
    assert found.difference.value == pytest.approx(-0.25)


def test_a_task_without_one_counts_with_its_score() -> None:
    wordy = items([NAN] * 4, [9.0] * 4, [1, 1, 1, 0])
    lost = items([NAN] * 4, [9.0] * 4, [1, 1, 0, 0])
    better = items([1.0, 0.7, 0.3, 0.6], [9.0] * 4, [1, 1, 0, 1], kl=0.1)
    pairs = {"choice": (better, CHOICE), "wordy": (lost, wordy)}
    found = analyse_capabilities(pairs, seed=0)["logic"].expected_difference
    assert found is not None
    assert found.value == pytest.approx((0.1 - 0.25) / 2)
    # Each side's half widths, squared, added, rooted and halved: both tasks' by themselves.
    one = analyse_task(better, CHOICE, seed=0).expected_difference
    other = analyse_task(lost, wordy, seed=0).difference
    assert one is not None
    low = found.value - math.hypot(one.value - one.low, other.value - other.low) / 2
    assert found.low == pytest.approx(low)
    assert (
        analyse_capabilities({"wordy": (lost, wordy)}, seed=0)["logic"].expected_difference is None
    )
