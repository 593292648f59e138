"""Which of several losses is the largest, when each is measured with an error of its own.

A mean of positive, skewed numbers (a divergence) is best compared on the log scale: a ratio of two
means becomes a difference. Each log mean gets a *confidence distribution*: draws whose quantiles
are the confidence limits of `bitloss.metrics.intervals` (bootstrap-t, kept within twice Student's;
Student's own with fewer than five blocks). Losses measured on different items err independently, so
their draws are combined at random: quantiles of differences are limits of ratios, and how often one
draw is the largest is the probability that its loss is (Schweder and Hjort, Confidence, Likelihood,
Probability, 2016, chapters 3 and 4). Losses measured on the same items with an equal seed are
resampled alike, so that their mean keeps what they have in common.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from bitloss.errors import NumericalError
from bitloss.metrics.blocks import block_sums
from bitloss.metrics.intervals import LEVEL, Interval, Series, resample, student
from bitloss.types import FloatArray

__all__ = [
    "LogMean",
    "log_means",
    "mean_of",
    "mean_with_limits",
    "named_seed",
    "normal_draws",
    "probability_largest",
    "ratio",
]

RESAMPLES = 4000

_FEWEST_BLOCKS = 5
# More items than these are drawn in groups of neighbours: the limits are as good.
_BLOCKS = 250


@dataclass(frozen=True, slots=True, eq=False)
class LogMean:
    """The logarithm of a mean, and how sure of it one can be.

    Attributes:
        value: minus infinity for a mean of zero.
        draws: from its confidence distribution, shape ``[resamples]``; infinite, to either side,
            where a single item or window says nothing of the error.
    """

    value: float
    draws: FloatArray


@dataclass(frozen=True, slots=True)
class _Part:
    """Averages of several series of the same items, and of their resamples."""

    n_blocks: int
    mean: FloatArray  # [series]
    error: FloatArray  # [series]
    means: FloatArray  # [resamples, series]
    errors: FloatArray  # [resamples, series]


def log_means(
    strata: Sequence[Mapping[str, Series]],
    *,
    seed: int | Sequence[int],
    block: int | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, LogMean]:
    """Log means of several quantities measured on the same items.

    Args:
        strata: sets of items (tasks) that are drawn each by itself and whose averages count the
            same; in each the same names, with a series of the same items.
        seed: of the resampling; equal seeds and items give equal resamples.
        block: neighbours drawn together; None is one item, or as many as leave 250 blocks.
        resamples: how many.

    Raises:
        NumericalError: NaN or infinite means.
    """
    generator = np.random.default_rng(seed)
    parts = [_part(one, block, resamples, generator) for one in strata]
    count = len(parts)
    mean = np.mean([part.mean for part in parts], axis=0)
    error = np.sqrt(np.sum([part.error**2 for part in parts], axis=0)) / count
    freedom = min(part.n_blocks for part in parts) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        if freedom == 0:
            t = np.where(generator.random(resamples) < 0.5, -math.inf, math.inf)[:, None]
        elif freedom < _FEWEST_BLOCKS - 1:
            t = generator.standard_t(freedom, resamples)[:, None]
        else:
            means = np.mean([part.means for part in parts], axis=0)
            errors = np.sqrt(np.sum([part.errors**2 for part in parts], axis=0)) / count
            t = _t_values(means, errors, mean, 2 * student(LEVEL, freedom))
        draws = np.log(mean) - t * (math.inf if freedom == 0 else error / mean)
    return {
        name: LogMean(math.log(mean[i]), draws[:, i])
        if mean[i] > 0
        else LogMean(-math.inf, np.full(resamples, -math.inf))
        for i, name in enumerate(strata[0])
    }


def _t_values(means: FloatArray, errors: FloatArray, mean: FloatArray, limit: float) -> FloatArray:
    """Deviations of the resamples' log means over their own errors, ``[resamples, series]``."""
    deviation = np.log(means) - np.log(mean)
    t = np.where(deviation == 0, 0.0, deviation / (errors / means))
    return np.clip(np.nan_to_num(t, nan=-limit), -limit, limit)  # NaN: nothing but zeros was drawn


def _part(
    stratum: Mapping[str, Series], block: int | None, resamples: int, generator: np.random.Generator
) -> _Part:
    weights = np.stack([one.weights for one in stratum.values()])
    sums = np.stack([one.means for one in stratum.values()]) * weights
    if not np.isfinite(sums).all():
        raise NumericalError(
            "a loss is not a finite number",
            hint="check the model's weights, or score with --dtype fp32",
        )
    n = sums.shape[1]
    n_blocks = max(1, n // (block or -(-n // _BLOCKS)))
    blocks = block_sums(sums, weights, n_blocks)
    mean, v, residual = blocks.average, blocks.weights, blocks.residual
    correction = n_blocks / max(n_blocks - 1, 1)
    error = np.sqrt((residual**2).sum(1) * correction) / v.sum(1)
    if n_blocks >= _FEWEST_BLOCKS:
        deviations, errors = resample(residual, v, resamples, generator)
    else:  # Student's t is drawn instead
        deviations, errors = np.zeros((2, resamples, len(mean)))
    return _Part(n_blocks, mean, error, np.maximum(mean + deviations, 0.0), errors)


def mean_of(values: Sequence[LogMean]) -> LogMean:
    """The mean of log means that were resampled alike, each counting the same."""
    return LogMean(
        math.fsum(one.value for one in values) / len(values),
        np.mean([one.draws for one in values], axis=0),
    )


def mean_with_limits(one: LogMean) -> Interval:
    """The mean itself (not its logarithm); limits that do not exist are NaN."""
    return _interval(one.value, one.draws)


def ratio(one: LogMean, other: LogMean) -> Interval:
    """How many times as large `one` is; exactly 1 for the same object, NaN beside nothing.

    The two are to be of different items, or the same.
    """
    if one is other:
        return Interval(1.0, 1.0, 1.0)
    if other.value == -math.inf:
        return Interval(math.nan, math.nan, math.nan)
    with np.errstate(invalid="ignore"):  # two that say nothing: infinite less infinite
        return _interval(one.value - other.value, one.draws - other.draws)


def _interval(value: float, draws: FloatArray) -> Interval:
    if not np.isfinite(draws).all():
        return Interval(math.exp(value), math.nan, math.nan)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, (tail, 1 - tail))
    return Interval(math.exp(value), math.exp(min(low, value)), math.exp(max(high, value)))


def named_seed(seed: int, name: str) -> list[int]:
    """A seed for each name, whatever else was measured: different items err independently."""
    return [seed, zlib.crc32(name.encode())]


def normal_draws(limits: Interval, *, seed: int | Sequence[int]) -> FloatArray:
    """Draws from the normal confidence distribution that a symmetric interval is of.

    Args:
        limits: the center is half way between them, whatever the value is; infinite draws, to
            either side, where they are NaN.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    if math.isnan(limits.low) or math.isnan(limits.high):
        return np.where(generator.random(RESAMPLES) < 0.5, -math.inf, math.inf)
    error = (limits.high - limits.low) / 2 / NormalDist().inv_cdf((1 + LEVEL) / 2)
    return generator.normal((limits.low + limits.high) / 2, error, RESAMPLES)


def probability_largest(draws: Sequence[FloatArray], *, above: float = -math.inf) -> list[float]:
    """For each quantity, the probability that it is truly the largest, and larger than `above`.

    The rest of the probability, if there is any, is that none of them is above.

    Args:
        draws: of quantities measured on different items, drawn with different seeds.
        above: in the draws' own scale.
    """
    if not draws:
        return []
    together = np.stack(draws)
    largest = together.max(0)
    first = (together == largest) & (largest > above)
    return [float(p) for p in (first / np.maximum(first.sum(0), 1)).mean(1)]
