"""Flips and their tests. Oracles: hand computations, textbook values, exact enumeration."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.paired import (
    average_change,
    change,
    count_flips,
    mcnemar,
    mean_change,
    mean_interval,
    mean_shift,
    share,
)


def test_flips_are_counted_both_ways() -> None:
    before = np.array([1, 1, 1, 0, 0, 1])
    after = np.array([1, 0, 0, 1, 0, 1])
    assert count_flips(before, after) == (2, 1)


def test_flips_are_of_the_same_items_and_of_right_or_wrong() -> None:
    with pytest.raises(ValueError, match="same items"):
        count_flips(np.array([1.0]), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="0 or 1"):
        count_flips(np.array([0.5]), np.array([1.0]))


@pytest.mark.parametrize(
    ("lost", "gained", "expected"),
    [
        (0, 0, 1.0),
        (0, 5, 2 / 32),  # two of 32 sequences of five coins are all alike
        (10, 2, 2 * (1 + 12 + 66) / 4096),  # C(12, 0) + C(12, 1) + C(12, 2)
        (3, 3, 1.0),
    ],
)
def test_mcnemar_by_hand(lost: int, gained: int, expected: float) -> None:
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 6), st.integers(0, 6))
def test_mcnemar_counts_coins(lost: int, gained: int) -> None:
    n = lost + gained
    tails = [sum(coins) for coins in product((0, 1), repeat=n)]
    uneven = sum(abs(2 * tail - n) >= abs(lost - gained) for tail in tails)
    assert mcnemar(lost, gained) == pytest.approx(float(Fraction(uneven, 2**n)))


def test_mcnemar_is_exact_for_thousands() -> None:
    # Normal approximation with continuity correction: z = 199 / sqrt(2000), p = 8.6e-6.
    assert mcnemar(900, 1100) == pytest.approx(8.46e-6, rel=0.01)
    assert mcnemar(5000, 0) == 0.0  # below the smallest float


@pytest.mark.parametrize(
    ("lost", "gained", "expected"),
    [
        (1, 8, 0.0390625),
        (3, 12, 0.03515625),
        (25, 4, 0.00010371580719947815),
        (121, 59, 4.4344492637551645e-06),
        (400, 300, 0.0001784763144856244),
    ],
)
def test_mcnemar_is_the_binomial_test(lost: int, gained: int, expected: float) -> None:
    # Oracle: scipy 1.17.1, binomtest(lost, lost + gained, 0.5).pvalue.
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_a_share_by_hand() -> None:
    # Wilson (1927), n = 10, x = 1: (1/10 + z^2/20 +- z sqrt(.09/10 + z^2/400)) / (1 + z^2/10).
    found = share(1, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.0179, 0.4042), abs=1e-4)
    assert share(0, 20).low == 0
    assert share(20, 20).high == 1


def test_a_change_by_hand() -> None:
    # Bonett and Price (2012): (b + 1)/(n + 2) = 3/12, (c + 1)/(n + 2) = 1/12.
    found = change(2, 0, 10)
    assert found.value == pytest.approx(-0.2)
    assert found.center == pytest.approx(-2 / 12)
    assert found.error == pytest.approx(((4 / 12 - (2 / 12) ** 2) / 12) ** 0.5)
    interval = mean_change([found])
    assert interval.low == pytest.approx(-2 / 12 - 1.959964 * found.error)


def test_changes_of_several_tasks_count_the_same() -> None:
    one, two = change(2, 0, 10), change(0, 1, 50)
    both = mean_change([one, two])
    assert both.value == pytest.approx((-0.2 + 0.02) / 2)
    half = 1.959964 * (one.error**2 + two.error**2) ** 0.5 / 2
    assert both.high - both.low == pytest.approx(2 * half)


@pytest.mark.parametrize("items", [10, 50, 200])
@pytest.mark.parametrize(("down", "up"), [(0.02, 0.0), (0.05, 0.03), (0.1, 0.1), (0.3, 0.05)])
def test_a_change_covers_the_truth(items: int, down: float, up: float) -> None:
    """Exact: every outcome of a trinomial, weighted by its probability."""
    covered = 0.0
    for lost in range(items + 1):
        for gained in range(items + 1 - lost):
            same = items - lost - gained
            ways = comb(items, lost) * comb(items - lost, gained)
            weight = ways * down**lost * up**gained * (1 - down - up) ** same
            found = mean_change([change(lost, gained, items)])
            covered += weight * (found.low <= up - down <= found.high)
    assert covered >= 0.93


def series(values: list[float], weights: list[float] | None = None) -> Series:
    means = np.asarray(values, dtype=np.float64)
    return Series(means, np.ones(len(means)) if weights is None else np.asarray(weights))


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 30))
def test_the_average_change_of_one_model_is_its_change(lost: int, gained: int, same: int) -> None:
    found = average_change([series([-1.0] * lost + [1.0] * gained + [0.0] * same)])
    exact = change(lost, gained, lost + gained + same)
    assert (found.value, found.center, found.error) == pytest.approx(
        (exact.value, exact.center, exact.error)
    )


def test_the_average_change_of_two_models_by_hand() -> None:
    # Items' averages -1, -1/2, 0, 0; with +1 and -1 added: mean -1.5 / 6 = -0.25, mean square
    # (1 + 1/4 + 2) / 6, variance 0.541667 - 0.0625, error sqrt(0.479167 / 6).
    found = average_change([series([-1, -1, 0, 0]), series([-1, 0, 0, 0])])
    assert found.value == -0.375
    assert found.center == pytest.approx(-0.25)
    assert found.error == pytest.approx((0.479167 / 6) ** 0.5, rel=1e-5)


def test_weights_count_items() -> None:
    # Weights of 3 and 1 are 1.5 and 0.5 of two items: -1.5 of them lost.
    assert average_change([series([-1, 0], [3, 1])]).value == pytest.approx(-0.75)
    assert average_change([series([-1, 0], [3, 1])]).center == pytest.approx(-1.5 / 4)


def test_two_items_are_added_to_a_mean_of_small_shifts() -> None:
    # By hand: 0.1 and 0 with 0.2 and -0.2 added; (0.01 + 0.08) / 4 - 0.025^2 over 4.
    found = mean_shift(np.array([0.1, 0.0]))
    half = 1.959964 * math.sqrt((0.09 / 4 - 0.025**2) / 4)
    assert found.value == pytest.approx(0.05)
    assert found.low == pytest.approx(0.025 - half)
    assert found.high == pytest.approx(0.025 + half)


def test_what_is_added_is_as_large_as_what_was_seen() -> None:
    found = mean_shift(np.array([-0.6, 0.0]))
    half = 1.959964 * math.sqrt((3 * 0.36 / 4 - 0.15**2) / 4)
    assert found.low == pytest.approx(-0.15 - half)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_limits_hold_the_mean_and_stay_possible(values: list[float]) -> None:
    found = mean_shift(np.array(values))
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_distances_to_limits_are_put_together_side_by_side() -> None:
    # By hand: sqrt(3^2 + 4^2) / 2 below, sqrt(1 + 0) / 2 above.
    found = mean_interval([Interval(10.0, 7.0, 11.0), Interval(20.0, 16.0, 20.0)])
    assert (found.value, found.low, found.high) == pytest.approx((15.0, 12.5, 15.5))
