"""A packer for Marlin's tiles, from where its kernel's threads want their codes and scales."""

from __future__ import annotations

import torch

from peers.packing import pack_rows

__all__ = ["marlin_parts"]


def marlin_parts(codes: torch.Tensor, scales: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pack codes ``[in, out]`` and scales ``[groups, out]`` as AutoGPTQ's ``B`` and ``s``.

    Each thread of a warp holds, of a 16x16 tile, two neighbours in each quarter of the inputs, in
    two columns; a word has its first tile's values interleaved. Source: ``_get_perms`` and `pack`
    in AutoGPTQ 0.7, ``qlinear_marlin.py``.
    """
    inputs, outputs = codes.shape
    rows = []
    for top in range(0, inputs, 16):
        stream: list[int] = []
        for left in range(0, outputs, 64):
            for thread in range(32):
                row, column = 2 * (thread % 4), thread // 4
                for tile in range(4):
                    held = [
                        int(codes[top + row + down, left + 16 * tile + column + right])
                        for right in (0, 8)
                        for down in (0, 1, 8, 9)
                    ]
                    stream += held[0::2] + held[1::2]
        rows.append(stream)
    groups = scales.shape[0]
    if groups == 1:
        order = [8 * (i % 8 // 2) + 2 * (i // 8) + i % 2 for i in range(32)]
    else:
        order = [8 * (i % 8) + i // 8 for i in range(64)]
    moved = scales.reshape(-1, len(order))[:, order].reshape(groups, outputs)
    return pack_rows(rows, 4), moved.contiguous()
