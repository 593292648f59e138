"""Sums by blocks. Oracle: the same sums written out with Python's slices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bitloss.metrics.blocks import block_sums, is_rounding


@pytest.mark.parametrize(("n_windows", "n_blocks"), [(1, 1), (7, 3), (10, 5), (11, 11)])
def test_blocks_are_runs_of_nearly_equal_length(n_windows: int, n_blocks: int) -> None:
    generator = np.random.default_rng(0)
    sums, weights = generator.random((2, 3, n_windows))
    blocks = block_sums(sums, weights, n_blocks)
    ends = [number * n_windows // n_blocks for number in range(n_blocks + 1)]
    lengths = {end - start for start, end in itertools.pairwise(ends)}
    assert max(lengths) - min(lengths) <= 1
    for series in range(3):
        average = sums[series].sum() / weights[series].sum()
        assert blocks.average[series] == pytest.approx(average)
        for block, (start, end) in enumerate(itertools.pairwise(ends)):
            weight = weights[series, start:end].sum()
            assert blocks.weights[series, block] == pytest.approx(weight)
            residual = sums[series, start:end].sum() - average * weight
            assert blocks.residual[series, block] == pytest.approx(residual, abs=1e-12)


def test_rounding_is_no_residual() -> None:
    weights = np.array([[1.0, 3.0, 7.0, 9.0]])
    assert (block_sums(0.1 * weights, weights, 4).residual == 0).all()
    sums = np.array([1.0, 1.0, 0.0])
    assert is_rounding(np.array([1e-13, 1e-11, 0.0]), sums).tolist() == [True, False, True]
