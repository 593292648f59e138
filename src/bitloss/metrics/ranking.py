"""Which of several losses is the largest, when each is measured with an error of its own.

Each loss gets a *confidence distribution*: draws whose quantiles are its confidence limits. Losses
measured on different items err independently, so their draws are combined at random, and how often
one draw is the largest is the probability that its loss is (Schweder and Hjort, Confidence,
Likelihood, Probability, 2016, chapters 3 and 4).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from bitloss.metrics.intervals import LEVEL, Interval
from bitloss.types import FloatArray

__all__ = ["named_seed", "normal_draws", "probability_largest"]

RESAMPLES = 4000


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
