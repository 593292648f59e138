"""Small values of results. Oracle: numbers by hand."""

from __future__ import annotations

import math

import pytest

from bitloss.metrics.intervals import Interval
from bitloss.results import Estimate, KLDivergence, ProtocolUsed


def estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high)


def test_bounds_that_do_not_exist_are_null() -> None:
    assert Estimate.of(Interval(1.5, 1.0, 2.0)) == estimate(1.5, 1.0, 2.0)
    assert Estimate.of(Interval(1.5, math.nan, math.nan)) == estimate(1.5, None, None)


def test_negated_swaps_the_bounds_and_has_no_negative_zero() -> None:
    assert estimate(-0.02, -0.05, 0.01).negated() == estimate(0.02, -0.01, 0.05)
    zero = estimate(0.0, None, 0.0).negated()
    assert math.copysign(1.0, zero.value or 0.0) == math.copysign(1.0, zero.low or 0.0) == 1.0
    assert zero.high is None


@pytest.mark.parametrize(
    ("low", "high", "excludes"),
    [
        (0.01, 0.05, True),
        (-0.05, -0.01, True),
        (-0.01, 0.05, False),
        (0.0, 0.05, False),
        (None, 0.05, False),
        (None, None, False),
    ],
)
def test_intervals_that_exclude_zero(low: float | None, high: float | None, excludes: bool) -> None:
    assert estimate(0.02, low, high).excludes_zero is excludes


def test_mean_divergence_as_an_estimate() -> None:
    found = KLDivergence(mean=0.3, low=0.2, high=0.4, p50=0, p90=0, p99=0, p999=0, max=1)
    assert found.estimate == estimate(0.3, 0.2, 0.4)


def test_protocol_in_words() -> None:
    parameters = {"max_length": 1024, "stride": 512}
    assert str(ProtocolUsed(name="strided", parameters=parameters)) == (
        "strided (max_length 1024, stride 512)"
    )
    assert str(ProtocolUsed(name="gptq", parameters={})) == "gptq"
