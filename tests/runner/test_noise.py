"""Oracles: the rules by hand, and float32 scores computed without them."""

from __future__ import annotations

import numpy as np
import pytest

from bitloss.metrics.sequential import ConfidenceSequence
from bitloss.results.manifest import MeasuredFloor
from bitloss.runner import RunStore, noise
from bitloss.runner.noise import (
    floor_effects,
    growing_looks,
    is_near_floor,
    measure_floor,
    settled_divergence,
)
from peers.scoring import dense_scorer, score


def test_the_floor_is_the_references_own_rounding(tmp_path, models, windows):
    store = RunStore(tmp_path)
    floors = {
        arithmetic: measure_floor(dense_scorer(store, models, arithmetic), store, windows)
        for arithmetic in ("bf16", "fp32")
    }
    # bf16 keeps 8 bits of a number, float32 keeps 24: squared, some 2**32 between the floors.
    assert floors["bf16"].kl_divergence > 1e-6
    assert floors["fp32"].kl_divergence < 1e-3 * floors["bf16"].kl_divergence
    for arithmetic, floor in floors.items():
        assert floor.dtype == arithmetic
        assert floor.n_scored == sum(window.n_scored for window in windows)
        columns = store.read_records(floor.records, ("kl_divergence",))
        assert len(columns["kl_divergence"]) == floor.n_scored


def test_the_floor_needs_no_more_than_the_first_tokens(tmp_path, models, windows, monkeypatch):
    # By hand: windows of 23, 22, 21, 20 scored tokens; 64 are complete with the third.
    monkeypatch.setattr(noise, "FLOOR_TOKENS", 64)
    store = RunStore(tmp_path)
    assert measure_floor(dense_scorer(store, models), store, windows).n_scored == 23 + 22 + 21


def test_only_what_is_near_the_floor_is_scored_again(tmp_path, models, windows):
    store = RunStore(tmp_path)
    (records,) = score(store, models, windows, "a", arithmetic="bf16").variants.values()
    divergence = store.read_records(records, ("kl_divergence",))["kl_divergence"]
    mean = float(divergence.mean(dtype=np.float64))

    def floor(value):
        return MeasuredFloor(dtype="bf16", kl_divergence=value, n_scored=1)

    assert is_near_floor(store, records, floor(mean / 9))
    assert not is_near_floor(store, records, floor(mean / 11))
    assert is_near_floor(store, records, None)


def test_what_a_floor_may_move_by_hand(tmp_path):
    """Losses of -0.1, 0, 0.1, 0.4: mean 0.1, deviation 0.1871, two standard errors 0.1871."""
    store = RunStore(tmp_path)
    records = write(
        store, reference_nll=[1.0, 1.0, 1.0, 1.0], nll=[0.9, 1.0, 1.1, 1.4],
        same_top1=[True, True, True, False], overlap=[0.9, 1.0, 0.8, 0.7],
    )  # fmt: skip
    floor = MeasuredFloor(dtype="bf16", kl_divergence=0.01, n_scored=4, records=tuple(records))
    assert floor_effects(store, floor) == pytest.approx(
        {
            "relative_perplexity": np.exp(0.1 + np.sqrt(0.035)) - 1,
            "top1_agreement": 0.25,
            "overlap": 0.15,
            "kl_divergence": 0.01,
        },
        abs=1e-6,
    )


def test_growing_looks_double(tmp_path, models, windows, monkeypatch):
    monkeypatch.setattr(noise, "FIRST_WINDOWS", 5)
    looks = growing_looks(dense_scorer(RunStore(tmp_path), models), windows)
    counts = [5, 10, 20, 40]
    assert [[w for piece in look for w in piece.windows] for look in looks] == [
        windows[:n] for n in counts
    ]
    # A text that is no longer than the first look is one look.
    scorer = dense_scorer(RunStore(tmp_path), models)
    assert [look[0].windows for look in growing_looks(scorer, windows[:3])] == [tuple(windows[:3])]


def write(store, **columns):
    store.write_records("made", {name: np.array(values) for name, values in columns.items()})
    return ["made"]


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_settled_is_a_confidence_sequence(tmp_path, monkeypatch, factor):
    """Of 40 windows that differ by one standard deviation s about 2, without skewness: the half
    width of the sequence of arXiv:2103.06476 with Student's quantile, over the mean.
    """
    store = RunStore(tmp_path)
    places = list(range(0, 400, 10))
    means = [2 + 0.1 * (-1) ** k for k in range(40)]
    records = write(store, window=places, kl_divergence=means)
    rule = ConfidenceSequence(tuned_at=0.1 * 400)
    low, high = rule.bounds(40, 2.0, 0.01 * 40 / 39, freedom=39)
    plain = 1.96 * 0.1 / np.sqrt(39)
    assert (high - low) / 2 > 1.4 * plain  # what it was before, and took for settled
    monkeypatch.setattr(noise, "HALF_WIDTH", factor * (high - low) / 2 / 2.0)
    assert settled_divergence(store, records, 400) is (factor > 1)


def test_a_single_window_settles_nothing(tmp_path):
    store = RunStore(tmp_path)
    assert not settled_divergence(store, write(store, window=[0, 0], kl_divergence=[1.0, 1.0]), 400)
