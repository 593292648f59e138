"""Ranks of models, and facts of them. Oracles: hand computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bitloss.formats import open_checkpoint
from bitloss.results import Estimate
from bitloss.studies.architecture.facts import activation_outliers, weight_outliers
from bitloss.studies.architecture.ranks import ranks
from peers.tiny_model import write_tiny_model


def estimate(value: float, half: float) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def test_ranks_that_are_sure() -> None:
    found = ranks({"b": estimate(5, 0.1), "a": estimate(1, 0.1), "c": estimate(9, 0.1)}, seed=0)
    assert {name: (one.value, one.low, one.high) for name, one in found.items()} == {
        "a": (1, 1, 1), "b": (2, 2, 2), "c": (3, 3, 3),
    }  # fmt: skip


def test_ranks_that_are_not() -> None:
    found = ranks({"a": estimate(1.0, 0.5), "b": estimate(1.1, 0.5), "c": estimate(9, 1)}, seed=0)
    assert [(one.low, one.high) for one in found.values()] == [(1, 2), (1, 2), (3, 3)]


def test_a_loss_without_an_interval_has_a_rank_without_one() -> None:
    bare = Estimate(value=2.0, low=None, high=None)
    found = ranks({"a": estimate(1, 0.1), "b": bare}, seed=0)
    assert found["b"] == Estimate(value=2.0, low=None, high=None)


def test_the_largest_column_over_the_median_one() -> None:
    """Root mean squares 1, 1, 1, 10: ten; and the median over matrices of 10, 2 and 4 is 4."""
    squares = {
        "a": np.array([1.0, 1.0, 1.0, 100.0]),
        "b": np.array([1.0, 1.0, 4.0]),
        "c": np.array([16.0, 1.0, 1.0]),
    }
    assert activation_outliers(squares) == pytest.approx(4)
    assert activation_outliers({}) is None


def test_the_largest_weight_in_standard_deviations(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "tiny")
    tensors = load_file(tmp_path / "tiny" / "model.safetensors")
    expected = np.median(
        [
            float(one.to(torch.float32).abs().max() / one.to(torch.float32).std())
            for name, one in tensors.items()
            if ".layers." in name and one.ndim == 2
        ]
    )
    assert weight_outliers(open_checkpoint(tmp_path / "tiny")) == pytest.approx(expected)
