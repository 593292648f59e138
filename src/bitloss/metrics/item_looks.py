"""Looks at growing numbers of a task's items, and how wide intervals have to be to hold at all.

The sizes of the looks are fixed by the number of items alone, before any is answered, so fewer ways
of stopping have to be guarded against than by the sequence of `bitloss.metrics.sequential`, which
holds at any number of blocks: the boundary is the constant c for which a Brownian motion W stays
within ``|W(t)| <= c sqrt(t)`` at all looks with 95 % probability (Pocock, Biometrika 64, 1977). It
is found by carrying the density of W from look to look (Armitage, McPherson and Rowe, Journal of
the Royal Statistical Society A 132, 1969): 2.5 standard errors for ten looks, where the other
sequence takes 3.1.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np

from bitloss.metrics.intervals import LEVEL
from bitloss.metrics.sequential import growing_sizes
from bitloss.metrics.student import student_quantile
from bitloss.types import FloatArray

__all__ = ["FEWEST_ITEMS", "boundary", "item_look_sizes", "widening"]

FEWEST_ITEMS = 64
"""Items at the first look; of fewer, the two that `bitloss.metrics.paired.mean_shift` adds are the
most.
"""

_POINTS = 161  # of the density: the boundary is exact to three decimals
_STEPS = 18  # of a bisection


def item_look_sizes(total: int) -> tuple[int, ...]:
    """How many of `total` items there are at each look; the last is `total`."""
    return growing_sizes(FEWEST_ITEMS, total)


def widening(count: int, total: int) -> float:
    """How many times as wide as an interval for one look one is that holds at all of them.

    Args:
        count: items that were looked at, in a random order, 2 or more.
        total: items that there are.
    """
    quantile = boundary(item_look_sizes(total))
    # As much as Student's t is wider at this level than at the usual one.
    freedom = count - 1
    level = 1 - math.erfc(quantile / math.sqrt(2))
    return student_quantile(level, freedom) / student_quantile(LEVEL, math.inf)


@lru_cache(maxsize=256)
def boundary(sizes: tuple[int, ...], level: float = LEVEL) -> float:
    """The standard errors within which an average stays at all looks, with probability `level`.

    Args:
        sizes: observations at each look, ascending.
        level: confidence.
    """
    low, high = 1.5, 4.5
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _stays(sizes, middle) < level:
            low = middle
        else:
            high = middle
    return high


def _stays(sizes: tuple[int, ...], limit: float) -> float:
    """The probability that W is within `limit` standard deviations at every look."""
    at = np.linspace(-limit, limit, _POINTS)  # in standard deviations of the look
    step = at[1] - at[0]
    density: FloatArray = np.exp(-(at**2) / 2) / math.sqrt(2 * math.pi)
    weights = np.full(_POINTS, step)
    weights[[0, -1]] /= 2  # the trapezoidal rule
    for before, after in pairwise(sizes):
        kept = math.sqrt(before / after)
        spread = math.sqrt(1 - before / after)
        away = (at[:, None] - kept * at[None, :]) / spread
        kernel = np.exp(-(away**2) / 2) / (math.sqrt(2 * math.pi) * spread)
        density = kernel @ (density * weights)
    return float((density * weights).sum())
