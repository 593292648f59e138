"""Confidence intervals by a paired block bootstrap over windows.

Reference and variant are scored on the same tokens, so every statistic is an average of a paired
per-token quantity (a loss difference, a divergence), and one resampling of the windows serves all
statistics of a corpus. What the interval is, and why not a simpler one:

* *Blocks.* Neighbouring windows come from the same article. Windows are cut into runs of
  neighbours (`block_length`) and the runs are drawn with replacement. Measured on WikiText-2 with
  512-token windows and a 4-bit model: window means of the divergence have a lag-1
  autocorrelation of 0.0 to 0.2, of the loss difference 0.15, of the loss itself 0.33.
* *Bootstrap-t.* Each resample's deviation is divided by its own standard error (Efron and
  Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5). The percentile interval's
  coverage of a nominal 95 % is 80 to 93 % at 5 to 300 windows, because divergences are skewed and
  blocks are few; this one's is 92 to 95 % on text like the measured one.
* *Limit.* A resample that misses the one block holding an outlier has almost no error of its own,
  and its t value is huge: unlimited intervals were seen a thousand times too wide. The t quantiles
  are therefore kept within twice Student's; that costs no coverage. With fewer than 5 blocks
  Student's t itself is used.

The coverage table and the way it was measured are in ``docs/decisions/0005-intervals.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import NumericalError
from bitloss.metrics.blocks import block_sums
from bitloss.metrics.student import student_quantile
from bitloss.types import FloatArray

__all__ = [
    "FEWEST_BLOCKS",
    "LEVEL",
    "Interval",
    "Series",
    "block_length",
    "bootstrap",
    "require_usable",
    "resample",
    "to_interval",
]

LEVEL = 0.95
RESAMPLES = 10_000

FEWEST_BLOCKS = 5
"""Blocks of windows and clusters of items; no interval is claimed of a text or of clusters with
fewer."""

_CHUNK = 1 << 20  # elements of a resampling matrix held at a time: 8 MiB
_REMEMBERED = 2048  # blocks: more than items are ever put into


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic and its confidence limits; the limits are NaN where there is one window."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Series:
    """A quantity window by window, and how its average becomes the statistic.

    Attributes:
        means: mean of each window, shape ``[n_windows]``, windows in the order of the text.
        weights: weight of each window in the average, same shape, not negative.
        scale: what is done to the average: nothing, ``exp`` or ``sqrt``. All are increasing, so
            the limits are found for the average and go through the same function.
        bounds: the statistic's range; limits are clipped to it.
    """

    means: FloatArray
    weights: FloatArray
    scale: Literal["linear", "exp", "sqrt"] = "linear"
    bounds: tuple[float, float] = (-math.inf, math.inf)


def block_length(n_windows: int, *, drawn_from: int | None = None) -> int:
    """Neighbouring windows drawn together: 2 n^(1/3), but short enough for five blocks.

    The growth with n^(1/3) is the order that makes the error of a block variance smallest
    (Kuensch, Annals of Statistics 17, 1989); the factor was chosen by coverage.

    Of n windows drawn at random from a text of N, a block holds as many as lie in a block of the
    text, 2 N^(1/3) n / N: they are N / n windows apart, so few of many hardly depend on each other
    and are drawn one by one. That is 2 n^(1/3) (n / N)^(2/3). In Kuensch's terms the best length
    falls with that power of n / N if only next neighbours depend on each other, and faster if the
    dependence reaches further, so blocks are rather too long than too short.

    Args:
        n_windows: windows that were scored (n).
        drawn_from: windows of the text that they were drawn from (N); None if they are neighbours.
    """
    text = n_windows if drawn_from is None else drawn_from
    within = 2 * math.cbrt(text) * n_windows / text
    return max(1, min(round(within), n_windows // FEWEST_BLOCKS))


def bootstrap(
    series: Mapping[str, Series],
    *,
    seed: int,
    block: int | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Intervals of several statistics of the same windows, from one resampling.

    Equal windows and an equal seed give equal resamples, so intervals of variants that were
    scored on the same windows are comparable too. 10,000 resamples of ten statistics take
    30 ms for 300 windows and 0.6 s for 100,000 (1,075 blocks) the first time, and 10 and 55 ms for
    further statistics of as many blocks.

    Args:
        series: the statistics by name, all with the same number of windows.
        seed: of the resampling.
        block: neighbouring windows drawn together; None is `block_length`, 1 is for items that
            have nothing to do with their neighbours.
        level: confidence.
        resamples: how many.

    Raises:
        NumericalError: NaN or infinite window means, or weights that sum to zero.
        ValueError: no windows, or series of different lengths.
    """
    require_usable(series)
    averages, low, high = _limits(
        np.stack([one.means * one.weights for one in series.values()]),
        np.stack([one.weights for one in series.values()]),
        block or block_length(len(next(iter(series.values())).means)),
        level,
        resamples,
        seed,
    )
    return {
        name: to_interval(one, float(averages[index]), float(low[index]), float(high[index]))
        for index, (name, one) in enumerate(series.items())
    }


def require_usable(series: Mapping[str, Series]) -> None:
    """Raise what `bootstrap` does where no interval can be made."""
    lengths = {len(one.means) for one in series.values()} | {
        len(one.weights) for one in series.values()
    }
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"expected series of one common, positive length, got {sorted(lengths)}")
    for name, one in series.items():
        if not (np.isfinite(one.means).all() and np.isfinite(one.weights).all()):
            raise NumericalError(
                f"`{name}` has windows whose mean is not a finite number",
                hint="check the model's weights, or score with --dtype fp32",
            )
        if not one.weights.sum() > 0:
            raise NumericalError(f"`{name}`: the windows' weights sum to zero")


def to_interval(series: Series, average: float, low: float, high: float) -> Interval:
    """Take an average and its limits to the statistic's own scale and range."""
    if math.isnan(low):
        value = float(_scaled(series, np.array([average]))[0])
        return Interval(value, math.nan, math.nan)
    value, low, high = (float(x) for x in _scaled(series, np.array([average, low, high])))
    return Interval(value, min(low, value), max(high, value))


def _scaled(series: Series, values: FloatArray) -> FloatArray:
    if series.scale == "sqrt":
        values = np.sqrt(np.maximum(values, 0.0))
    elif series.scale == "exp":
        with np.errstate(over="ignore"):
            values = np.exp(values)
    return np.clip(values, *series.bounds)


def _limits(
    sums: FloatArray,
    weights: FloatArray,
    block: int,
    level: float,
    resamples: int,
    seed: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Averages and limits of ``sums.sum(1) / weights.sum(1)``.

    Args:
        sums: weighted window sums, shape ``[n_series, n_windows]``.
        weights: window weights, same shape.
        block: neighbouring windows drawn together.
        level: confidence.
        resamples: how many.
        seed: of drawing the blocks.
    """
    n_blocks = sums.shape[1] // block
    blocks = block_sums(sums, weights, n_blocks)
    average, v, residual = blocks.average, blocks.weights, blocks.residual
    if n_blocks == 1:
        nothing = np.full_like(average, math.nan)
        return average, nothing, nothing
    error = np.sqrt((residual**2).sum(1) * n_blocks / (n_blocks - 1)) / v.sum(1)
    widest = student_quantile(level, n_blocks - 1)
    if n_blocks < FEWEST_BLOCKS:
        return average, average - widest * error, average + widest * error
    t = _t_values(residual, v, _counts(seed, n_blocks, resamples))
    tail = (1 - level) / 2
    # No interpolation: the outermost t values may be infinite.
    lower, upper = np.quantile(t, [tail, 1 - tail], axis=0, method="inverted_cdf")
    lower, upper = (np.clip(q, -2 * widest, 2 * widest) for q in (lower, upper))
    return average, average - upper * error, average - lower * error


def _t_values(residual: FloatArray, v: FloatArray, counts: Iterable[NDArray[Any]]) -> FloatArray:
    """Each resample's deviation from the average over its own error, ``[resamples, n_series]``."""
    deviation, error = _deviations(residual, v, counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(deviation == 0, 0.0, deviation / error)


def resample(
    residual: FloatArray, v: FloatArray, resamples: int, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Each resample's deviation from the average, and its own error, ``[resamples, n_series]``.

    Args:
        residual: of the blocks' weighted sums from what the average makes of their weights, shape
            ``[n_series, n_blocks]``, two blocks or more.
        v: the blocks' weights, same shape.
        resamples: how many.
        generator: draws the blocks.
    """
    return _deviations(residual, v, _draw(generator, v.shape[1], resamples))


def _counts(seed: int, n_blocks: int, resamples: int) -> Iterable[NDArray[Any]]:
    """How often each resample draws each block, in parts of ``[some resamples, n_blocks]``."""
    if n_blocks <= _REMEMBERED:
        return _remembered_counts(seed, n_blocks, resamples)
    return _draw(np.random.default_rng(seed), n_blocks, resamples)


@lru_cache(maxsize=16)
def _remembered_counts(seed: int, n_blocks: int, resamples: int) -> tuple[NDArray[Any], ...]:
    """Every model of a run needs the same, and drawing takes nine tenths of the time.

    As a rule a byte a count: 10 MB for 1,000 blocks.
    """
    parts = _draw(np.random.default_rng(seed), n_blocks, resamples)
    return tuple(part.astype(np.min_scalar_type(int(part.max()))) for part in parts)


def _draw(
    generator: np.random.Generator, n_blocks: int, resamples: int
) -> Iterator[NDArray[np.int64]]:
    share = np.full(n_blocks, 1 / n_blocks)
    rows = max(1, _CHUNK // n_blocks)
    for start in range(0, resamples, rows):
        yield generator.multinomial(n_blocks, share, size=min(rows, resamples - start))


def _deviations(
    residual: FloatArray, v: FloatArray, counts: Iterable[NDArray[Any]]
) -> tuple[FloatArray, FloatArray]:
    """See `resample`.

    A resample is how often it draws each block, which is multinomial. With those counts c, the
    residuals r of the sample and the blocks' weights v, a resample's deviation is
    ``d = c.r / c.v`` and its squared error ``c.(r - d v)^2 / (c.v)^2``, whose square is expanded
    into three products so that nothing of size resamples x blocks x series is built.
    """
    n_blocks = residual.shape[1]
    moments = np.concatenate([residual, v, residual**2, residual * v, v**2]).T
    deviations, errors = [], []
    for part in counts:
        r, w, rr, rv, vv = np.split(part.astype(np.float64) @ moments, 5, axis=1)
        w = np.where(w > 0, w, math.inf)  # a resample of blocks without weight deviates by 0
        deviation = r / w
        square = np.maximum(rr - 2 * deviation * rv + deviation**2 * vv, 0.0)
        deviations.append(deviation)
        errors.append(np.sqrt(square * n_blocks / (n_blocks - 1)) / w)
    return np.concatenate(deviations), np.concatenate(errors)
