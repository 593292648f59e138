"""What was lost of a score, over variants too, and which capability lost the most.

Capabilities have different items, so their losses err independently. How likely one is truly the
largest follows from their intervals alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bitloss.metrics.clusters import Clusters
from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.paired import average_change, mean_change, mean_interval, mean_shift
from bitloss.metrics.ranking import named_seed, normal_draws, probability_largest
from bitloss.results.tasks import CapabilityResult, VariantTask
from bitloss.results.values import Estimate

__all__ = [
    "TaskChanges",
    "as_interval",
    "deciding_loss",
    "loss_of",
    "loss_together",
    "probabilities_worst",
]


@dataclass(frozen=True, slots=True)
class TaskChanges:
    """What a task's items changed by.

    Attributes:
        items: by variant, the variant's less the reference's.
        expected: whether these are expected scores, which stand for the score.
        replicates: by variant that was made several times, whose items are then means, the mean
            change of every replicate.
        clusters: of the items (`bitloss.metrics.clusters.strata_of`); None where every item stands
            alone.
    """

    items: Mapping[str, Series]
    expected: bool
    replicates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    clusters: Clusters | None = None


def loss_together(tasks: Sequence[TaskChanges], variants: Sequence[str]) -> Estimate:
    """The share of a capability's score that several variants lost on average.

    Args:
        tasks: of the capability; they count the same.
        variants: each counts the same.
    """
    # Of each difference the range that the reference's score leaves it.
    ranges = [task.items[variants[0]].bounds for task in tasks]
    low, high = (math.fsum(one[end] for one in ranges) / len(ranges) for end in (0, 1))
    if not any(task.expected for task in tasks):
        changes = [
            average_change([task.items[name] for name in variants], task.clusters) for task in tasks
        ]
        return Estimate.of(mean_change(changes, bounds=(low, high))).negated()
    intervals = [_together(task, variants) for task in tasks]
    return Estimate.of(mean_interval(intervals, dependent=_share_items(tasks))).negated()


def _share_items(tasks: Sequence[TaskChanges]) -> bool:
    """Whether some tasks are about the same items."""
    names = [set(task.clusters.names.tolist()) for task in tasks if task.clusters is not None]
    return len(set().union(*names)) < sum(map(len, names))


def _together(task: TaskChanges, variants: Sequence[str]) -> Interval:
    series = [task.items[name] for name in variants]
    bounds = series[0].bounds
    if not task.expected:
        return mean_change([average_change(series, task.clusters)], bounds=bounds)
    mean = np.mean([one.means for one in series], axis=0)
    return mean_shift(mean, task.clusters, bounds=bounds)


def probabilities_worst(losses: Mapping[str, Estimate], *, seed: int) -> dict[str, float]:
    """For each capability, the probability that its score fell, and no other's fell more.

    Args:
        losses: shares of the score, by capability.
        seed: of the draws; a capability's do not depend on what else was asked.
    """
    draws = [
        normal_draws(as_interval(loss), seed=named_seed(seed, f"score of {name}"))
        for name, loss in losses.items()
    ]
    return dict(zip(losses, probability_largest(draws, above=0.0), strict=True))


def as_interval(loss: Estimate) -> Interval:
    """The same with NaN for what does not exist."""
    value, low, high = (math.nan if x is None else x for x in (loss.value, loss.low, loss.high))
    return Interval(value, low, high)


def loss_of(result: CapabilityResult | VariantTask) -> Estimate:
    """The share of its score that was lost: the difference with the other sign."""
    return result.difference.negated()


def deciding_loss(result: CapabilityResult | VariantTask) -> Estimate:
    """The loss that decides: of the expected score, where that stands for the score."""
    expected = result.expected_difference
    return loss_of(result) if expected is None else expected.negated()
