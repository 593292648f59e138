"""Agreement statistics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitloss.errors import NumericalError
from bitloss.metrics.agreement import mean_delta_p, mean_overlap, rms_delta_p, top1_agreement
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


def test_overlap_by_hand() -> None:
    # p = (.5, .3, .2) and q = (.4, .1, .5) have .4 + .1 + .2 in common.
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.1, 0.5])
    both = float(np.minimum(p, q).sum())
    assert both == pytest.approx(0.7)
    overlap = np.array([1, both, 1, both, 1, 1], dtype=np.float32)
    found = bootstrap({"x": mean_overlap(overlap, WINDOW)}, seed=0)["x"]
    assert found.value == pytest.approx((4 + 2 * 0.7) / 6)
    assert 0.0 <= found.low <= found.high <= 1.0


def test_the_overlap_of_a_copy_is_exactly_one() -> None:
    found = bootstrap({"x": mean_overlap(np.ones(6, np.float32), WINDOW)}, seed=0)["x"]
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_overlap_is_the_share_of_draws_that_agree_at_best() -> None:
    # Maximal coupling: with probability sum min(p, q) both take the same token from min(p, q).
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), 2)
    shared = np.minimum(p, q)
    overlap, n = shared.sum(), 20_000
    agree = rng.random(n) < overlap
    common = rng.choice(5, n, p=shared / overlap)
    ours = np.where(agree, common, rng.choice(5, n, p=(p - shared) / (1 - overlap)))
    theirs = np.where(agree, common, rng.choice(5, n, p=(q - shared) / (1 - overlap)))
    # Both still have their own distribution, and they agree as often as the overlap says.
    for drawn, wanted in ((ours, p), (theirs, q)):
        assert np.bincount(drawn, minlength=5) / n == pytest.approx(wanted, abs=0.02)
    assert (ours == theirs).mean() == pytest.approx(overlap, abs=0.02)


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
