"""What the seeds of recipes add to the mean loss over several variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bitloss.analysis.replicated_tasks import mean_series
from bitloss.analysis.replicates import together
from bitloss.analysis.score_losses import TaskChanges
from bitloss.metrics.intervals import Series
from bitloss.results.values import Estimate
from bitloss.types import FloatArray

__all__ = ["over_replicates", "over_seeds"]


def over_replicates(changes: TaskChanges, named: Mapping[str, Sequence[str]]) -> TaskChanges:
    """A task's changes with one series per variant that the user named.

    Args:
        changes: of every replicate.
        named: by variant, the names of its replicates.
    """
    items = {name: [changes.items[one] for one in of] for name, of in named.items()}
    return replace(
        changes,
        items={name: mean_series(of) for name, of in items.items()},
        replicates={name: tuple(map(_mean, of)) for name, of in items.items() if len(of) > 1},
    )


def over_seeds(loss: Estimate, tasks: Sequence[TaskChanges], variants: Sequence[str]) -> Estimate:
    """A mean loss over items, made one over items and seeds.

    Replicates of the same seed belong together in all variants, since they are calibrated on the
    same draw.

    Args:
        loss: the mean over variants and tasks, with an interval over items.
        tasks: of the capability; they count the same.
        variants: each counts the same; what was made once does not vary.
    """
    means = [
        np.array(task.replicates[name])
        for task in tasks
        for name in variants
        if name in task.replicates
    ]
    if not means or loss.value is None:
        return loss
    lost: FloatArray = -np.sum(means, axis=0) / len(variants) / len(tasks)
    return together(
        [
            Estimate(
                value=loss.value + move,
                low=None if loss.low is None else loss.low + move,
                high=None if loss.high is None else loss.high + move,
            )
            for move in (lost - lost.mean()).tolist()
        ],
        bounds=(-1.0, 1.0),
    )


def _mean(series: Series) -> float:
    return float(np.average(series.means, weights=series.weights))
