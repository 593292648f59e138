"""One decision about many statements: tests of single results, and their correction.

A page says of every variant and capability whether something was lost. Of a hundred true "nothing
was lost", five have an interval that excludes zero. Holm's method keeps the probability of *any*
false statement of a family below the level, however the results depend on each other: variants are
copies of one model, evaluated on the same items.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar

from bitloss.metrics.intervals import LEVEL
from bitloss.metrics.paired import mcnemar
from bitloss.metrics.student import student_quantile, student_tail
from bitloss.types import Bounded

__all__ = ["SIGNIFICANT", "PValue", "adjust", "beyond", "flip_test", "holm"]

SIGNIFICANT = 0.05
"""The largest adjusted p-value, not included, that is called significant."""

_FEW = 500  # flips: with more of them, the steps between p-values do not matter
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class PValue:
    """The test of one statement.

    Attributes:
        p_value: two-sided; what is said in one direction only is significant at half the level.
        flips: items that flipped, where the test is McNemar's; None for any other.
    """

    p_value: float
    flips: int | None = None

    def reach(self, p_value: float) -> float:
        """The probability that this test has so small a p-value although nothing is true.

        That of seven flips cannot be below 1/64, so it can hardly be a false alarm.
        """
        if self.flips is None or self.flips > _FEW or p_value == self.p_value:
            return p_value
        possible = _attainable(self.flips)
        place = bisect_right(possible, p_value)
        return possible[place - 1] if place else 0.0


def flip_test(lost: int, gained: int) -> PValue:
    """McNemar's exact test (`bitloss.metrics.paired.mcnemar`), for `adjust`."""
    return PValue(mcnemar(lost, gained), lost + gained)


@lru_cache(maxsize=1024)
def _attainable(flips: int) -> tuple[float, ...]:
    """All p-values that McNemar's test of so many flips can have, the smallest first."""
    values, term, total = [], 1, 1
    for k in range(flips // 2 + 1):
        values.append(min(1.0, float(Fraction(2 * total, 2**flips))))
        term = term * (flips - k) // (k + 1)
        total += term
    return tuple(values)


def adjust(family: Mapping[_Key, PValue]) -> dict[_Key, float]:
    """P-values adjusted for all statements of a family, by Holm's method.

    Rejecting those below a level rejects any true hypothesis with at most that probability (Holm,
    Scandinavian Journal of Statistics 6, 1979). A test of few flips counts as much as its own
    p-value can reach (Westfall and Wolfinger, The American Statistician 51, 1997): an 8-bit copy
    that flips three items costs the others nothing.
    """
    order = sorted(family, key=lambda key: family[key].p_value)
    adjusted: dict[_Key, float] = {}
    largest = 0.0
    for rank, key in enumerate(order):
        p_value = family[key].p_value
        total = math.fsum(family[other].reach(p_value) for other in order[rank:])
        largest = max(largest, min(1.0, total))
        adjusted[key] = largest
    return {key: adjusted[key] for key in family}


def holm(p_values: Sequence[float]) -> list[float]:
    """`adjust` for tests whose p-value may be anything; in the order given."""
    return list(adjust({index: PValue(p) for index, p in enumerate(p_values)}).values())


def beyond(
    found: Bounded, line: float, *, freedom: int | None = None, logarithmic: bool = False
) -> PValue | None:
    """The test that a quantity is `line`, from its 95% interval; None if it has no interval.

    The distance to the line in units of the interval's side that faces it, which is then taken for
    Student's t (or the normal distribution). It is below 5% where the interval excludes the line,
    and as far below as an interval of a higher level would be. An interval without width that
    is not at the line has a p-value of 0: nothing was estimated.

    Args:
        found: value and bounds; bounds that are None or NaN do not exist.
        line: what it is held against.
        freedom: of Student's t, 1 or more; None is the normal distribution.
        logarithmic: whether the interval is one of the logarithm; all values are then positive.
    """
    ends = (found.value, found.low, found.high)
    if any(x is None or math.isnan(x) for x in ends):
        return None
    value, low, high = (_log(x) if logarithmic else x for x in ends if x is not None)
    at = _log(line) if logarithmic else line
    if math.isinf(low) and math.isinf(high) and low == high:
        return PValue(0.0)
    away = value - at
    if math.isinf(away) or away == 0:
        return PValue(1.0)
    side = value - low if away > 0 else high - value
    side = side or high - low  # a bound that was cut off at the value
    if side == 0:
        return PValue(0.0)
    return PValue(_tail(abs(away) / side, freedom))


def _tail(sides: float, freedom: int | None) -> float:
    """The p-value of a distance of so many sides of a 95% interval; 5% for exactly one."""
    degrees = math.inf if freedom is None else freedom
    edge = student_quantile(LEVEL, degrees)
    # The quotient is exactly 1 at the bound, so that the two rules never differ by a rounding.
    one = student_tail(edge, degrees)
    return min(1.0, SIGNIFICANT * (student_tail(sides * edge, degrees) / one))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
