"""How numbers are written for people: one place for all tables.

A missing number is ``-``. ``0`` and ``1`` without decimals are exact: a copy of the reference has
divergence ``0``, agreement ``100 %`` and relative perplexity ``1``; nothing is rounded to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = [
    "bound",
    "count",
    "divergence",
    "divergence_interval",
    "number",
    "p_value",
    "perplexity",
    "points_interval",
    "points_plain",
    "ratio_interval",
    "share",
    "size",
    "times_interval",
]

MISSING = "-"


def number(value: float | None, decimals: int) -> str:
    """A number with fixed decimals, in scientific notation from a million on."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:.2e}" if abs(value) >= 1e6 else f"{value:.{decimals}f}"


def perplexity(value: float | None) -> str:
    """A perplexity: four decimals as its literature prints, fewer from 100 on."""
    large = value is not None and value >= 100
    return number(value, 2 if large else 4)


def divergence(value: float | None) -> str:
    """A divergence in nats: three digits, scientific below 0.001, ``0`` if it is exactly that."""
    if value is None or not math.isfinite(value):
        return number(value, 0)
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return number(value, _decimals(value))


def divergence_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A divergence with its limits, in the decimals of the value: ``0.031 [0.029, 0.033]``."""
    if value is None or not math.isfinite(value) or abs(value) < 1e-3:
        return _bracket(divergence(value), [divergence(low), divergence(high)], low, high)
    places = _decimals(value)
    limits = [number(limit, places) for limit in (low, high)]
    return _bracket(number(value, places), limits, low, high)


def ratio_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A ratio with its limits: ``1.052 [1.048, 1.056]``, more decimals for narrow limits."""
    if value == low == high == 1:
        return "1"
    places = 3
    if value is not None and math.isfinite(value):
        spread = abs(value - 1)
        if low is not None and high is not None:
            spread = max(spread, high - low)
        if 0 < spread < 5e-3:
            places = min(6, math.ceil(-math.log10(spread)) + 1)
    limits = [number(limit, places) for limit in (low, high)]
    return _bracket(number(value, places), limits, low, high)


def bound(value: float) -> str:
    """A limit as a table of expectations has it: two decimals, or all that it was given."""
    return f"{value:.2f}" if value == round(value, 2) else f"{value:g}"


def times_interval(value: float | None, low: float | None, high: float | None) -> str:
    """How many times as large, with its limits: ``3.1 [2.5, 3.9]``; more decimals for narrow ones,
    and for what is less than once.
    """
    places = 1 if value is None or value >= 1 else 2
    if value is not None and low is not None and high is not None and 0 < high - low < 0.5:
        places = max(places, min(4, math.ceil(-math.log10(high - low))))
    if value is not None and value >= 100:
        places = 0
    limits = [number(limit, places) for limit in (low, high)]
    return _bracket(number(value, places), limits, low, high)


def share(value: float | None) -> str:
    """A share in per cent: ``97.7 %``; as many decimals as it takes not to round to 100."""
    if value is None or not math.isfinite(value):
        return number(value, 0)
    if value in (0, 1):
        return f"{value:.0%}".replace("%", " %")
    places = 1
    while places < 6 and float(f"{100 * value:.{places}f}") >= 100:
        places += 1
    return f"{100 * value:.{places}f} %"


def points_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A difference of shares in percentage points with its limits: ``-2.0 [-4.1, 0.1]``."""
    points = [None if x is None else 100 * x for x in (value, low, high)]
    if points == [0, 0, 0]:
        return "0"
    texts = [MISSING if x is None else "0.0" if x == 0 else f"{x:+.1f}" for x in points]
    return _bracket(texts[0], texts[1:], low, high)


def points_plain(value: float | None, low: float | None, high: float | None) -> str:
    """A loss in percentage points with its limits, without a sign for what is positive."""
    texts = [number(None if x is None else 100 * x, 1) for x in (value, low, high)]
    return _bracket(texts[0], texts[1:], low, high)


def p_value(value: float | None) -> str:
    """A probability: three decimals, ``< 0.001`` below."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 1e-3 else f"{value:.3f}"


def size(n_bytes: int | None) -> str:
    """Bytes in decimal units: ``812 MB``, ``1.1 GB``."""
    if n_bytes is None:
        return MISSING
    value = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 9.95 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def count(value: int | None) -> str:
    """A whole number with thousands separated."""
    return MISSING if value is None else f"{value:,}"


def _decimals(value: float) -> int:
    """Decimals for three significant digits of a value from 0.001 on, at most 4."""
    return max(0, min(4, 2 - math.floor(math.log10(abs(value)))))


def _bracket(value: str, limits: Sequence[str], low: float | None, high: float | None) -> str:
    missing = MISSING in limits or low is None or high is None
    exact = value == "0" and low == high
    return value if missing or exact else f"{value} [{limits[0]}, {limits[1]}]"
