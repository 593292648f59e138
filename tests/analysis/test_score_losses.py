"""Which score fell most. Oracles: hand computations, and normal distributions."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from bitloss.analysis.score_losses import TaskChanges, loss_together, probabilities_worst
from bitloss.metrics.intervals import Series
from bitloss.metrics.paired import change, mean_change
from bitloss.results import Estimate


def flips(lost: int, gained: int, n: int = 50) -> Series:
    means = np.repeat([-1.0, 1.0, 0.0], [lost, gained, n - lost - gained])
    return Series(means, np.ones(n))


def task(**items: Series) -> TaskChanges:
    return TaskChanges(items, expected=False)


def test_of_one_variant_it_is_the_loss_that_its_own_interval_has() -> None:
    found = loss_together([task(a=flips(10, 2)), task(a=flips(5, 0))], ["a"])
    exact = mean_change([change(10, 2, 50), change(5, 0, 50)])
    assert (found.value, found.low, found.high) == pytest.approx(
        (-exact.value, -exact.high, -exact.low)
    )
    assert found.value == pytest.approx((8 / 50 + 5 / 50) / 2)


def test_variants_that_lose_other_items_are_surer_together() -> None:
    apart = [task(a=flips(10, 0), b=Series(flips(10, 0).means[::-1].copy(), np.ones(50)))]
    alike = [task(a=flips(10, 0), b=flips(10, 0))]
    one, other = (loss_together(tasks, ["a", "b"]) for tasks in (apart, alike))
    assert one.value == other.value == pytest.approx(0.2)
    assert one.low is not None
    assert other.low is not None
    assert one.low > other.low


def test_no_flip_among_fifty_items_does_not_prove_that_nothing_is_lost() -> None:
    # Bonett and Price: 2 / 52 items flip, error sqrt((2 / 52) / 52) = 0.0272.
    found = loss_together([task(a=flips(0, 0), b=flips(0, 0))], ["a", "b"])
    assert found.value == 0
    assert (found.low, found.high) == pytest.approx((-0.0533, 0.0533), abs=1e-4)


def test_expected_scores_are_averaged_over_variants_and_keep_their_own_interval() -> None:
    # Every item loses 0.1 and 0.3; two that were not drawn, of 0.2 to either side, are added.
    series = {name: Series(np.full(50, -x), np.ones(50)) for name, x in (("a", 0.1), ("b", 0.3))}
    found = loss_together([TaskChanges(series, expected=True)], ["a", "b"])
    center = 0.2 * 50 / 52
    error = math.sqrt(((50 * 0.2**2 + 2 * 0.2**2) / 52 - center**2) / 52)
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(center - 1.959964 * error)
    # With a task that has none, each task's interval goes into the mean.
    both = [TaskChanges(series, expected=True), task(a=flips(10, 0), b=flips(10, 0))]
    assert loss_together(both, ["a", "b"]).value == pytest.approx(0.2)


def loss(center: float, error: float) -> Estimate:
    return Estimate(value=center, low=center - 1.959964 * error, high=center + 1.959964 * error)


def test_the_probability_of_two_is_that_of_normal_distributions() -> None:
    found = probabilities_worst({"math": loss(0.5, 0.03), "code": loss(0.47, 0.04)}, seed=0)
    # P(X > Y) = Phi(0.03 / 0.05); neither is anywhere near zero.
    assert found["math"] == pytest.approx(NormalDist().cdf(0.6), abs=0.02)
    assert sum(found.values()) == pytest.approx(1)


def test_what_did_not_fall_suffers_nothing() -> None:
    found = probabilities_worst({"math": loss(0.0, 0.03), "code": loss(-0.5, 0.04)}, seed=0)
    assert found["math"] == pytest.approx(0.5, abs=0.02)  # P(X > 0)
    assert found["code"] == 0


def test_without_limits_nothing_is_sure() -> None:
    unknown = Estimate(value=0.1, low=None, high=None)
    found = probabilities_worst({"math": loss(0.5, 0.01), "code": unknown}, seed=0)
    assert math.isclose(found["math"], 0.5, abs_tol=0.03)
