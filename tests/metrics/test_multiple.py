"""Tests of many statements. Oracles: hand computations, tables of Student's t, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.metrics.intervals import Interval
from bitloss.metrics.multiple import PValue, adjust, beyond, flip_test, holm
from bitloss.metrics.paired import mcnemar


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, made increasing: .06 at the end.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_raw_and_bonferroni(raw: list[float]) -> None:
    adjusted = holm(raw)
    for p, q in zip(raw, adjusted, strict=True):
        assert p <= q <= min(1.0, len(raw) * p) or q == max(adjusted)
    assert sorted(range(len(raw)), key=lambda i: (raw[i], adjusted[i])) == sorted(
        range(len(raw)), key=lambda i: (adjusted[i], raw[i])
    )


def test_few_flips_cost_the_others_nothing() -> None:
    # Ten flips one way: 2 / 1024. Three flips reach 1/4 at least, so only the certain 0.5 counts.
    found = adjust({"a": flip_test(10, 0), "b": flip_test(2, 1), "c": PValue(0.5)})
    assert found["a"] == pytest.approx(2 * 2 / 1024)
    # At 1/2, the three flips reach 1/4: the next p-value of theirs is 1.
    assert found["c"] == pytest.approx(0.5 + 0.25)
    assert found["b"] == 1.0
    assert adjust({}) == {}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_flips_are_adjusted_by_no_more_than_holm(flips: list[tuple[int, int]]) -> None:
    found = adjust({index: flip_test(*one) for index, one in enumerate(flips)})
    plain = holm([mcnemar(*one) for one in flips])
    for index, one in enumerate(flips):
        assert mcnemar(*one) <= found[index] <= plain[index] * (1 + 1e-12)


def test_anything_is_said_falsely_in_five_percent_of_families_at_most() -> None:
    """49 true hypotheses of 0 to 40 flips. Oracle: simulation, three standard errors."""
    rng = np.random.default_rng(0)
    runs, alone, false = 300, 0, 0
    for _ in range(runs):
        sizes = rng.integers(0, 40, 49)
        lost = rng.binomial(sizes, 0.5)
        family = {
            i: flip_test(int(a), int(n - a))
            for i, (a, n) in enumerate(zip(lost, sizes, strict=True))
        }
        alone += min(one.p_value for one in family.values()) < 0.05
        false += min(adjust(family).values()) < 0.05
    assert alone / runs > 0.5
    assert false / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_a_line_beside_an_interval() -> None:
    found = Interval(0.05, 0.03, 0.08)
    assert beyond(found, 0.03) == PValue(0.05)  # exactly at a bound
    assert beyond(found, 0.08) == PValue(0.05)
    # Twice the side is twice 1.959964: 0.0000885 of the normal distribution.
    twice = beyond(found, 0.01)
    assert twice is not None
    assert twice.p_value == pytest.approx(8.857e-5, rel=1e-3)
    # With four degrees of freedom twice 2.77645: 0.00516.
    four = beyond(found, 0.01, freedom=4)
    assert four is not None
    assert four.p_value == pytest.approx(0.00516, rel=0.01)
    assert beyond(found, 0.05) == PValue(1.0)


def test_a_ratio_is_tested_by_its_logarithm() -> None:
    found = Interval(1.0, 0.8, 1.25)
    assert beyond(found, 0.8, logarithmic=True) == PValue(0.05)
    above = beyond(found, 1.25**2, logarithmic=True)
    assert above is not None
    assert above.p_value == pytest.approx(8.857e-5, rel=1e-3)


def test_intervals_without_width_or_bounds() -> None:
    assert beyond(Interval(1.0, 1.0, 1.0), 1.05) == PValue(0.0)  # an exact copy
    assert beyond(Interval(1.0, 1.0, 1.0), 1.0) == PValue(1.0)
    assert beyond(Interval(1.0, math.nan, math.nan), 1.05) is None
    assert beyond(Interval(math.inf, math.inf, math.inf), 1.1, logarithmic=True) == PValue(0.0)
    # A bound that was cut off at the value: the other side stands for it.
    assert beyond(Interval(0.9, 0.7, 0.9), 1.1) == PValue(0.05)
