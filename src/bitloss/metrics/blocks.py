"""Weighted sums over runs of neighbours, and what each run is off the common average.

Neighbouring windows and items are alike, so errors are estimated from runs of them (blocks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitloss.types import FloatArray

__all__ = ["BlockSums", "block_sums", "is_rounding"]


@dataclass(frozen=True, slots=True, eq=False)
class BlockSums:
    """Several series of the same windows, summed by blocks.

    Attributes:
        average: of each series over all windows, shape ``[n_series]``.
        weights: of the blocks, shape ``[n_series, n_blocks]``.
        residual: of the blocks' weighted sums from what the average makes of their weights, same
            shape.
    """

    average: FloatArray
    weights: FloatArray
    residual: FloatArray


def block_sums(sums: FloatArray, weights: FloatArray, n_blocks: int) -> BlockSums:
    """Sum windows by blocks whose lengths differ by one at most.

    Args:
        sums: weighted window sums, shape ``[n_series, n_windows]``.
        weights: window weights, same shape.
        n_blocks: from 1 to ``n_windows``.
    """
    starts = np.arange(n_blocks) * sums.shape[1] // n_blocks
    u = np.add.reduceat(sums, starts, axis=1)
    v = np.add.reduceat(weights, starts, axis=1)
    average = u.sum(1) / v.sum(1)
    residual = u - average[:, None] * v
    # A block in which every series equals its average adds no error; rounding must not give it one.
    residual[:, is_rounding(residual, u).all(0)] = 0.0
    return BlockSums(average, v, residual)


def is_rounding(residual: FloatArray, sums: FloatArray) -> NDArray[np.bool_]:
    """Where a residual is no more than the rounding of the sum that it is of; shapes as given."""
    return np.abs(residual) <= 1e-12 * np.abs(sums)
