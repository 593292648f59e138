"""Intervals over items and seeds: by hand, from a table of Student's t, and by simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.replicates import combine, replicate_covariance

Z = 1.959964


def around(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half)


def test_without_items_it_is_students_interval_of_the_replicates() -> None:
    # By hand: mean 2, standard deviation 1, error 1 / sqrt(3), two degrees of freedom: 4.3027.
    found = combine([around(1, 0), around(2, 0), around(3, 0)])
    assert found.value == 2
    assert found.high == pytest.approx(2 + 4.3027 / math.sqrt(3), abs=2e-4)


def test_replicates_that_do_not_differ_keep_their_interval() -> None:
    found = combine([Interval(0.5, 0.4, 0.7)] * 4)
    low, high = found.low, found.high
    assert (low, high) == (pytest.approx(0.4), pytest.approx(0.7))


def test_items_and_seeds_add_up() -> None:
    # Values -1, 0, 1: their mean has the variance 1/3. The items' own, shared by all three, is 1/3
    # too. By hand: Satterthwaite has 2 (2/3)^2 / (1/3)^2 = 8 degrees of freedom, t 2.3060, and
    # 2.3060 sqrt(2/3) = 1.8829; both sides apart, sqrt(1.96^2 / 3 + 4.3027^2 / 3) = 2.7297.
    error = math.sqrt(1 / 3)
    shared = np.full((3, 3), 1 / 3)
    found = combine([around(x, Z * error) for x in (-1.0, 0.0, 1.0)], shared)
    assert found.high == pytest.approx(2.7297, abs=2e-4)


def test_what_a_seed_changes_on_single_items_counts_once() -> None:
    # Two replicates whose errors over the items have the variances 0.01 and a covariance of 0.005:
    # the mean keeps 0.0075 of it, and 0.005 is each one's own. Values 0.1 and 0.3: variance of the
    # mean 0.02 / 2, of which 0.005 / 2 is in the first part already. So 0.0075 + 0.0075, and
    # (0.015 / 0.01)^2 = 2.25 degrees of freedom.
    covariance = np.array([[0.01, 0.005], [0.005, 0.01]])
    found = combine([around(0.1, Z * 0.1), around(0.3, Z * 0.1)], covariance)
    apart = math.sqrt(Z**2 * 0.0075 + 12.7062**2 * 0.0075)
    assert found.high - 0.2 == pytest.approx(apart, rel=1e-4)


def test_no_interval_without_those_of_the_replicates() -> None:
    found = combine([Interval(1.0, math.nan, math.nan), around(2.0, 0.1)])
    assert found.value == 1.5
    assert math.isnan(found.low)


def test_covariance_of_averages_by_hand() -> None:
    # Items (1, 0, 0, 0) and (0, 1, 0, 0): residuals 3/4 and -1/4. Squares add up to 3/4, products
    # to -1/4; times 4/3 for the degrees of freedom, over 4^2.
    series = [Series(np.eye(4)[row], np.ones(4)) for row in (0, 1)]
    found = replicate_covariance([series])
    assert found is not None
    assert found.tolist() == [
        [pytest.approx(0.0625), pytest.approx(-1 / 48)],
        [pytest.approx(-1 / 48), pytest.approx(0.0625)],
    ]
    both = replicate_covariance([series, series])  # the mean of two tasks: half of each
    assert both == pytest.approx(found / 2)


def test_other_items_have_no_covariance() -> None:
    long, short = (Series(np.arange(n, dtype=float), np.ones(n)) for n in (5, 4))
    assert replicate_covariance([[long, short]]) is None
    assert replicate_covariance([[short, short]], block=4) is None


@pytest.mark.parametrize(
    ("seeds", "items", "each"), [(0.0, 1.0, 0.0), (1.0, 0.5, 0.5), (0.0, 0.2, 1.0)]
)
def test_covers_the_truth(seeds: float, items: float, each: float) -> None:
    """Truth 0, by construction: seeds, items and what a seed does to an item are all random."""
    rng = np.random.default_rng(3)
    runs, n_replicates, n_items = 250, 4, 60
    covered = 0
    for _ in range(runs):
        common = rng.normal(0, items, n_items) * math.sqrt(n_items)
        own = rng.normal(0, each, (n_replicates, n_items)) * math.sqrt(n_items)
        measured = rng.normal(0, seeds, (n_replicates, 1)) + common + own
        series = [Series(row, np.ones(n_items)) for row in measured]
        intervals = [
            around(float(row.mean()), Z * float(row.std(ddof=1)) / math.sqrt(n_items))
            for row in measured
        ]
        found = combine(intervals, replicate_covariance([series]))
        covered += found.low <= 0 <= found.high
    assert 0.91 <= covered / runs <= 0.99  # 95 % give or take three of its own errors
