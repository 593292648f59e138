"""Intervals over the choice of items *and* the quantizer's seed, from replicates of one recipe.

A replicate r measures, on item i, ``m + R_r + I_i + E_ri``: what the recipe loses, what this seed
adds, what this item adds, and what this seed changes on this item alone. An interval from one
replicate knows nothing of R. The mean over N replicates and n items has the variance
``var R / N + var I / n + var E / (N n)``, put together from

* the *within* part, ``var I / n + var E / (N n)``: the replicates' own intervals, which hold
  ``var I / n + var E / n``, shrunk by the share of that which the mean over replicates keeps;
* the *between* part: the variance of the replicates' values over N, less the share of E in it,
  which is already within, and not below 0.

Few replicates know their own variance badly, so the quantile is Student's: with the degrees of
freedom of the sum (Satterthwaite, Biometrics Bulletin 2, 1946), in which all of the variance
between replicates counts, or with N - 1 for the between part alone (both sides recovered as in
MOVER: Zou and Donner, Statistics in Medicine 27, 2008), whichever is wider. Each alone covers too
little somewhere: 92 % with three replicates that hardly differ by item, and 93 % where they mostly
do. Together 94 to 99 % with three or more, of a nominal 95 % (``benchmarks/replicates.py``). Two
say next to nothing of their spread: 91 to 98 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitloss.metrics.blocks import block_sums
from bitloss.metrics.intervals import LEVEL, Interval, Series
from bitloss.types import FloatArray

__all__ = [
    "Combined",
    "combine",
    "deviation",
    "replicate_covariance",
    "student_quantile",
    "student_tail",
]

_Z = 1.959964  # of the normal distribution, for 95 %
_NORMAL = 1000.0  # degrees of freedom from which Student's t is the normal distribution
_GRID = np.linspace(0.0, math.pi / 2, 4_001)


@dataclass(frozen=True, slots=True)
class Combined:
    """The mean over replicates.

    Attributes:
        interval: over items and seeds, on the scale of what was combined; NaN bounds if a
            replicate has none.
        freedom: degrees of freedom of its quantile; infinite if the replicates do not differ.
        p_value: two-sided, that the mean is 0; 0.05 where a bound of the interval is. NaN without
            bounds.
    """

    interval: Interval
    freedom: float
    p_value: float


def combine(intervals: Sequence[Interval], covariance: FloatArray | None = None) -> Combined:
    """The mean of replicates of one recipe, each with a seed of its own.

    Args:
        intervals: of the replicates, over the choice of items; two or more.
        covariance: see `replicate_covariance`; None counts all of each interval as the items' own,
            and all variance between replicates as the seeds', which is wide.
    """
    n = len(intervals)
    values = np.array([one.value for one in intervals])
    value = math.fsum(values) / n
    kept, common = _shares(covariance, n)
    below = kept * math.fsum(one.value - one.low for one in intervals) / n
    above = kept * math.fsum(one.high - one.value for one in intervals) / n
    if math.isnan(below) or math.isnan(above):
        return Combined(Interval(value, math.nan, math.nan), math.nan, math.nan)
    spread = deviation(values) ** 2 / n
    between = max(0.0, spread - common / n)
    within = ((below + above) / 2 / _Z) ** 2
    freedom = math.inf
    if spread > 0:
        freedom = (n - 1) * ((within + between) / spread) ** 2
    quantile, few = student_quantile(freedom), student_quantile(n - 1)
    below, above = (
        max(
            quantile * math.sqrt((side / _Z) ** 2 + between),
            math.sqrt(side**2 + few**2 * between),
        )
        for side in (below, above)
    )
    half = below if value > 0 else above
    times = math.inf if half == 0 else abs(value) / half
    return Combined(
        Interval(value, value - below, value + above),
        freedom,
        1.0 if value == 0 else student_tail(times * quantile, freedom),
    )


def deviation(values: Sequence[float] | FloatArray) -> float:
    """Standard deviation of replicates, with N - 1; rounding between equal ones is none."""
    found = float(np.std(values, ddof=1))
    return found if found > 1e-12 * float(np.abs(values).max()) else 0.0


def replicate_covariance(
    strata: Sequence[Sequence[Series]], *, block: int = 1
) -> FloatArray | None:
    """Covariance of the replicates' averages over the choice of items, shape ``[N, N]``.

    Its diagonal is the variance of each over the items, and what lies beside it is what they have
    in common: the items' own.

    Args:
        strata: sets of items (tasks) whose averages count the same; in each a series per replicate.
        block: neighbouring items drawn together.

    Returns:
        None where the replicates were not measured on the same items, or on too few to tell.
    """
    total: FloatArray | float = 0.0
    for replicates in strata:
        if len({len(one.means) for one in replicates}) != 1:
            return None
        weights = np.stack([one.weights for one in replicates])
        n_blocks = weights.shape[1] // block
        if n_blocks < 2:
            return None
        sums = np.stack([one.means for one in replicates]) * weights
        blocks = block_sums(sums, weights, n_blocks)
        off = blocks.residual / blocks.weights.sum(1, keepdims=True)
        total = total + off @ off.T * n_blocks / (n_blocks - 1)
    return np.asarray(total) / len(strata) ** 2


def _shares(covariance: FloatArray | None, n: int) -> tuple[float, float]:
    """How much of a replicate's error the mean keeps, and the variance of one that is E's."""
    if covariance is None:
        return 1.0, 0.0
    own, mean = float(np.trace(covariance)), float(covariance.sum()) / n
    if own <= 0:
        return 1.0, 0.0
    # Of uncorrelated ones the mean keeps 1 / sqrt(N): rounding must not take it below.
    return math.sqrt(min(1.0, max(1 / n, mean / own))), max(0.0, (own - mean) / (n - 1))


def student_quantile(freedom: float) -> float:
    """Two-sided 95 % quantile of Student's t, for any degrees of freedom of 1 and more.

    Fewer than 1 count as 1.
    """
    if freedom >= _NORMAL:
        return _Z
    angle = np.interp(LEVEL, _mass(max(1.0, freedom)), _GRID)
    return math.sqrt(max(1.0, freedom)) * math.tan(float(angle))


def student_tail(t: float, freedom: float) -> float:
    """Two-sided probability of a Student's t at least so large.

    With ``t = sqrt(freedom) tan a`` the density becomes ``cos(a) ** (freedom - 1)``, which is
    summed up numerically: to 1e-6, below which nothing here is decided.
    """
    if freedom >= _NORMAL:
        return math.erfc(t / math.sqrt(2))
    freedom = max(1.0, freedom)
    angle = math.atan(t / math.sqrt(freedom))
    return float(1 - np.interp(angle, _GRID, _mass(freedom)))


def _mass(freedom: float) -> FloatArray:
    """Probability up to each angle of the grid."""
    density = np.cos(_GRID) ** (freedom - 1)
    steps = (density[1:] + density[:-1]) / 2
    total = np.cumsum(steps)
    mass: FloatArray = np.concatenate([[0.0], total / total[-1]])
    return mass
