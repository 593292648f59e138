"""Student's t distribution, for any degrees of freedom of 1 and more.

With ``t = sqrt(freedom) tan a`` the density becomes ``cos(a) ** (freedom - 1)`` on a quarter of a
turn, which is summed numerically: tails and quantiles to about one part in 10,000.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from bitloss.types import FloatArray

__all__ = ["student_quantile", "student_tail"]

_NORMAL = 1000.0
"""Degrees of freedom from which the normal distribution is taken."""

_ANGLES = np.linspace(0.0, math.pi / 2, 4_001)


def student_quantile(level: float, freedom: float) -> float:
    """The t that so much of the distribution lies within, to both sides.

    Args:
        level: between 0 and 1; 0.95 for a 95% interval.
        freedom: fewer than 1 count as 1.
    """
    if freedom >= _NORMAL:
        return NormalDist().inv_cdf((1 + level) / 2)
    freedom = max(1.0, freedom)
    # From the outer end, where the tail is zero: it has to increase to be looked up.
    angle = np.interp(1 - level, _tails(freedom)[::-1], _ANGLES[::-1])
    return math.sqrt(freedom) * math.tan(float(angle))


def student_tail(t: float, freedom: float) -> float:
    """The probability of a t at least so far from zero, to both sides.

    Args:
        t: 0 or more.
        freedom: fewer than 1 count as 1.
    """
    if freedom >= _NORMAL:
        return math.erfc(t / math.sqrt(2))
    freedom = max(1.0, freedom)
    angle = math.atan(t / math.sqrt(freedom))
    return float(np.interp(angle, _ANGLES, _tails(freedom)))


@lru_cache(maxsize=128)
def _tails(freedom: float) -> FloatArray:
    """The probability beyond each angle."""
    density = np.cos(_ANGLES) ** (freedom - 1)
    steps = (density[1:] + density[:-1]) / 2
    beyond = np.concatenate([np.cumsum(steps[::-1])[::-1], [0.0]])
    tails: FloatArray = beyond / beyond[0]
    return tails
