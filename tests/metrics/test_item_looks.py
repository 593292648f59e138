"""Oracles: the constants of Pocock (Biometrika 64, 1977, table 1), and simulated walks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.metrics.item_looks import FEWEST_ITEMS, boundary, item_look_sizes, widening


@pytest.mark.parametrize(
    ("looks", "constant"), [(1, 1.960), (2, 2.178), (3, 2.289), (5, 2.413), (10, 2.555)]
)
def test_equal_steps_have_the_published_constants(looks: int, constant: float) -> None:
    assert boundary(tuple(range(1, looks + 1))) == pytest.approx(constant, abs=1e-3)


@pytest.mark.parametrize("total", [100, 1000, 14042])
def test_a_walk_leaves_it_in_one_of_twenty(total: int) -> None:
    sizes = item_look_sizes(total)
    steps = np.diff((0, *sizes))
    walks = np.random.default_rng(0).normal(size=(20_000, len(sizes))) * np.sqrt(steps)
    standard = np.abs(walks.cumsum(axis=1)) / np.sqrt(sizes)
    left = float((standard > boundary(sizes)).any(axis=1).mean())
    assert left == pytest.approx(0.05, abs=0.006)  # four standard errors


@given(st.integers(1, 20_000))
def test_looks_grow_to_all_items(total: int) -> None:
    sizes = item_look_sizes(total)
    assert sizes[-1] == total
    assert list(sizes) == sorted(set(sizes))
    assert sizes[0] == FEWEST_ITEMS or len(sizes) == 1


def test_more_looks_and_fewer_items_take_wider_intervals() -> None:
    assert widening(64, 64) == pytest.approx(1.0, abs=0.03)  # once: Student's t beside the normal
    assert widening(324, 14042) > widening(324, 541) > 1.2
    assert widening(64, 1000) > widening(1000, 1000)
