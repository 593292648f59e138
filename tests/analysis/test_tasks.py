"""Results of a task from item records. Oracle: computed by hand from six items."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from bitloss.analysis.task_items import TaskItems
from bitloss.analysis.tasks import (
    analyse_capabilities,
    analyse_reference_task,
    analyse_task,
)
from bitloss.results.manifest import TaskEntry
from bitloss.runner.tasks.records import WRITING
from task_parts import ENTRY

_TASKS = count()  # no two tasks have the same items


def items(
    scores: list[float],
    nll: list[float],
    kl: list[float],
    right: list[float] | None = None,
    clusters: list[str] | None = None,
    **entry: Any,
) -> TaskItems:
    """Six items of three subjects, the last one not asked, the second without a gold answer."""
    name = next(_TASKS)
    return TaskItems(
        TaskEntry(**{**ENTRY, **entry}),
        {
            "subject": np.array(["one", "one", "two", "two", "three", "three"], dtype=object),
            "cluster": np.array(clusters or [f"{name}/{n}" for n in range(6)], dtype=object),
            "asked": np.array([True] * 5 + [False]),
            "score:acc": np.array([*scores, math.nan]),
            "weight:acc": np.array([1.0] * 5 + [0.0]),
            "gold_tokens": np.array([1, 0, 2, 2, 5, 0]),
            "gold_nll": np.array(nll),
            "gold_kl": np.array(kl),
            "gold_affinity": np.exp(-np.array(kl) / 4),
            **{name: np.full(6, math.nan) for name in WRITING},
            "right": np.array(right or [math.nan] * 6),
        },
    )


def test_lengths_and_ends_of_texts_are_means_over_the_items_asked() -> None:
    columns = {name: np.array([1.0, 0, 1, 0, 0.5, NAN]) for name in WRITING}
    columns["same_text"] = np.array([1.0, 0, 1, 0, 0, NAN])  # 2 of 5 are the reference's
    columns["parts_at"] = np.array([NAN, 2, NAN, 9, 4, NAN])
    found = replace(REFERENCE, columns={**REFERENCE.columns, **columns}).writing()
    assert found is not None
    assert found.model_dump() == {**dict.fromkeys(WRITING, 0.5), "same_text": 0.4, "parts_at": 4}
    assert REFERENCE.writing() is None  # options: nothing was written


NAN = math.nan
REFERENCE = items([1, 0, 1, 1, 0], [1, NAN, 2, 2, 5, NAN], [0, NAN, 0, 0, 0, NAN])
VARIANT = items([1, 1, 0, 0, 0], [2, NAN, 3, 2, 6, NAN], [0.5, NAN, 0.2, 0.1, 1.2, NAN])


def test_scores_of_the_items_that_were_asked() -> None:
    task = analyse_reference_task(REFERENCE, seed=0)
    assert (task.n_scored, task.n_items, task.n_total) == (5, 6, 9)
    assert task.score.value == pytest.approx(3 / 5)
    assert {name: s.score for name, s in task.subjects.items()} == {
        "one": 0.5,
        "two": 1,
        "three": 0,
    }
    assert task.macro == pytest.approx(0.5)
    assert task.groups["G"].score == pytest.approx(3 / 4)
    assert task.groups["G"].n_scored == 4
    assert task.gold_nll is not None
    assert task.gold_nll.value == pytest.approx(10 / 10)  # summed nats over summed tokens


def test_a_variant_beside_the_reference() -> None:
    task = analyse_task(VARIANT, REFERENCE, seed=0)
    assert task.reference_score == pytest.approx(3 / 5)
    assert task.score.value == pytest.approx(2 / 5)
    assert task.difference.value == pytest.approx(-1 / 5)
    assert task.difference.low is not None
    assert task.difference.low < -1 / 5
    assert task.flips is not None
    assert (task.flips.right_to_wrong, task.flips.wrong_to_right) == (2, 1)
    assert task.flips.p_value == 1.0  # three coins, two alike or more: certain
    assert task.kl_divergence is not None
    assert task.kl_divergence.value == pytest.approx(2.0 / 10)
    assert task.answer_change is not None  # an answer counts once, whatever its length
    assert task.answer_change.value == pytest.approx(
        1 - np.exp([-0.5 / 4, -0.2 / 4, -0.1 / 4, -1.2 / 4]).mean()
    )
    assert task.gold_nll_difference is not None
    assert task.gold_nll_difference.value == pytest.approx(3 / 10)


def test_a_copy_of_the_reference_loses_exactly_nothing() -> None:
    task = analyse_task(REFERENCE, REFERENCE, seed=0)
    assert task.difference.model_dump() == {"value": 0, "low": 0, "high": 0}
    assert task.kl_divergence is not None
    assert task.kl_divergence.model_dump() == {"value": 0, "low": 0, "high": 0}
    assert task.flips is not None
    assert task.flips.right_to_wrong == task.flips.wrong_to_right == 0


def test_partial_scores_do_not_flip() -> None:
    partly = items([0.5, 1, 0, 0, 0], [1, NAN, 2, 2, 5, NAN], [0] * 6)
    assert analyse_task(partly, REFERENCE, seed=0).flips is None


def test_weights_count_instructions() -> None:
    columns = {**REFERENCE.columns, "weight:acc": np.array([3.0, 1, 1, 1, 1, 0])}
    assert analyse_reference_task(
        TaskItems(TaskEntry(**ENTRY), columns), seed=0
    ).score.value == pytest.approx((3 + 1 + 1) / 7)


def test_tasks_of_a_capability_count_the_same() -> None:
    code = items([1, 1, 1, 1, 1], [1, NAN, 2, 2, 5, NAN], [0] * 6, capability="code")
    found = analyse_capabilities(
        {
            "first": (VARIANT, REFERENCE),
            "second": (REFERENCE, REFERENCE),
            "third": (code, code),
        },
        seed=0,
    )
    assert list(found) == ["logic", "code"]
    logic = found["logic"]
    assert logic.tasks == ("first", "second")
    assert logic.score == pytest.approx((2 / 5 + 3 / 5) / 2)
    assert logic.reference_score == pytest.approx(3 / 5)
    assert logic.difference.value == pytest.approx((-1 / 5 + 0) / 2)
    assert logic.kl_divergence is not None
    assert logic.kl_divergence.value == pytest.approx((2.0 / 10 + 0) / 2)
    assert logic.flips is not None
    assert logic.flips.right_to_wrong == 2
    assert logic.p_value is None  # that of a page: bitloss.analysis.families


def test_items_without_gold_answers_have_no_loss() -> None:
    columns = {**REFERENCE.columns, "gold_tokens": np.zeros(6, dtype=int)}
    without = TaskItems(TaskEntry(**ENTRY), columns)
    task = analyse_task(without, without, seed=0)
    assert task.kl_divergence is None
    assert task.gold_nll is None
    assert task.score.value == pytest.approx(3 / 5)
