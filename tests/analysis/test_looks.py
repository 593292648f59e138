"""Results of tasks evaluated in looks. Oracle: the same records of a task evaluated once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bitloss.analysis.task_items import TaskItems
from bitloss.analysis.tasks import analyse_capabilities, analyse_losses, analyse_task
from bitloss.metrics.item_looks import widening
from bitloss.results.manifest import TaskEntry
from bitloss.runner.tasks.records import WRITING
from task_parts import ENTRY

TOTAL, DRAWN = 400, 96
RIGHT = np.random.default_rng(0).uniform(size=TOTAL)


def items(right: np.ndarray, kl: float, *, looks: bool) -> TaskItems:
    n = TOTAL if looks else DRAWN
    drawn = np.arange(n) < DRAWN
    entry: dict[str, Any] = {**ENTRY, "stopped": {"q4": "decided"} if looks else None}
    columns: dict[str, Any] = {
        "subject": np.array([""] * n, dtype=object),
        "cluster": np.array([f"{number}" for number in range(n)], dtype=object),
        "asked": drawn,
        "score:acc": (right[:n] > 0.5).astype(float),
        "weight:acc": drawn.astype(float),
        "gold_tokens": drawn.astype(int),
        "gold_nll": np.where(drawn, 1.0 + kl, np.nan),
        "gold_kl": np.where(drawn, kl * (1 + right[:n]), np.nan),
        "gold_affinity": np.where(drawn, 1 - kl * right[:n], np.nan),
        "right": np.where(drawn, right[:n], np.nan),
        **{name: np.full(n, np.nan) for name in WRITING},
    }
    if looks:
        columns["drawn"] = drawn.astype(float)
    return TaskItems(TaskEntry(**entry), columns)


def pair(*, looks: bool) -> tuple[TaskItems, TaskItems]:
    return items(RIGHT**1.1, 0.1, looks=looks), items(RIGHT, 0.0, looks=looks)


FACTOR = widening(DRAWN, TOTAL)


def test_values_are_those_of_the_items_that_were_asked_and_intervals_as_much_wider() -> None:
    task, once = analyse_task(*pair(looks=True), seed=0), analyse_task(*pair(looks=False), seed=0)
    assert (task.n_scored, once.n_scored) == (DRAWN, DRAWN)
    assert FACTOR > 1.2
    for name in ("difference", "expected_difference", "answer_change", "kl_divergence"):
        mine, theirs = getattr(task, name), getattr(once, name)
        assert mine.value == theirs.value
        assert mine.high - mine.value == pytest.approx(FACTOR * (theirs.high - theirs.value))
        if name != "kl_divergence":
            assert mine.value - mine.low == pytest.approx(FACTOR * (theirs.value - theirs.low))


def test_flips_are_counted_and_not_tested() -> None:
    task, once = analyse_task(*pair(looks=True), seed=0), analyse_task(*pair(looks=False), seed=0)
    assert once.flips is not None
    assert task.flips == once.flips.model_copy(update={"p_value": None})


def test_what_verdicts_are_made_of_is_what_capabilities_say() -> None:
    for looks in (True, False):
        whole = analyse_capabilities({"t": pair(looks=looks)}, seed=0)["logic"]
        losses = analyse_losses({"t": pair(looks=looks)}, seed=0)["logic"]
        assert losses.difference == whole.difference
        assert losses.expected_difference == whole.expected_difference
        assert losses.n_scored == whole.n_scored


def test_the_reference_is_held_to_the_items_of_the_variant() -> None:
    _, reference = pair(looks=True)
    fewer = reference.only(np.arange(TOTAL) < 50)
    assert int(fewer.asked.sum()) == int(fewer.has_gold.sum()) == int(fewer.drawn.sum()) == 50
    assert fewer.widening == widening(50, TOTAL)
    assert reference.only(np.ones(TOTAL, dtype=bool)) is reference
