"""Confidence sequences: intervals that hold at every look at growing data, not at one alone.

Looking at 95 % intervals while data come in, and stopping at one that pleases, is wrong far more
often than 5 %. A confidence sequence holds the truth at all looks at once with 95 % probability,
so whoever stops, whenever and why, may use the interval of that moment.

The sequence is the Gaussian mixture of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52,
2024 (arXiv:2103.06476), theorem 2.2: after t observations with mean m and standard deviation s

    m +- s sqrt( 2 (t rho^2 + 1) / (t^2 rho^2)  log( sqrt(t rho^2 + 1) / alpha ) ).

Like the central limit theorem it is asymptotic: exact for normal data of known variance, and for
others the better the more observations lie before the first look. What is added here to it, and
why, stands in ``docs/decisions/0008-sequential.md``:

* *Ratios.* A block of text (`blocks`) is an observation. The statistics are ratios of sums, since
  blocks differ in tokens; the mean's place is taken by the ratio r and each block's value by
  ``(u - r v) / mean(v)``, u and v being the block's sum and weight (the delta method).
* *Few blocks.* The variance is estimated, so the boundary's quantile is taken from Student's t.
* *Dependence.* A random order makes the blocks exchangeable, but the whole text is itself one
  sample whose neighbouring blocks are alike. n of its N blocks are worth
  ``n / (1 + (r - 1) n / N)`` independent ones, r being the long-run variance over the variance of
  a block; the divisor is measured from the blocks seen so far, and is never taken below 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitloss.metrics.blocks import is_rounding
from bitloss.metrics.intervals import (
    LEVEL,
    Interval,
    Series,
    block_length,
    require_usable,
    to_interval,
)
from bitloss.types import FloatArray, IntArray

__all__ = [
    "ENOUGH_BLOCKS",
    "ConfidenceSequence",
    "bounds",
    "growing_sizes",
    "look_sizes",
    "sequential",
]

FIRST_LOOK = 0.04
GROWTH = 1.5
# Fewer make a variance that nobody should decide by.
FEWEST = 16
# With fewer blocks the first look would be a larger part of the text.
ENOUGH_BLOCKS = math.ceil(FEWEST / FIRST_LOOK)
# Where the sequence is narrowest, as a share of all blocks.
TUNED_AT = 0.1


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """A mean's confidence sequence.

    Attributes:
        alpha: probability that it ever misses.
        tuned_at: number of observations at which it is narrowest; it is a few per cent wider at a
            quarter or ten times as many. To be chosen before any is seen.
    """

    alpha: float = 1 - LEVEL
    tuned_at: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"expected alpha between 0 and 1, got {self.alpha}")
        if not 0 < self.tuned_at < math.inf:
            raise ValueError(f"expected a positive, finite tuned_at, got {self.tuned_at}")

    @property
    def rho_squared(self) -> float:
        """The mixture's parameter that makes the width at `tuned_at` smallest.

        With ``x = tuned_at rho^2 + 1`` the derivative of the width is zero where
        ``x = 1 + log(x / alpha^2)``, which is the paper's ``-W_{-1}(-alpha^2 / e)``.
        """
        x = 1 - 2 * math.log(self.alpha)
        for _ in range(200):  # a contraction: the slope is 1 / x
            x = 1 - 2 * math.log(self.alpha) + math.log(x)
        return (x - 1) / self.tuned_at

    def half_width(self, count: float) -> float:
        """Half the width after `count` observations of variance 1 (theorem 2.2).

        Args:
            count: a positive number, not necessarily whole.
        """
        spread = count * self.rho_squared + 1
        logarithm = math.log(math.sqrt(spread) / self.alpha)
        return math.sqrt(2 * spread * logarithm / (count * (spread - 1)))

    def bounds(
        self, count: float, mean: float, variance: float, *, freedom: int | None = None
    ) -> tuple[float, float]:
        """The interval after `count` observations.

        Args:
            count: observations, or what dependent ones are worth.
            mean: of them.
            variance: of one observation.
            freedom: degrees of freedom of the variance; None takes it for known.
        """
        standard = self.half_width(count) * math.sqrt(count)
        if freedom is not None:
            standard = _student(standard, freedom)
        half = standard * math.sqrt(variance / count)
        return mean - half, mean + half


def bounds(
    count: float, mean: float, variance: float, *, alpha: float = 1 - LEVEL, tuned_at: float = 100.0
) -> tuple[float, float]:
    """The paper's interval itself: see `ConfidenceSequence.bounds`."""
    return ConfidenceSequence(alpha, tuned_at).bounds(count, mean, variance)


def look_sizes(total: int) -> tuple[int, ...]:
    """How many of `total` blocks are there at each look: 4 %, then half as many again each time.

    The last is `total`; it adds at least half of what a look adds.
    """
    return growing_sizes(max(FEWEST, math.ceil(FIRST_LOOK * total)), total)


def growing_sizes(first: int, total: int) -> tuple[int, ...]:
    """Looks at `first` of `total`, half as many again each time, and all of them."""
    sizes: list[int] = []
    size = first
    while size * (1 + GROWTH) / 2 <= total:
        sizes.append(size)
        size = math.ceil(GROWTH * size)
    return (*sizes, total)


def sequential(
    series: Mapping[str, Series],
    windows: IntArray,
    blocks: Sequence[int] | IntArray,
    *,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Intervals that hold whenever the scoring of randomly chosen blocks is stopped.

    Each statistic's sequence holds with probability `level`; they do not hold all together.

    Args:
        series: the statistics by name, of the windows scored so far.
        windows: the index of each of them in the whole text, ascending, shape ``[n_windows]``.
        blocks: index of the first window of each block that can be drawn, ascending from 0.
        level: confidence.

    Raises:
        NumericalError: NaN or infinite window means, or weights that sum to zero.
        ValueError: no windows, or series of different lengths.
    """
    require_usable(series)
    total = len(blocks)
    block = np.searchsorted(np.asarray(blocks), windows, side="right") - 1
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    places = block[starts]
    rule = ConfidenceSequence(1 - level, tuned_at=max(look_sizes(total)[0], TUNED_AT * total))
    found = {}
    for name, one in series.items():
        u = np.add.reduceat(one.means * one.weights, starts)
        v = np.add.reduceat(one.weights, starts)
        average = float(u.sum() / v.sum())
        low, high = _limits(rule, average, u, v, places, total)
        found[name] = to_interval(one, average, low, high)
    return found


def _limits(
    rule: ConfidenceSequence,
    average: float,
    u: FloatArray,
    v: FloatArray,
    places: NDArray[np.integer],
    total: int,
) -> tuple[float, float]:
    n = len(u)
    if n == 1:
        return math.nan, math.nan
    values = u - average * v
    # A series equal to its average in every block has no error; rounding must not give it one.
    if is_rounding(values, u).all():
        return average, average
    values /= v.mean()
    variance = float((values**2).sum() / (n - 1))
    count = n / _dependence(values, places, total)
    low, high = rule.bounds(count, average, variance, freedom=n - 1)
    tail = _skewness(values, variance, rule.half_width(count) * math.sqrt(count))
    return low + min(tail, 0.0), high + max(tail, 0.0)


def _skewness(values: FloatArray, variance: float, standard: float) -> float:
    """By how much the limit on the side of the longer tail has to be moved out.

    A skewed mean comes with a variance that errs in the same direction: the first term of the
    studentized mean's Cornish-Fisher expansion (Hall, The Bootstrap and Edgeworth Expansion, 1992,
    section 2.6) is ``s / sqrt(n) * skewness / (6 sqrt(n)) * (2 z^2 + 1)``.

    Args:
        values: deviations of the blocks.
        variance: of a block.
        standard: the boundary in standard errors, z.
    """
    skewness = float((values**3).mean()) / variance**1.5
    return float(math.sqrt(variance) * skewness * (2 * standard**2 + 1) / (6 * len(values)))


def _dependence(values: FloatArray, places: NDArray[np.integer], total: int) -> float:
    """By how much neighbours that are alike raise the variance of the average; at least 1.

    Values are summed over stretches of the text as long as the bootstrap's. The squares of those
    sums also contain the products of neighbours, of as many as were drawn: few at first, all in
    the end.

    Args:
        values: deviations of the blocks, which sum to zero.
        places: of the blocks in the text.
        total: blocks in the text.
    """
    n_stretches = total // block_length(total)
    stretch = places.astype(np.int64) * n_stretches // total
    sums = np.bincount(stretch, weights=values)
    counts = np.bincount(stretch)
    # The products of values that sum to zero are negative on average; this takes that back.
    n = len(values)
    expected = (n - float((counts**2).sum()) / n) / (n - 1)
    if expected <= 0:
        return 1.0
    return max(1.0, float((sums**2).sum()) / float((values**2).sum()) / expected)


def _student(standard: float, freedom: int) -> float:
    """The quantile of Student's t at the level at which the normal one is `standard`.

    Wallace's approximation (Annals of Mathematical Statistics 30, 1959), solved for t: within
    0.3 % from 10 degrees of freedom on, and too wide below.
    """
    scaled = standard * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(min(scaled**2 / freedom, 700.0)))
