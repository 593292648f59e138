"""Which of several quantities is the largest.

Oracle: normal distributions, for which the probability that one is the larger is known.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from bitloss.metrics.intervals import Interval
from bitloss.metrics.ranking import normal_draws, probability_largest
from bitloss.types import FloatArray

DRAWS = 40_000


def normal(value: float, error: float, seed: int) -> FloatArray:
    return np.random.default_rng(seed).normal(value, error, DRAWS)


@pytest.mark.parametrize("difference", [-0.3, 0.0, 0.1, 0.25])
def test_probability_of_two_is_that_of_normal_distributions(difference: float) -> None:
    # P(X > Y) of independent X ~ N(d, 0.1), Y ~ N(0, 0.2) is Phi(d / sqrt(0.01 + 0.04)).
    exact = NormalDist().cdf(difference / math.sqrt(0.05))
    found = probability_largest([normal(difference, 0.1, 1), normal(0.0, 0.2, 2)])
    assert found[0] == pytest.approx(exact, abs=0.01)
    assert sum(found) == pytest.approx(1)


def test_equals_share_the_probability() -> None:
    assert probability_largest([np.zeros(10), np.zeros(10)]) == [0.5, 0.5]
    assert probability_largest([]) == []


def test_what_is_not_above_the_floor_is_not_the_largest() -> None:
    # P(N(0, 1) > 1) = 15.9 %.
    (found,) = probability_largest([normal(0.0, 1.0, 3)], above=1.0)
    assert found == pytest.approx(NormalDist().cdf(-1), abs=0.01)


def test_normal_draws_are_those_of_the_interval() -> None:
    # 95 % of N(0.2, 0.1) lies within 0.2 -+ 0.195996.
    draws = normal_draws(Interval(0.3, 0.2 - 0.195996, 0.2 + 0.195996), seed=1)
    assert draws.mean() == pytest.approx(0.2, abs=0.005)
    assert draws.std() == pytest.approx(0.1, abs=0.004)


def test_draws_without_limits_may_be_anything() -> None:
    draws = normal_draws(Interval(0.3, math.nan, math.nan), seed=1)
    assert set(draws) == {-math.inf, math.inf}
    assert (draws > 0).mean() == pytest.approx(0.5, abs=0.03)
