"""Intervals over the choice of items *and* the quantizer's seed, from replicates of one recipe.

A replicate r measures, on item i, ``m + R_r + I_i + E_ri``: what the recipe loses, what this seed
adds, what this item adds, and what this seed changes on this item alone. An interval from one
replicate knows nothing of R. The mean over N replicates and n items has the variance
``var R / N + var I / n + var E / (N n)``, put together from

* the *within* part, ``var I / n + var E / (N n)``: the replicates' own intervals, which hold
  ``var I / n + var E / n``, shrunk by the share that the mean over replicates keeps;
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

import numpy as np

from bitloss.metrics.blocks import block_sums
from bitloss.metrics.intervals import LEVEL, Interval, Series
from bitloss.metrics.student import student_quantile
from bitloss.types import FloatArray

__all__ = ["combine", "deviation", "replicate_covariance"]

_Z = 1.959964  # of the normal distribution, for 95 %


def combine(intervals: Sequence[Interval], covariance: FloatArray | None = None) -> Interval:
    """The mean of replicates of one recipe, each with a seed of its own.

    Args:
        intervals: of the replicates, over the choice of items; two or more.
        covariance: see `replicate_covariance`; None counts all of each interval as the items' own,
            and all variance between replicates as the seeds', which is wide.

    Returns:
        Over items and seeds; NaN bounds if a replicate has none.
    """
    n = len(intervals)
    values = np.array([one.value for one in intervals])
    value = math.fsum(values) / n
    kept, common = _shares(covariance, n)
    below = kept * math.fsum(one.value - one.low for one in intervals) / n
    above = kept * math.fsum(one.high - one.value for one in intervals) / n
    if math.isnan(below) or math.isnan(above):
        return Interval(value, math.nan, math.nan)
    spread = deviation(values) ** 2 / n
    between = max(0.0, spread - common / n)
    within = ((below + above) / 2 / _Z) ** 2
    freedom = math.inf
    if spread > 0:
        freedom = (n - 1) * ((within + between) / spread) ** 2
    quantile, few = student_quantile(LEVEL, freedom), student_quantile(LEVEL, n - 1)
    below, above = (
        max(
            quantile * math.sqrt((side / _Z) ** 2 + between),
            math.sqrt(side**2 + few**2 * between),
        )
        for side in (below, above)
    )
    return Interval(value, value - below, value + above)


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
