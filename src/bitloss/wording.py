"""How numbers and lists are written for people: one place for all tables and sentences.

A missing number is ``-``. ``0`` and ``1`` without decimals are exact: a copy of the reference has
divergence ``0``, agreement ``100%`` and relative perplexity ``1``; nothing is rounded to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bitloss.types import Bounded

__all__ = [
    "MISSING",
    "NEAR_FLOOR",
    "IntervalText",
    "bound",
    "count",
    "divergence",
    "divergence_interval",
    "expected_range",
    "join_words",
    "near_floor",
    "near_floor_note",
    "number",
    "p_value",
    "perplexity",
    "perplexity_interval",
    "points",
    "points_interval",
    "ratio_interval",
    "share",
    "share_interval",
    "short_names",
    "size",
    "unsigned_points_interval",
]

MISSING = "-"
NEAR_FLOOR = "~"
"""The mark on a number within ten noise floors (`bitloss.analysis.near_floor`)."""


@dataclass(frozen=True, slots=True)
class IntervalText:
    """A number with its bounds, written.

    Attributes:
        value: the number.
        limits: its bounds; None if there are none to show.
    """

    value: str
    limits: tuple[str, str] | None = None

    @property
    def brackets(self) -> str:
        """``[0.029, 0.033]``, or nothing."""
        return "" if self.limits is None else f"[{self.limits[0]}, {self.limits[1]}]"

    def in_unit(self, unit: str) -> str:
        """With the unit beside the number: ``3.0 times [2.5, 3.9]``."""
        return " ".join(part for part in (self.value, unit, self.brackets) if part)

    def __str__(self) -> str:
        """``0.031 [0.029, 0.033]``."""
        return self.in_unit("")


def number(value: float | None, decimals: int) -> str:
    """A number with fixed decimals, in scientific notation from a million on."""
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if abs(value) >= 1e6:
        return f"{value:.2e}"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # no zero has a sign


def perplexity(value: float | None) -> str:
    """A perplexity: four decimals as its literature prints, fewer from 100 on."""
    large = value is not None and value >= 100
    return number(value, 2 if large else 4)


def perplexity_interval(found: Bounded) -> IntervalText:
    """A perplexity with its bounds: ``6.2332 [6.1002, 6.3541]``."""
    return _interval(found, *map(perplexity, (found.value, found.low, found.high)))


def divergence(value: float | None) -> str:
    """A divergence in nats: three digits, scientific below 0.001, ``0`` if it is exactly that."""
    if value is None or not math.isfinite(value):
        return number(value, 0)
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return number(value, _decimals(value))


def divergence_interval(found: Bounded) -> IntervalText:
    """A divergence with its bounds, in the decimals of the value: ``0.031 [0.029, 0.033]``."""
    value = found.value
    if value is None or not math.isfinite(value) or abs(value) < 1e-3:
        return _interval(found, *map(divergence, (value, found.low, found.high)))
    return _with_decimals(found, _decimals(value))


def near_floor(text: IntervalText) -> IntervalText:
    """A number with the mark of one near the noise floor: ``~2.6e-05 [2.1e-05, 3.0e-05]``."""
    if text.value == MISSING:
        return text
    return IntervalText(f"{NEAR_FLOOR}{text.value}", text.limits)


def near_floor_note(*, exact: bool) -> str:
    """What the mark means, for below a table.

    Args:
        exact: whether they were scored in fp32 already, or it is not known.
    """
    note = f"{NEAR_FLOOR}: within ten noise floors, so in part the measurement's own"
    return note if exact else f"{note}; --dtype fp32 sees smaller losses"


def ratio_interval(found: Bounded) -> IntervalText:
    """A ratio with its bounds: ``1.052 [1.048, 1.056]``, more decimals for narrow intervals."""
    value, low, high = found.value, found.low, found.high
    if value == low == high == 1:
        return IntervalText("1")
    places = 3
    if value is not None and math.isfinite(value):
        spread = abs(value - 1)
        if low is not None and high is not None:
            spread = max(spread, high - low)
        if 0 < spread < 5e-3:
            places = min(6, math.ceil(-math.log10(spread)) + 1)
    return _with_decimals(found, places)


def bound(value: float) -> str:
    """A bound as a table of expectations has it: two decimals, or all that it was given."""
    return f"{value:.2f}" if value == round(value, 2) else f"{value:g}"


def expected_range(low: str, high: str | None) -> str:
    """An expected range for a table: ``1.05-1.10``, ``from 1.15`` if it has no upper end."""
    return f"from {low}" if high is None else f"{low}-{high}"


def share(value: float | None) -> str:
    """A share in percent: ``97.7%``; as many decimals as it takes not to round to 100."""
    if value is None or not math.isfinite(value):
        return number(value, 0)
    if value in (0, 1):
        return f"{value:.0%}"
    places = 1
    while places < 6 and float(f"{100 * value:.{places}f}") >= 100:
        places += 1
    return f"{100 * value:.{places}f}%"


def share_interval(found: Bounded) -> IntervalText:
    """A share with its bounds: ``94.3% [94.0%, 94.6%]``."""
    return _interval(found, *map(share, (found.value, found.low, found.high)))


def small_share_interval(found: Bounded) -> IntervalText:
    """A share that may be small, with its bounds: ``0.014% [0.0096%, 0.021%]``."""

    def text(value: float | None) -> str:
        if value is None or not 0 < value < 0.01:
            return share(value)
        return f"{100 * value:.2g}%"

    return _interval(found, *map(text, (found.value, found.low, found.high)))


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign: ``-2.0``, ``0.0``."""
    if value is None:
        return MISSING
    rounded = round(100 * value, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"  # no zero has a sign


def points_interval(found: Bounded) -> IntervalText:
    """A difference of shares in percentage points with its bounds: ``-2.0 [-4.1, +0.1]``."""
    values = (found.value, found.low, found.high)
    if values == (0, 0, 0):
        return IntervalText("0")
    return _interval(found, *map(points, values))


def unsigned_points_interval(found: Bounded) -> IntervalText:
    """A loss in percentage points with its bounds; no sign if it is positive."""
    values = (found.value, found.low, found.high)
    return _interval(found, *(number(None if x is None else 100 * x, 1) for x in values))


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


def short_names(names: Sequence[str]) -> dict[str, str]:
    """By name of a variant, a short name: a path without its folders, if that is unambiguous."""
    last = [name.rstrip("/").rsplit("/", 1)[-1] for name in names]
    unclear = {name for name in last if last.count(name) > 1 or name == "reference"}
    return {
        name: name if short in unclear else short for name, short in zip(names, last, strict=True)
    }


def join_words(words: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _decimals(value: float) -> int:
    """Decimals for three significant digits of a value from 0.001 on, at most 4."""
    return max(0, min(4, 2 - math.floor(math.log10(abs(value)))))


def _with_decimals(found: Bounded, places: int) -> IntervalText:
    return _interval(found, *(number(x, places) for x in (found.value, found.low, found.high)))


def _interval(found: Bounded, value: str, low: str, high: str) -> IntervalText:
    """The texts of a number and its bounds; no bounds if one is missing or nothing varies at 0."""
    missing = MISSING in (low, high) or found.low is None or found.high is None
    exact = value in ("0", "0%") and found.low == found.high
    return IntervalText(value, None if missing or exact else (low, high))
