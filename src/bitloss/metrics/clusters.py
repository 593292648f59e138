"""Items and windows that belong together: questions about one passage, windows of one document.

What one of a cluster does, the others do more often than by chance, so the clusters are the sample
and not the items: sums over clusters take the items' place. An average is then a ratio of two sums,
whose error follows from what each cluster is off it (Cochran, Sampling Techniques, 1977, section
9A.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitloss.metrics.intervals import FEWEST_BLOCKS, Series
from bitloss.types import FloatArray

__all__ = ["Clusters", "clusters_of", "joined", "sign_flip", "strata_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Which items belong together.

    Attributes:
        names: of the clusters, each once, shape ``[clusters]``.
        codes: the place of each item's cluster among them, shape ``[items]``.
    """

    names: NDArray[np.object_]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, names: NDArray[np.object_] | Sequence[object]) -> Clusters:
        """Items with equal names belong together; clusters are in the order of their first items.

        Args:
            names: of each item's cluster, strings or numbers, shape ``[items]``.
        """
        places: dict[object, int] = {}
        codes = [places.setdefault(name, len(places)) for name in list(names)]
        kept = np.empty(len(places), dtype=object)
        kept[:] = list(places)
        return cls(kept, np.array(codes, dtype=np.int64))

    @property
    def alone(self) -> bool:
        """Whether every item is a cluster of its own."""
        return len(self.names) == len(self.codes)

    @property
    def too_few(self) -> bool:
        """Whether so few clusters say nothing of the error of their average."""
        return len(self.names) < FEWEST_BLOCKS

    @property
    def sizes(self) -> FloatArray:
        """Items of each."""
        return self.sums(np.ones(len(self.codes)))

    def sums(self, values: NDArray[np.floating]) -> FloatArray:
        """Sums of the items' values by cluster, shape ``[clusters]``."""
        return np.bincount(self.codes, weights=values, minlength=len(self.names)).astype(np.float64)

    def merge(self, series: Series) -> Series:
        """The series with clusters in the items' place; one for all where there are too few, which
        has an average and no interval.
        """
        codes = np.zeros_like(self.codes) if self.too_few else self.codes
        weights = np.bincount(codes, weights=series.weights).astype(np.float64)
        sums = np.bincount(codes, weights=series.means * series.weights).astype(np.float64)
        means = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)
        return replace(series, means=means, weights=weights)


def clusters_of(names: NDArray[np.object_]) -> Clusters | None:
    """The clusters of items; None where every item stands alone.

    Args:
        names: see `Clusters.of`.
    """
    found = Clusters.of(names)
    return None if found.alone else found


def strata_of(tasks: Sequence[NDArray[np.object_]]) -> list[Clusters | None]:
    """The clusters of several tasks' items: None for a task whose items stand alone, and are no
    other task's either.

    Args:
        tasks: names of the items of each; see `Clusters.of`.
    """
    found = [Clusters.of(names) for names in tasks]
    together = sum(len(one.names) for one in found)
    apart = len({name for one in found for name in one.names.tolist()}) == together
    return [None if apart and one.alone else one for one in found]


def joined(series: Sequence[Series]) -> Series:
    """Items of several tasks as one, so that their average is the mean of the tasks' averages."""
    return replace(
        series[0],
        means=np.concatenate([one.means for one in series]),
        weights=np.concatenate([one.weights / one.weights.sum() for one in series]),
    )


def sign_flip(sums: NDArray[np.integer]) -> float:
    """Two-sided exact p-value that clusters change either way with equal probability.

    The probability that the sums of the clusters' changes, each with a sign tossed by a fair coin,
    add up to at least as much (Fisher, The Design of Experiments, 1935, section 21). Items within
    a cluster may depend on each other in any way. With one item in each it is
    `bitloss.metrics.paired.mcnemar`.

    Args:
        sums: items won less items lost, of each cluster.
    """
    sizes = np.abs(sums)[sums != 0].astype(np.int64)
    total = int(sizes.sum())
    chances = np.zeros(2 * total + 1)  # of every sum from -total to total
    chances[total] = 1.0
    for size in sizes.tolist():
        halved = chances / 2
        chances = np.zeros_like(chances)
        chances[size:] += halved[:-size]
        chances[:-size] += halved[size:]
    least = abs(int(sums.sum()))
    reached = np.abs(np.arange(-total, total + 1)) >= least
    return min(1.0, math.fsum(chances[reached]))
