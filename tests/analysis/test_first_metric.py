"""A task's first metric is its score everywhere. Oracle: the example's grades, counted by hand.

The reference answers 111110, the variant 111100. By `acc_norm` only the odd items (1, 3, 5) can be
right, of which the two models have the same, so the fifth item's loss is one of `acc` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bitloss.checks import rules_of
from bitloss.checks.baseline import judge_changes
from bitloss.reports.details import read_details
from bitloss.results import Comparison
from bitloss.runner import RunStore
from bitloss.tables.tasks import conditions, second_metric, task_tables
from example_store import write_run

ORDERS = [(("acc", "acc_norm"), 5, 4), (("acc_norm", "acc"), 2, 2)]


@pytest.mark.parametrize(("metrics", "before", "after"), ORDERS)
def test_scores_differences_flips_and_abilities_follow_the_first_metric(
    tmp_path: Path, metrics: tuple[str, ...], before: int, after: int
) -> None:
    result = write_run(tmp_path, metrics=metrics)
    reference, variant = (result.reference.tasks or {})["sums"], result.variants[0]
    task, capability = (variant.tasks or {})["sums"], (variant.capabilities or {})["math"]
    assert reference.metric == task.metric == metrics[0]
    assert reference.score.value == pytest.approx(before / 6)
    assert task.score.value == capability.score == pytest.approx(after / 6)
    change = pytest.approx((after - before) / 6)
    assert task.difference.value == capability.difference.value == change
    assert task.flips is not None
    assert (task.flips.right_to_wrong, task.flips.wrong_to_right) == (before - after, 0)
    assert (result.reference.abilities or {})["math"].score == pytest.approx(before / 6)
    assert list(task.scores) == list(metrics)
    assert task.differences["acc"].value == pytest.approx(-1 / 6)
    store = RunStore(tmp_path)
    listed = read_details(store, store.read_manifest()).flips.get("sums", {}).get("gptq-4")
    assert (0 if listed is None else len(listed.flips)) == before - after


@pytest.mark.parametrize(("metrics", "before", "after"), ORDERS)
def test_the_gates_baseline_follows_the_first_metric(
    tmp_path: Path, metrics: tuple[str, ...], before: int, after: int
) -> None:
    write_run(tmp_path / "old", right="111110", metrics=metrics)
    write_run(tmp_path / "new", right="111100", metrics=metrics)
    rules = rules_of({"max_loss": {"sums": 0.0}})
    (judgment,) = judge_changes(
        tmp_path / "new", tmp_path / "old", rules, variants=["gptq-4"]
    ).judgments
    assert judgment.value == pytest.approx((before - after) / 6)


def rows_of(result: Comparison) -> list[dict[str, Any]]:
    return [dict(row) for row in task_tables(result)[-1].rows]


def test_a_tasks_row_has_metric_shots_split_and_the_metric_beside(tmp_path: Path) -> None:
    result = write_run(tmp_path / "two", metrics=("acc_norm", "acc"), split="validation")
    reference, variant, _ = rows_of(result)
    assert reference["conditions"] == "acc_norm, 2 shots, validation"
    assert (reference["second"], variant["second"]) == ("acc 83.3%", "acc 66.7%")
    assert "also" in task_tables(result)[-1].columns.values()


def test_a_task_with_one_metric_and_no_split_has_neither(tmp_path: Path) -> None:
    result = write_run(tmp_path, shots=1)
    task = (result.reference.tasks or {})["sums"]
    assert (conditions(task), second_metric(task)) == ("acc, 1 shot", None)
    assert "also" not in task_tables(result)[-1].columns.values()
    assert task.split is None
