"""Weighted sums of levels on the same items: the counterpart of `contrast` for tasks.

What is lost is of the score that decides (`bitloss.analysis.score_losses.deciding_loss`): the
expected score where that stands for the score, and is known of all levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bitloss.analysis.replicates import together
from bitloss.analysis.score_losses import TaskChanges, as_interval
from bitloss.analysis.task_items import TaskItems
from bitloss.analysis.tasks import task_changes
from bitloss.metrics.clusters import clusters_of
from bitloss.metrics.intervals import Series
from bitloss.metrics.paired import average_change, mean_change, mean_interval, mean_shift
from bitloss.metrics.replicates import replicate_covariance
from bitloss.results import Estimate
from bitloss.studies.contrast import copies_of
from bitloss.studies.measured import Measured
from bitloss.studies.paired import same_items

__all__ = ["capability_contrast", "item_contrast", "mean_of"]


def capability_contrast(
    measured: Measured, capability: str, weights: Mapping[str, float]
) -> Estimate | None:
    """The mean of `item_contrast` over the tasks of a capability, each counting the same."""
    tasks = [name for name, task in measured.result.tasks.items() if task.capability == capability]
    found = [item_contrast(measured, task, weights) for task in tasks]
    return mean_of(found, dependent=len(found) > 1 and _share_items(measured, tasks, [*weights]))


def mean_of(found: Sequence[Estimate | None], *, dependent: bool = False) -> Estimate | None:
    """The mean of several contrasts; None if one of them, or all, is missing.

    Args:
        found: each counts the same.
        dependent: whether some were measured on the same items.
    """
    known = [one for one in found if one is not None and one.value is not None]
    if not known or len(known) < len(found):
        return None
    return Estimate.of(mean_interval([as_interval(one) for one in known], dependent=dependent))


def _share_items(measured: Measured, tasks: Sequence[str], levels: Sequence[str]) -> bool:
    """Whether tasks are about the same items, as HumanEval and HumanEval+ are."""
    if not levels or levels[0] not in {level.level for level in measured.levels}:
        return False
    records = measured.run_of(levels[0]).records
    names = [np.unique(records.reference_items(task).names.astype(str)) for task in tasks]
    return len(np.unique(np.concatenate(names))) < sum(map(len, names))


def item_contrast(measured: Measured, task: str, weights: Mapping[str, float]) -> Estimate | None:
    """The weighted sum of what levels lose of a task's score.

    Args:
        measured: a model's levels.
        task: that all of these levels were evaluated on.
        weights: by level.

    Returns:
        A share of the score, with a paired interval, over seeds as well where the recipes were made
        several times. None if a level failed, or the levels were not asked the same.

    Raises:
        StorageError: a record is missing or damaged.
    """
    if not weights or {*weights} - {level.level for level in measured.levels}:
        return None
    copies = [copies_of(measured, level) for level in weights]
    found: list[tuple[Estimate, Series]] = []
    for index in range(max(map(len, copies))):
        of = [
            (measured.run_of(level).records, names[index % len(names)])
            for level, names in zip(weights, copies, strict=True)
        ]
        items = same_items(task, of)
        if items is None:
            return None
        found.append(_summed(items, of[0][0].reference_items(task), list(weights.values())))
    estimates, each = [one for one, _ in found], [series for _, series in found]
    if len(found) == 1:
        return estimates[0]
    return together(estimates, replicate_covariance([each]))


def _summed(
    items: Sequence[TaskItems], reference: TaskItems, weights: Sequence[float]
) -> tuple[Estimate, Series]:
    """One replicate's sum, and the items behind it, those that belong together put together."""
    changes: TaskChanges = task_changes({str(at): one for at, one in enumerate(items)}, reference)
    series = list(changes.items.values())
    lost = -np.sum([w * one.means for w, one in zip(weights, series, strict=True)], axis=0)
    clusters = clusters_of(reference.names)
    whole = Series(lost, series[0].weights)
    most = sum(abs(weight) for weight in weights) / (2 if abs(sum(weights)) < 1e-9 else 1)
    bounds = (-most, most)
    interval = (
        mean_shift(lost, clusters, bounds=bounds)
        if changes.expected
        else mean_change([average_change([whole], clusters)], bounds=bounds)
    )
    return Estimate.of(interval), whole if clusters is None else clusters.merge(whole)
