"""Which capability lost most of its score; `loss_ranking` has which diverges most.

Capabilities have different items, so their losses err independently. How likely one is truly the
largest follows from their intervals alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bitloss.metrics.clusters import Clusters
from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.paired import average_change, mean_change
from bitloss.metrics.ranking import named_seed, normal_draws, probability_largest
from bitloss.results.values import Estimate

__all__ = ["as_interval", "loss_together", "probabilities_worst"]


def loss_together(
    tasks: Sequence[Mapping[str, Series]],
    variants: Sequence[str],
    clusters: Sequence[Clusters | None] | None = None,
) -> Estimate:
    """The share of a capability's score that several variants lost on average.

    Args:
        tasks: of the capability; by variant, score differences from the reference item by item.
        variants: each counts the same.
        clusters: of each task's items (`bitloss.metrics.clusters.strata_of`); None where every
            item stands alone.
    """
    changes = [
        average_change([task[name] for name in variants], own)
        for task, own in zip(tasks, clusters or [None] * len(tasks), strict=True)
    ]
    # Of each difference the range that the reference's score leaves it.
    ranges = [task[variants[0]].bounds for task in tasks]
    low, high = (math.fsum(one[end] for one in ranges) / len(ranges) for end in (0, 1))
    return Estimate.of(mean_change(changes, bounds=(low, high))).negated()


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
