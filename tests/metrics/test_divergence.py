"""Divergence statistics by hand and by their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitloss.errors import NumericalError
from bitloss.metrics.divergence import (
    mean_divergence,
    mean_entropy,
    mean_perplexity,
    percentiles,
    relative_perplexity,
)
from bitloss.metrics.intervals import Series, bootstrap

WINDOW = np.array([0, 0, 0, 1], dtype=np.int32)


def value(series: Series) -> float:
    return bootstrap({"x": series}, seed=0, resamples=50)["x"].value


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_relative_perplexity_by_hand() -> None:
    reference, variant = f32(1, 1, 1, 1), f32(1.5, 1.5, 1.5, 2)
    # Differences .5 .5 .5 1: over tokens 2.5 / 4, over windows (.5 + 1) / 2, weighted by
    # valid - 1 = (2, 6): (2 * .5 + 6 * 1) / 8.
    for averaging, valid, expected in (
        ("tokens", (), 0.625),
        ("windows", (), 0.75),
        ("windows-by-valid-minus-one", (3, 7), 0.875),
    ):
        series = relative_perplexity(reference, variant, WINDOW, averaging, valid)
        assert value(series) == pytest.approx(math.exp(expected), rel=1e-12)


def test_relative_perplexity_is_the_ratio_of_perplexities() -> None:
    rng = np.random.default_rng(0)
    window = np.repeat(np.arange(5, dtype=np.int32), 7)
    reference, variant = (rng.gamma(2.0, 1.0, 35).astype(np.float32) for _ in range(2))
    ratio = value(mean_perplexity(variant, window, "windows")) / value(
        mean_perplexity(reference, window, "windows")
    )
    found = value(relative_perplexity(reference, variant, window, "windows"))
    assert found == pytest.approx(ratio, rel=1e-12)


@given(hnp.arrays(np.float32, 12, elements=st.floats(0.0, 30.0, width=32)))
def test_identical_losses_are_exactly_one(nll: np.ndarray) -> None:
    window = np.repeat(np.arange(6, dtype=np.int32), 2)
    found = bootstrap({"x": relative_perplexity(nll, nll, window, "tokens")}, seed=0)["x"]
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_identical_distributions_are_exactly_zero() -> None:
    window = np.repeat(np.arange(20, dtype=np.int32), 3)
    found = bootstrap({"x": mean_divergence(np.zeros(60, np.float32), window)}, seed=0)["x"]
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_divergence_and_entropy_weight_tokens() -> None:
    assert value(mean_divergence(f32(0, 0, 0, 1), WINDOW)) == 0.25
    assert value(mean_entropy(f32(1, 1, 1, 5), WINDOW)) == 2.0


def test_divergence_is_not_given_a_negative_limit() -> None:
    window = np.arange(4, dtype=np.int32)
    found = bootstrap({"x": mean_divergence(f32(0.0, 0.0, 0.0, 1.0), window)}, seed=0)["x"]
    assert found.low == 0.0
    negative = bootstrap({"x": mean_divergence(f32(-1e-8, 0, 0, 0), window)}, seed=0)["x"]
    assert negative.value == pytest.approx(-2.5e-9)
    assert negative.low <= negative.value <= negative.high


def test_percentiles_by_hand() -> None:
    # 0..1000: linear interpolation puts percentile p at 10 p exactly.
    found = percentiles(np.arange(1001, dtype=np.float32))
    assert (found.p50, found.p90, found.p99, found.p999, found.max) == pytest.approx(
        (500.0, 900.0, 990.0, 999.0, 1000.0)
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_values_are_errors(bad: float) -> None:
    with pytest.raises(NumericalError, match="finite"):
        percentiles(f32(0.0, bad))
    with pytest.raises(NumericalError, match=r"finite|NaN"):
        value(mean_divergence(f32(0, 0, bad, 0), WINDOW))
    with pytest.raises(NumericalError, match=r"finite|NaN"):
        value(relative_perplexity(f32(0, 0, bad, 0), f32(0, 0, bad, 0), WINDOW, "tokens"))
    with pytest.raises(NumericalError, match="finite"):
        percentiles(f32())
