"""How far a variant's next-token distributions lie from the reference's.

Functions that return a `Series` leave average and interval to `bitloss.metrics.intervals`, so that
all statistics of a corpus share one resampling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import NumericalError
from bitloss.metrics.intervals import Series
from bitloss.metrics.perplexity import window_losses
from bitloss.types import Averaging, IntArray

__all__ = [
    "NEAR_FLOOR",
    "Percentiles",
    "mean_divergence",
    "mean_entropy",
    "mean_perplexity",
    "percentiles",
    "relative_perplexity",
]

_Floats = NDArray[np.floating]

NEAR_FLOOR = 10.0
"""Within so many noise floors of zero the floor itself makes a tenth or more of a divergence."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The upper tail of a per-token quantity, in its own unit."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float


def mean_perplexity(
    nll: _Floats, window: IntArray, averaging: Averaging, valid: Sequence[int] = ()
) -> Series:
    """A model's perplexity, for its interval; arguments as in `metrics.perplexity.perplexity`."""
    return Series(*window_losses(nll, window, averaging, valid), scale="exp")


def relative_perplexity(
    reference_nll: _Floats,
    nll: _Floats,
    window: IntArray,
    averaging: Averaging,
    valid: Sequence[int] = (),
) -> Series:
    """Perplexity of the variant over that of the reference: exp(sum a_w d_w / sum a_w).

    d_w is the mean loss difference of window w and a_w its weight under the protocol's averaging.
    Best value is 1.0, exactly so for equal losses.

    Args:
        reference_nll: losses of the true tokens under the reference in nats, ``[n_scored]``.
        nll: the same under the variant.
        window: index of each token's window, ``[n_scored]``.
        averaging: see `bitloss.metrics.perplexity`.
        valid: see there.

    Raises:
        NumericalError: no losses, or NaN among the differences.
    """
    with np.errstate(invalid="ignore"):  # inf - inf: the NaN is reported by `window_losses`
        difference = nll.astype(np.float64) - reference_nll.astype(np.float64)
    own = Series(*window_losses(difference, window, averaging, valid), scale="exp")
    means, weights = window_losses(reference_nll, window, averaging, valid)
    # No perplexity is below 1: the variant's, and so the least that the ratio can be.
    least = math.exp(-max(0.0, float(np.average(means, weights=weights))))
    return replace(own, bounds=(min(least, 1.0), math.inf))


def mean_divergence(kl_divergence: _Floats, window: IntArray) -> Series:
    """Mean KL divergence of a token in nats, each token counted once; best value is 0.0.

    Below about 1e-7 rounding may make single values negative; they are kept, for clipping them
    would add to the mean. The mean's limits are not below 0 unless the mean itself is.

    Raises:
        NumericalError: no values, or NaN among them.
    """
    means, weights = window_losses(kl_divergence, window, "tokens")
    average = float(np.dot(means, weights) / weights.sum())
    return Series(means, weights, bounds=(min(0.0, average), math.inf))


def mean_entropy(entropy: _Floats, window: IntArray) -> Series:
    """Mean entropy of the next-token distribution in nats.

    Raises:
        NumericalError: no values, or NaN among them.
    """
    return Series(*window_losses(entropy, window, "tokens"), bounds=(0.0, math.inf))


def percentiles(values: _Floats) -> Percentiles:
    """50th, 90th, 99th and 99.9th percentile (linear interpolation) and the largest value.

    Args:
        values: one value a token, shape ``[n_scored]``.

    Raises:
        NumericalError: no values, or NaN or infinite ones among them.
    """
    if len(values) == 0 or not np.isfinite(values).all():
        raise NumericalError(
            f"expected at least one and only finite values for percentiles, got {len(values)}, "
            f"of which {int((~np.isfinite(values)).sum())} are not finite"
        )
    exact = values.astype(np.float64)
    p50, p90, p99, p999 = (float(x) for x in np.quantile(exact, (0.5, 0.9, 0.99, 0.999)))
    return Percentiles(p50, p90, p99, p999, float(exact.max()))
