"""Results of a recipe's replicates put together: their mean, over the choice of items and seeds.

A replicate is analysed like any variant. What is put together is each statistic's estimates, with
the items behind them, which are the same for all replicates (`bitloss.metrics.replicates`): how the
interval of one replicate is made does not matter here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from bitloss.metrics.intervals import Interval
from bitloss.metrics.replicates import combine, deviation
from bitloss.results.replicates import Spread
from bitloss.results.values import Estimate
from bitloss.types import FloatArray

__all__ = ["geometric_mean", "mean", "spread_of", "together"]

Scale = Literal["linear", "exp", "sqrt"]


def together(
    estimates: Sequence[Estimate],
    covariance: FloatArray | None = None,
    *,
    scale: Scale = "linear",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """The mean of the replicates' estimates, with an interval over items and seeds.

    Args:
        estimates: one per replicate. Where one has no value, the mean has none.
        covariance: of the averages that they are made of (`replicate_covariance`), or None.
        scale: how they were made of these averages (`bitloss.metrics.intervals.Series`). The mean
            is taken before that: of ratios (``exp``) it is geometric.
        bounds: the statistic's range, to which the limits are clipped.
    """
    if any(one.value is None for one in estimates):
        return Estimate(value=None, low=None, high=None)
    ends = ([_average(x, scale) for x in (one.value, one.low, one.high)] for one in estimates)
    found = combine([Interval(*three) for three in ends], covariance)
    value, low, high = (_scaled(x, scale, bounds) for x in (found.value, found.low, found.high))
    return Estimate.of(Interval(value, low, high))


def spread_of(estimates: Sequence[Estimate | None]) -> Spread:
    """The replicates' own values."""
    values = tuple(None if one is None else one.value for one in estimates)
    known = [value for value in values if value is not None]
    return Spread(
        values=values,
        deviation=deviation(known) if len(known) == len(values) else None,
    )


def mean(values: Sequence[float | None]) -> float | None:
    """Of what every replicate has; None where one has nothing."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def geometric_mean(values: Sequence[float | None]) -> float | None:
    """Of perplexities, which are means of logarithms themselves."""
    logarithm = mean([None if value is None else _log(value) for value in values])
    return None if logarithm is None else math.exp(logarithm)


def _average(value: float | None, scale: Scale) -> float:
    """The average that a value was made of; NaN for none."""
    if value is None:
        return math.nan
    if scale == "exp":
        return _log(value)
    return value**2 if scale == "sqrt" else value


def _scaled(value: float, scale: Scale, bounds: tuple[float, float]) -> float:
    if math.isnan(value):
        return value
    if scale == "exp":
        value = math.exp(value)
    elif scale == "sqrt":
        value = math.sqrt(max(0.0, value))
    return min(max(value, bounds[0]), bounds[1])


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
