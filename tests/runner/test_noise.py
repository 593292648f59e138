"""Oracles: the rules by hand, and float32 scores computed without them."""

from __future__ import annotations

import numpy as np
import pytest

from bitloss.runner import RunStore, noise
from bitloss.runner.noise import (
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
    assert is_near_floor(store, records, mean / 9)
    assert not is_near_floor(store, records, mean / 11)


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


@pytest.mark.parametrize(("half_width", "settled"), [(0.57, True), (0.56, False)])
def test_settled_by_hand(tmp_path, monkeypatch, half_width, settled):
    """Window means 1, 2 and 3: 1.96 x 1 / sqrt(3) = 1.132, which is 0.566 of their mean."""
    store = RunStore(tmp_path)
    records = write(store, window=[0, 0, 1, 2], kl_divergence=[0.5, 1.5, 2.0, 3.0])
    monkeypatch.setattr(noise, "HALF_WIDTH", half_width)
    assert settled_divergence(store, records) is settled


def test_a_single_window_settles_nothing(tmp_path):
    store = RunStore(tmp_path)
    assert not settled_divergence(store, write(store, window=[0, 0], kl_divergence=[1.0, 1.0]))
