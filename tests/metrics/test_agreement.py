"""Agreement statistics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitloss.errors import NumericalError
from bitloss.metrics.agreement import mean_delta_p, rms_delta_p, top1_agreement
from bitloss.metrics.intervals import bootstrap

WINDOW = np.array([0, 0, 1, 2, 2, 3], dtype=np.int32)


def test_top1_counts_tokens() -> None:
    same = np.array([True, True, False, True, True, False])
    found = bootstrap({"x": top1_agreement(same, WINDOW)}, seed=0)["x"]
    assert found.value == pytest.approx(4 / 6)
    assert 0.0 <= found.low <= found.high <= 1.0


def test_full_agreement_is_exact() -> None:
    found = bootstrap({"x": top1_agreement(np.ones(6, np.bool_), WINDOW)}, seed=0)["x"]
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_delta_p_by_hand() -> None:
    delta = np.array([0.5, -0.5, 0.0, 0.5, 0.0, 0.5], dtype=np.float32)
    found = bootstrap(
        {"mean": mean_delta_p(delta, WINDOW), "rms": rms_delta_p(delta, WINDOW)}, seed=0
    )
    assert found["mean"].value == pytest.approx(1 / 6)
    assert found["rms"].value == pytest.approx(math.sqrt(1 / 6))
    assert found["rms"].low >= 0.0


def test_nan_is_an_error() -> None:
    delta = np.array([0.5, math.nan, 0.0, 0.5, 0.0, 0.5], dtype=np.float32)
    for series in (mean_delta_p, rms_delta_p):
        with pytest.raises(NumericalError, match="1 of 6"):
            series(delta, WINDOW)
