"""Rankings of means that are measured with error.

Oracles: normal distributions, for which the probability that one mean is the larger is known; the
frequency with which intervals hold a ratio that was put in; and sums done by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest

from bitloss.errors import NumericalError
from bitloss.metrics.intervals import Interval, Series, bootstrap
from bitloss.metrics.ranking import (
    LogMean,
    log_means,
    mean_of,
    mean_with_limits,
    normal_draws,
    probability_largest,
    ratio,
)

DRAWS = 40_000


def largest(values: Sequence[LogMean], *, above: float = -math.inf) -> list[float]:
    return probability_largest([one.draws for one in values], above=above)


def normal(value: float, error: float, seed: int) -> LogMean:
    return LogMean(value, np.random.default_rng(seed).normal(value, error, DRAWS))


def series(values: list[float] | np.ndarray, weights: list[float] | None = None) -> Series:
    means = np.asarray(values, dtype=np.float64)
    return Series(means, np.ones(len(means)) if weights is None else np.asarray(weights))


def one(values: list[float] | np.ndarray, seed: int = 0, resamples: int = 4000) -> LogMean:
    return log_means([{"v": series(values)}], seed=seed, resamples=resamples)["v"]


@pytest.mark.parametrize("difference", [-0.3, 0.0, 0.1, 0.25])
def test_probability_of_two_is_that_of_normal_distributions(difference: float) -> None:
    # P(X > Y) of independent X ~ N(d, 0.1), Y ~ N(0, 0.2) is Phi(d / sqrt(0.01 + 0.04)).
    exact = NormalDist().cdf(difference / math.sqrt(0.05))
    found = largest([normal(difference, 0.1, 1), normal(0.0, 0.2, 2)])
    assert found[0] == pytest.approx(exact, abs=0.01)
    assert sum(found) == pytest.approx(1)


def test_equals_share_the_probability() -> None:
    same = LogMean(0.0, np.zeros(10))
    assert largest([same, LogMean(0.0, np.zeros(10))]) == [0.5, 0.5]
    assert largest([]) == []


def test_what_is_not_above_the_floor_is_not_the_largest() -> None:
    # P(N(0, 1) > 1) = 15.9 %.
    (found,) = largest([normal(0.0, 1.0, 3)], above=1.0)
    assert found == pytest.approx(NormalDist().cdf(-1), abs=0.01)


def test_limits_of_a_ratio_are_those_of_normal_distributions() -> None:
    # Lognormal means: log ratio N(ln 3, 0.05): limits 3 exp(-+1.96 sqrt(0.05)).
    found = ratio(normal(math.log(3), 0.1, 4), normal(0.0, 0.2, 5))
    half = 1.959964 * math.sqrt(0.05)
    assert found.value == pytest.approx(3)
    assert found.low == pytest.approx(3 * math.exp(-half), rel=0.02)
    assert found.high == pytest.approx(3 * math.exp(half), rel=0.02)


def test_limits_of_one_mean_are_about_the_bootstraps() -> None:
    values = np.random.default_rng(0).lognormal(0, 0.5, 200)
    found = mean_with_limits(one(values))
    beside = bootstrap({"v": series(values)}, seed=1, block=1)["v"]
    assert found.value == pytest.approx(beside.value)
    assert found.low == pytest.approx(beside.low, rel=0.01)
    assert found.high == pytest.approx(beside.high, rel=0.01)


def test_means_are_weighted_and_tasks_count_the_same() -> None:
    # By hand: (1*3 + 4*1) / 4 = 1.75 and 5, whose mean is 3.375.
    first = {"v": series([1.0, 4.0], [3.0, 1.0])}
    second = {"v": series([5.0, 5.0, 5.0])}
    assert log_means([first, second], seed=0)["v"].value == pytest.approx(math.log(3.375))


def test_variants_of_the_same_items_are_drawn_alike() -> None:
    values = np.random.default_rng(2).lognormal(size=40)
    found = log_means([{"a": series(values), "b": series(3 * values)}], seed=0)
    np.testing.assert_allclose(found["b"].draws - found["a"].draws, math.log(3), atol=1e-9)
    # So their mean is as uncertain as each, not less by a root of two.
    together = mean_of([found["a"], found["b"]])
    assert together.draws.std() == pytest.approx(found["a"].draws.std())


def test_the_same_seed_gives_the_same_draws() -> None:
    values = np.random.default_rng(3).lognormal(size=30)
    np.testing.assert_array_equal(one(values).draws, one(values).draws)
    assert not np.array_equal(one(values).draws, one(values, seed=1).draws)


def test_one_item_says_nothing_of_the_error() -> None:
    known, unknown = one(np.linspace(1, 2, 50)), one([100.0], seed=1)
    assert largest([known, unknown]) == pytest.approx([0.5, 0.5], abs=0.03)
    assert ratio(unknown, known).value == pytest.approx(100 / 1.5)
    assert math.isnan(ratio(unknown, known).low)


@pytest.mark.parametrize(("n", "quantile"), [(2, 12.706), (3, 4.303), (4, 3.182)])
def test_few_items_take_students_t(n: int, quantile: float) -> None:
    # Oracle: printed 97.5 % quantiles of Student's t; delta method on the log scale.
    values = np.linspace(9, 11, n)
    found = one(values, resamples=DRAWS)
    error = values.std(ddof=1) / math.sqrt(n) / values.mean()
    assert np.quantile(found.draws, 0.975) - found.value == pytest.approx(
        quantile * error, rel=0.08
    )


def test_equal_items_have_no_error() -> None:
    found = mean_with_limits(one([0.1] * 30))
    assert (found.low, found.value, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_zero_has_no_logarithm() -> None:
    nothing, something = one([0.0] * 20), one([1.0] * 20, seed=1)
    assert nothing.value == -math.inf
    assert ratio(nothing, something).value == 0
    assert math.isnan(ratio(something, nothing).value)
    assert largest([nothing, something]) == [0.0, 1.0]


def test_mostly_zero_items_have_finite_draws() -> None:
    # A resample without the one item that differs has a mean of zero.
    found = one([0.0] * 19 + [1.0])
    assert np.isfinite(found.draws).all()


def test_beside_itself_it_is_exactly_one() -> None:
    found = one([1.0, 2.0, 5.0])
    assert ratio(found, found).low == ratio(found, found).high == 1


def test_no_number_is_no_loss() -> None:
    with pytest.raises(NumericalError, match="not a finite number"):
        one([1.0, math.nan])


def simulated(rng: np.random.Generator, true: float, runs: int, n: int, seed: int) -> list[LogMean]:
    """Measurements of one true mean, each by other items, all with the same resamples."""
    values = {str(run): series(true * rng.lognormal(-0.5, 1.0, n)) for run in range(runs)}
    return list(log_means([values], seed=seed, resamples=1000).values())


@pytest.mark.parametrize("n", [20, 80])
def test_intervals_of_ratios_cover_what_was_put_in(n: int) -> None:
    # Oracle: frequency in 400 simulated pairs of tasks whose true ratio is 2; 95 % nominal.
    rng = np.random.default_rng(n)
    pairs = zip(simulated(rng, 2, 400, n, 1), simulated(rng, 1, 400, n, 2), strict=True)
    found = [ratio(a, b) for a, b in pairs]
    held = np.mean([one.low <= 2 <= one.high for one in found])
    assert 0.91 <= held <= 0.98


def test_equal_losses_are_seldom_called_the_worst() -> None:
    # Oracle: of three that are truly equal, one is called the worst in about 5 % of runs.
    rng = np.random.default_rng(7)
    runs = zip(*(simulated(rng, 1, 400, 40, seed) for seed in range(3)), strict=True)
    claims = np.mean([max(largest(run)) >= 0.95 for run in runs])
    assert claims <= 0.08


def test_a_loss_that_is_larger_is_found() -> None:
    # Oracle: the truth that was put in: 1.8 times the others', 100 items, log sd 1.
    rng = np.random.default_rng(8)
    runs = zip(*(simulated(rng, t, 100, 100, i) for i, t in enumerate((1.8, 1, 1))), strict=True)
    found = np.array([largest(run) for run in runs])
    assert np.mean(found[:, 0] >= 0.95) >= 0.8
    assert (found[:, 1:] < 0.95).all()


def test_normal_draws_are_those_of_the_interval() -> None:
    # 95 % of N(0.2, 0.1) lies within 0.2 -+ 0.195996.
    draws = normal_draws(Interval(0.3, 0.2 - 0.195996, 0.2 + 0.195996), seed=1)
    assert draws.mean() == pytest.approx(0.2, abs=0.005)
    assert draws.std() == pytest.approx(0.1, abs=0.004)


def test_draws_without_limits_may_be_anything() -> None:
    draws = normal_draws(Interval(0.3, math.nan, math.nan), seed=1)
    assert set(draws) == {-math.inf, math.inf}
    assert (draws > 0).mean() == pytest.approx(0.5, abs=0.03)
