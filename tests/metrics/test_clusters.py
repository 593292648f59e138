"""Clusters of items. Oracles: hand computations, enumeration of all signs, the forms for items that
stand alone."""

from __future__ import annotations

import math
from dataclasses import astuple
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.metrics.ability import TaskScores, guessing_p_value
from bitloss.metrics.clusters import Clusters, clusters_of, joined, sign_flip, strata_of
from bitloss.metrics.intervals import LEVEL, Series, bootstrap
from bitloss.metrics.paired import (
    average_change,
    change,
    clustered_change,
    clustered_share,
    mcnemar,
    mean_change,
    mean_interval,
    mean_shift,
    share,
)
from bitloss.metrics.student import student_quantile
from bitloss.metrics.unseen import with_unseen

PAIRS = Clusters.of(["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"])


def names(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


def test_items_with_one_name_belong_together() -> None:
    found = Clusters.of(["x", "y", "x", "z"])
    assert found.names.tolist() == ["x", "y", "z"]
    assert found.codes.tolist() == [0, 1, 0, 2]
    assert found.sizes.tolist() == [2, 1, 1]
    assert found.sums(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [4, 2, 4]
    assert clusters_of(names("x", "y")) is None
    assert clusters_of(names("x", "x")) is not None


def test_tasks_about_the_same_items_have_clusters_though_each_alone_has_none() -> None:
    assert strata_of([names("a", "b"), names("c", "d")]) == [None, None]
    apart = strata_of([names("a", "a"), names("c", "d")])
    assert apart[0] is not None
    assert apart[1] is None
    assert None not in strata_of([names("a", "b"), names("b", "c")])


def test_merged_series_have_the_same_average() -> None:
    series = Series(np.arange(10.0), np.arange(1.0, 11.0), bounds=(0.0, 9.0))
    merged = PAIRS.merge(series)
    assert merged.weights.tolist() == [3, 7, 11, 15, 19]
    assert merged.means[0] == pytest.approx((0 * 1 + 1 * 2) / 3)
    assert merged.bounds == (0.0, 9.0)
    assert np.average(merged.means, weights=merged.weights) == pytest.approx(
        np.average(series.means, weights=series.weights)
    )


def test_too_few_clusters_have_an_average_and_no_interval() -> None:
    four = Clusters.of(["a", "a", "b", "c", "d"])
    series = Series(np.array([1.0, 0.0, 1.0, 1.0, 0.0]), np.ones(5))
    found = bootstrap({"x": four.merge(series)}, seed=0, block=1)["x"]
    assert found.value == pytest.approx(0.6)
    for interval in (
        found,
        mean_change([clustered_change(series.means, four)]),
        clustered_share(series.means, four),
        mean_shift(series.means, four),
    ):
        assert interval.value == pytest.approx(0.6)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


def test_joined_tasks_count_the_same() -> None:
    one, two = Series(np.ones(2), np.ones(2)), Series(np.zeros(8), np.ones(8))
    both = joined([one, two])
    assert np.average(both.means, weights=both.weights) == pytest.approx(0.5)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=6, max_size=60))
def test_clusters_of_one_are_items_but_for_students_quantile(differences: list[float]) -> None:
    d = np.array(differences)
    alone = Clusters.of(list(range(len(d))))
    one, other = clustered_change(d, alone), change(int((d < 0).sum()), int((d > 0).sum()), len(d))
    assert (one.value, one.center, one.error) == pytest.approx(
        (other.value, other.center, other.error), abs=1e-12
    )
    same = average_change([Series(d, np.ones(len(d)))], alone)
    assert same.error == pytest.approx(one.error)
    t = student_quantile(LEVEL, len(d) - 1)
    wider = mean_change([one], bounds=(-9.0, 9.0))
    assert wider.high - wider.low == pytest.approx(2 * t * other.error)
    shift, known = mean_shift(d / 2, alone, bounds=(-9, 9)), mean_shift(d / 2, bounds=(-9, 9))
    assert (shift.high - shift.low) / (known.high - known.low) == pytest.approx(t / 1.959964)


def test_the_error_of_pairs_by_hand() -> None:
    # Sums of pairs -2, -1, 0, 0, 1 are -1, -0.5, 0, 0, 0.5 of a pair; two pairs are added that
    # change as sqrt(2) items of 2 do. Their mean is -1 / 7.
    d = np.array([-1, -1, -1, 0, 0, 0, 1, -1, 1, 0], dtype=float)
    found = clustered_change(d, PAIRS)
    values = [-1, -0.5, 0, 0, 0.5, math.sqrt(2) / 2, -math.sqrt(2) / 2]
    assert found.value == pytest.approx(-0.2)
    assert found.center == pytest.approx(-1 / 7)
    assert found.error == pytest.approx(np.std(values) / math.sqrt(7))
    assert found.freedom == 4


def test_groups_of_clusters_of_other_sizes_are_a_ratio() -> None:
    # All lost alike. With two clusters more that did not change, the mean of eight is -3 / 8; from
    # it a cluster of size v is off by v / 1.5 times an eighth, 1.5 being the mean size.
    clusters = Clusters.of(["a", "b", "b", "c", "c", "c", "d", "e", "f"])
    found = clustered_change(np.full(9, -0.5), clusters, largest=0.0)
    assert found.value == -0.5
    squares = (1 + 4 + 9 + 1 + 1 + 1) * (0.125 / 1.5) ** 2 + 2 * 0.375**2
    assert found.error == pytest.approx(math.sqrt(squares) / 8)


def test_shares_of_clusters() -> None:
    scores = np.array([1, 1, 1, 1, 0, 0, 1, 1, 0, 0], dtype=float)
    # All of a pair are alike: the ten items are worth five, less one for the mean.
    t = student_quantile(LEVEL, 4)
    assert astuple(clustered_share(scores, PAIRS)) == wilson(0.6, t, worth=4.0)
    # Where none or all are right, pairs count once.
    assert astuple(clustered_share(np.zeros(10), PAIRS)) == wilson(0.0, t, worth=5.0)
    apart = np.array([1, 0] * 5, dtype=float)  # no pair differs from another
    assert astuple(clustered_share(apart, PAIRS)) == wilson(0.5, t, worth=10.0)
    wide, narrow = clustered_share(scores, PAIRS), share(6, 10)
    assert wide.low < narrow.low
    assert narrow.high < wide.high


def wilson(p: float, t: float, *, worth: float) -> tuple[float, float, float]:
    """Wilson's interval: the roots of (p - x)^2 = t^2 x (1 - x) / worth."""
    z = t * t / worth
    low, high = sorted(np.roots([1 + z, -(2 * p + z), p * p]).real)
    return pytest.approx((p, low, high), abs=1e-9)


def test_tasks_with_clusters_in_common_err_together() -> None:
    d = np.array([-1, 0, 0, 1, -1, 0, 0, 0, -1, 0], dtype=float)
    one, twin = clustered_change(d, PAIRS), clustered_change(d, PAIRS)
    other = clustered_change(d, Clusters.of([f"x{n}" for n in PAIRS.codes]))
    alone = mean_change([one])
    together, apart = mean_change([one, twin]), mean_change([one, other])
    assert apart.high - apart.low < 0.85 * (alone.high - alone.low)
    # The same items twice know hardly more than once: only the added clusters are independent.
    assert together.high - together.low > apart.high - apart.low
    assert together.value == alone.value


def test_dependent_intervals_add_up() -> None:
    one = mean_shift(np.array([0.1, -0.2, 0.0, 0.3]))
    twice = mean_interval([one, one], dependent=True)
    assert (twice.value, twice.low, twice.high) == pytest.approx((one.value, one.low, one.high))
    assert mean_interval([one, one]).high < one.high


@given(st.lists(st.integers(-4, 4), max_size=10))
def test_sign_flips_are_counted(sums: list[int]) -> None:
    signs = list(product((-1, 1), repeat=len(sums)))
    least = abs(sum(sums))
    reached = [abs(sum(s * u for s, u in zip(one, sums, strict=True))) >= least for one in signs]
    assert sign_flip(np.array(sums, dtype=np.int64)) == pytest.approx(np.mean(reached))


@given(st.integers(0, 30), st.integers(0, 30))
def test_with_one_item_in_each_sign_flips_are_mcnemars(lost: int, gained: int) -> None:
    sums = np.array([-1] * lost + [1] * gained + [0] * 5)
    assert sign_flip(sums) == pytest.approx(mcnemar(lost, gained), rel=1e-9)


def test_flips_of_groups_are_not_significant_if_items_alone_would_be() -> None:
    # Two groups of five that are lost say as much as two items.
    assert mcnemar(10, 0) < 0.01
    assert sign_flip(np.array([-5, -5, 0, 0])) == 0.5


def intervals_hold(make, true: float, draw, runs: int = 300) -> float:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(runs):
        found = make(draw(rng))
        held += found.low <= true <= found.high
    return held / runs


def groups_of_five(rng: np.random.Generator, count: int, lost: float, gained: float) -> np.ndarray:
    """Flips that correlate 0.6 within groups: an item does as its group with sqrt(0.6)."""
    rates = [lost, gained, 1 - lost - gained]
    group = rng.choice([-1.0, 1.0, 0.0], size=(count, 1), p=rates)
    own = rng.choice([-1.0, 1.0, 0.0], size=(count, 5), p=rates)
    return np.where(rng.random((count, 5)) < math.sqrt(0.6), group, own).ravel()


@pytest.mark.parametrize("count", [10, 40])
def test_intervals_hold_where_flips_correlate(count: int) -> None:
    groups = Clusters.of(np.repeat(np.arange(count), 5).tolist())
    share_held = intervals_hold(
        lambda d: mean_change([clustered_change(d, groups)]),
        -0.06,
        lambda rng: groups_of_five(rng, count, 0.1, 0.04),
    )
    assert share_held >= 0.93
    blind = intervals_hold(
        lambda d: mean_change([change(int((d < 0).sum()), int((d > 0).sum()), len(d))]),
        -0.06,
        lambda rng: groups_of_five(rng, count, 0.1, 0.04),
    )
    assert blind < 0.85


def test_guessing_in_clusters_is_not_ability() -> None:
    # Five groups of twenty that are right together: 3 of 5 guesses at chance 0.5, not 60 of 100.
    scores = np.repeat([1.0, 1.0, 1.0, 0.0, 0.0], 20)
    alone = TaskScores(scores, np.ones(100), 0.5)
    groups = TaskScores(scores, np.ones(100), 0.5, Clusters.of(np.repeat(range(5), 20).tolist()))
    assert guessing_p_value([alone]) < 0.05
    assert guessing_p_value([groups]) > 0.2
    few = TaskScores(scores, np.ones(100), 0.5, Clusters.of([0] * 60 + [1] * 40))
    assert guessing_p_value([few]) == 0.5


def test_room_for_an_answer_that_was_not_drawn() -> None:
    changes = np.full(9, 0.01)
    series = Series(changes, np.ones(9), bounds=(0.0, 1.0))
    found = with_unseen(bootstrap({"x": series}, seed=0, block=1)["x"], series)
    # By hand: nine of 0.01 and one of 0.1 have a mean of 0.019 and a deviation of 0.027.
    assert found.high == pytest.approx(0.019 + 1.959964 * 0.027 / math.sqrt(10))
    assert (found.low, found.value) == (0.01, pytest.approx(0.01))


def test_a_copy_and_a_single_answer_get_no_room() -> None:
    nothing = Series(np.zeros(9), np.ones(9), bounds=(0.0, 1.0))
    zero = bootstrap({"x": nothing}, seed=0, block=1)["x"]
    assert with_unseen(zero, nothing) == zero
    single = Series(np.array([0.5]), np.ones(1), bounds=(0.0, 1.0))
    assert math.isnan(with_unseen(bootstrap({"x": single}, seed=0)["x"], single).high)
