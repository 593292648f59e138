"""Small integers packed into 32-bit words the slow, obvious way: as one long Python integer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

__all__ = ["pack_columns", "pack_planes", "pack_rows"]


def pack_rows(rows: Sequence[Sequence[int]], bits: int) -> torch.Tensor:
    """Pack each row as a stream, lowest bits first; int32, shape ``[rows, words]``."""
    packed = []
    for row in rows:
        total = sum(int(value) << (place * bits) for place, value in enumerate(row))
        words = -(-len(row) * bits // 32)
        packed.append(np.frombuffer(total.to_bytes(4 * words, "little"), dtype="<i4"))
    return torch.from_numpy(np.stack(packed).copy())


def pack_columns(matrix: torch.Tensor, bits: int) -> torch.Tensor:
    """The same down each column of ``[n, columns]``; shape ``[words, columns]``."""
    return pack_rows(matrix.t().tolist(), bits).t().contiguous()


def pack_planes(rows: Sequence[Sequence[int]], bits: int) -> torch.Tensor:
    """Pack blocks of 32 as GPTQModel's `gptq_p`: four low bits of each (or two), then the rest."""
    widths = {3: (2, 1), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}.get(bits, (bits,))
    packed = []
    for row in rows:
        words = []
        for start in range(0, len(row), 32):
            block, low = row[start : start + 32], 0
            for width in widths:
                plane = [(int(value) >> low) % 2**width for value in block]
                words.append(pack_rows([plane], width))
                low += width
        packed.append(torch.cat(words, dim=1))
    return torch.cat(packed)
