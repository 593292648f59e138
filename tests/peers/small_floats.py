"""Small floats packed and scaled the slow, obvious way: one value at a time in Python."""

from __future__ import annotations

import torch

__all__ = ["E2M1", "dequantized", "pack_e2m1"]

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)


def pack_e2m1(codes: torch.Tensor) -> torch.Tensor:
    """Codes from 0 to 15, shape ``[..., columns]``, as uint8 with half the columns."""
    rows = codes.reshape(-1, codes.shape[-1]).tolist()
    packed = [
        [low + 16 * high for low, high in zip(row[::2], row[1::2], strict=True)] for row in rows
    ]
    return torch.tensor(packed, dtype=torch.uint8).view(*codes.shape[:-1], -1)


def dequantized(values: torch.Tensor, scales: torch.Tensor, block: tuple[int, int]) -> torch.Tensor:
    """Each value times its block's scale in double precision, rounded to float32.

    Args:
        values: shape ``[rows, columns]``.
        scales: shape ``[blocks down, blocks across]``.
        block: rows and columns of a block; the last ones may be short.
    """
    columns = range(values.shape[1])
    return torch.tensor(
        [
            [
                float(values[row, column]) * float(scales[row // block[0], column // block[1]])
                for column in columns
            ]
            for row in range(values.shape[0])
        ]
    )
