"""Statistics of items that two models answered: flips, their tests, intervals of shares.

The bootstrap of `bitloss.metrics.intervals` fails for scores of 0 and 1 of which few differ: a
resample of two flips in fifty items has almost no spread, and its interval misses the truth too
often. Shares and their differences have closed forms that do not.

Items that belong together (`bitloss.metrics.clusters`) are dependent. Each form has one for them,
in which clusters take the items' place; with one item each the two are the same but for the
quantile, which is Student's. With fewer than five clusters it has no limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bitloss.metrics.clusters import Clusters
from bitloss.metrics.intervals import LEVEL, Interval, Series
from bitloss.metrics.student import student_quantile
from bitloss.types import FloatArray

__all__ = [
    "UNSEEN",
    "Change",
    "average_change",
    "change",
    "clustered_change",
    "clustered_share",
    "count_flips",
    "mcnemar",
    "mean_change",
    "mean_interval",
    "mean_shift",
    "share",
]

UNSEEN = 0.2
"""By how much an item that was not drawn may differ, in `mean_shift`; chosen by coverage."""

_Z = 1.959964  # of the normal distribution, for 95 %
_ENDS = ("low", "high")


@dataclass(frozen=True, slots=True)
class Change:
    """A difference of two shares on the same items.

    Attributes:
        value: the difference itself, variant minus reference.
        center: of its interval.
        error: its standard error; NaN where there are too few clusters to know.
        clusters: of the items, if some belong together or are another task's items too.
        parts: what each cluster adds to the error, shape ``[clusters]``: with what it adds to
            another task's, the covariance of the two.
    """

    value: float
    center: float
    error: float
    clusters: Clusters | None = None
    parts: FloatArray | None = None

    @property
    def freedom(self) -> int | None:
        """Degrees of freedom of the error; None takes it for known."""
        return None if self.clusters is None else len(self.clusters.names) - 1


def share(right: float, items: int) -> Interval:
    """A share with its 95 % interval (Wilson, Journal of the American Statistical Association 22,
    1927).

    Args:
        right: items that are right.
        items: of all, one or more.
    """
    return _wilson(right / items, _Z * _Z / items)


def clustered_share(scores: NDArray[np.floating], clusters: Clusters) -> Interval:
    """The same of items that belong together: Wilson's interval of as many independent items as
    these are worth (Korn and Graubard, Survey Methodology 24, 1998), with Student's quantile.

    Where all are right, or none, the items of a cluster count as one.

    Args:
        scores: 1 for right, 0 for wrong, shape ``[items]``.
        clusters: of the items.
    """
    p, n, k = float(scores.mean()), len(scores), len(clusters.names)
    if clusters.too_few:
        return Interval(p, math.nan, math.nan)
    sizes = clusters.sizes
    worth = n / _typical(sizes)
    if 0 < p < 1:
        residual = clusters.sums(scores) - p * sizes
        variance = float((residual**2).sum()) * k / (k - 1) / n**2
        worth = min(float(n), p * (1 - p) / variance) if variance > 0 else float(n)
    return _wilson(p, student_quantile(LEVEL, k - 1) ** 2 / worth)


def _wilson(p: float, z: float) -> Interval:
    """Wilson's limits; `z` is the squared quantile over the number of items."""
    center = (p + z / 2) / (1 + z)
    half = math.sqrt(p * (1 - p) * z + z * z / 4) / (1 + z)
    return Interval(p, min(p, max(0.0, center - half)), max(p, min(1.0, center + half)))


def _typical(sizes: FloatArray) -> float:
    """The size of the cluster that an item is in, on average over the items."""
    return float((sizes**2).sum() / sizes.sum())


def change(lost: int, gained: int, items: int) -> Change:
    """The difference that flips make, with a flip each way and two items added.

    The adjusted Wald interval for paired proportions (Bonett and Price, Journal of Educational and
    Behavioral Statistics 37, 2012): 95 % nominal covers 94 to 98 % from ten items on.

    Args:
        lost: items that went from right to wrong.
        gained: items that went from wrong to right.
        items: of all, one or more.
    """
    n = items + 2
    down, up = (lost + 1) / n, (gained + 1) / n
    error = math.sqrt((down + up - (up - down) ** 2) / n)
    return Change((gained - lost) / items, up - down, error)


def clustered_change(
    differences: NDArray[np.floating],
    clusters: Clusters,
    *,
    weights: NDArray[np.floating] | None = None,
    largest: float = 1.0,
) -> Change:
    """The mean difference of items that belong together.

    As in `change` two clusters are added, one that loses and one that gains. Of m items (as many as
    the cluster of an average item has) they change as much as the square root of m does: what
    independent items would. With flips that correlate 0.6 in groups of five, 94 to 100 % are
    covered from five groups on (``benchmarks/interval_coverage.py --clusters``).

    Args:
        differences: variant minus reference, shape ``[items]``.
        clusters: of the items.
        weights: how often each counts; None is once.
        largest: difference of an item that was not drawn.
    """
    each = (
        np.ones(len(differences)) if weights is None else weights * (len(weights) / weights.sum())
    )
    k = len(clusters.names)
    mean_size = len(differences) / k
    value = float((each * differences).sum()) / len(differences)
    sums = clusters.sums(each * differences) / mean_size
    center = float(sums.sum()) / (k + 2)
    added = largest * math.sqrt(_typical(clusters.sizes)) / mean_size
    residual = sums - center * clusters.sums(each) / mean_size
    spread = float((residual**2).sum()) + 2 * (added**2 + center**2)
    error = math.nan if clusters.too_few else math.sqrt(spread) / (k + 2)
    return Change(value, center, error, clusters, residual / (k + 2))


def average_change(differences: Sequence[Series], clusters: Clusters | None = None) -> Change:
    """The mean difference of several models from one, on the same items.

    An item's differences are averaged first, so what the models have in common stays; then two
    items are added, one that all lose and one that all gain. For one model whose items are right or
    wrong that is `change` itself.

    Args:
        differences: a model each; score of the model minus that of the one, -1 to 1.
        clusters: of the items; None takes each for itself.
    """
    if clusters is not None:
        mean = np.mean([one.means for one in differences], axis=0)
        return clustered_change(mean, clusters, weights=differences[0].weights)
    weights = differences[0].weights * (len(differences[0].weights) / differences[0].weights.sum())
    each = weights * np.mean([one.means for one in differences], axis=0)
    n = len(each) + 2
    center = float(each.sum()) / n
    error = math.sqrt((float((each**2).sum() + 2) / n - center**2) / n)
    return Change(float(each.mean()), center, error)


def mean_change(
    changes: Sequence[Change], *, bounds: tuple[float, float] = (-1.0, 1.0)
) -> Interval:
    """The mean of differences on several sets of items, each counting the same.

    Sets that have clusters in common (two tasks about the same problems) err together.

    Args:
        changes: of the sets.
        bounds: least and largest difference that can be.
    """
    k = len(changes)
    value = math.fsum(one.value for one in changes) / k
    center = math.fsum(one.center for one in changes) / k
    variance = math.fsum(one.error**2 for one in changes) + 2 * _covariance(changes)
    if math.isnan(variance):  # of too few clusters
        return Interval(value, math.nan, math.nan)
    half = _quantile(changes) * math.sqrt(max(0.0, variance)) / k
    return _limited(value, center - half, center + half, bounds)


def _limited(value: float, low: float, high: float, bounds: tuple[float, float]) -> Interval:
    """Limits within what can be and about the value."""
    return Interval(value, min(value, max(bounds[0], low)), max(value, min(bounds[1], high)))


def _covariance(changes: Sequence[Change]) -> float:
    """Of all pairs of sets, from the clusters that they have in common."""
    parts = [
        dict(zip(one.clusters.names.tolist(), one.parts.tolist(), strict=True))
        for one in changes
        if one.clusters is not None and one.parts is not None
    ]
    return math.fsum(
        value * other[name]
        for index, one in enumerate(parts)
        for other in parts[index + 1 :]
        for name, value in one.items()
        if name in other
    )


def _quantile(changes: Sequence[Change]) -> float:
    """Student's with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946); the normal
    one where every error is taken for known.
    """
    uncertain = math.fsum(one.error**4 / one.freedom for one in changes if one.freedom)
    total = math.fsum(one.error**2 for one in changes)
    if not uncertain:
        return _Z
    return student_quantile(LEVEL, total**2 / uncertain)


def mean_shift(
    differences: NDArray[np.floating],
    clusters: Clusters | None = None,
    *,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Interval:
    """The mean difference of two probabilities, item by item, with its 95 % interval.

    Most items hardly differ and a few differ much, and a sample may have missed those: the normal
    interval covers 89 % at 50 items, and 40 % where a single item in 200 carries the loss. So, as
    in `change`, two items are added, one that loses and one that gains: as much as the largest
    difference seen, and at least `UNSEEN`. That covers 97 to 99 % from 50 to 1,000 items drawn from
    real records, and 92 % or more of every variant and task (``benchmarks/expected_scores.py``).

    Args:
        differences: -1 to 1, shape ``[items]``, one or more.
        clusters: of the items; None takes each for itself.
        bounds: least and largest mean that can be.
    """
    if clusters is not None:
        largest = max(UNSEEN, float(np.abs(differences).max()))
        shift = clustered_change(differences.astype(np.float64), clusters, largest=largest)
        return mean_change([shift], bounds=bounds)
    n = len(differences) + 2
    added = max(UNSEEN, float(np.abs(differences).max()))
    value = float(differences.mean(dtype=np.float64))
    center = float(differences.sum(dtype=np.float64)) / n
    squares = float((differences.astype(np.float64) ** 2).sum()) + 2 * added**2
    half = _Z * math.sqrt((squares / n - center**2) / n)
    return _limited(value, center - half, center + half, bounds)


def mean_interval(intervals: Sequence[Interval], *, dependent: bool = False) -> Interval:
    """The mean of quantities measured on different items, each counting the same.

    The distances from the values to their limits are put together, each side for itself (MOVER:
    Zou and Donner, Statistics in Medicine 27, 2008). Limits are NaN where one of them is.

    Args:
        intervals: one or more.
        dependent: whether they are of the same items; their errors may then all have one sign.
    """
    k = len(intervals)
    value = math.fsum(one.value for one in intervals) / k
    if dependent:
        low, high = (math.fsum(getattr(one, end) for one in intervals) / k for end in _ENDS)
        return Interval(value, low, high)
    below = math.sqrt(math.fsum((one.value - one.low) ** 2 for one in intervals)) / k
    above = math.sqrt(math.fsum((one.high - one.value) ** 2 for one in intervals)) / k
    return Interval(value, value - below, value + above)


def count_flips(reference: NDArray[np.floating], variant: NDArray[np.floating]) -> tuple[int, int]:
    """Items that changed from right to wrong, and from wrong to right.

    Args:
        reference: 1 for right, 0 for wrong, shape ``[items]``.
        variant: of the same items.

    Raises:
        ValueError: other values, or different shapes.
    """
    if reference.shape != variant.shape:
        raise ValueError(
            f"expected scores of the same items, got {reference.shape} and {variant.shape}"
        )
    if not (np.isin(reference, (0, 1)).all() and np.isin(variant, (0, 1)).all()):
        raise ValueError("expected scores of 0 or 1")
    return int((reference > variant).sum()), int((variant > reference).sum())


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided exact p-value that items flip either way with equal probability.

    The probability, of ``lost + gained`` fair coins, of a split at least as uneven (McNemar,
    Psychometrika 12, 1947, in its exact binomial form); 1 where nothing flipped.

    Args:
        lost: items that went from right to wrong.
        gained: items that went from wrong to right.
    """
    n, fewer = lost + gained, min(lost, gained)
    # Integers throughout, so that no term is too small; the quotient is rounded once.
    term = total = 1
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        total += term
    return min(1.0, float(Fraction(2 * total, 2**n)))
