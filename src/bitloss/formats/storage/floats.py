"""Small floats, and scales that a grid of blocks shares: what FP8, NVFP4 and MX formats store.

Codes are E4M3 floats of one byte, or pairs of E2M1 floats in a byte, the first in the low half.
Scales are floats or exponents (E8M0), one for each block of rows and columns; blocks at the lower
and right edges may be short. Sources: OCP 8-bit Floating Point specification 1.0; OCP Microscaling
Formats specification 1.0, sections 5.3.3 (E2M1) and 5.4.1 (E8M0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from bitloss.errors import CheckpointError
from bitloss.formats.storage.packing import E2M1, by_blocks, dequantize, widen
from bitloss.formats.storage.shards import Shards

__all__ = [
    "EXPONENT_TYPES", "Grid", "decode", "exponents", "nominal_group", "read_scales", "unpack_e2m1",
]  # fmt: skip

EXPONENT_TYPES = ("U8", "F8_E8M0")
"""Names of the types in which E8M0 scales are stored."""

_E2M1 = torch.tensor(E2M1)
_BYTES = torch.arange(256)
# Two float32 as one integer, so that one look-up gives both.
_E2M1_PAIRS = (
    torch.stack((_E2M1[_BYTES & 15], _E2M1[_BYTES >> 4]), dim=-1).view(torch.int64).flatten()
)
_E8M0 = torch.tensor([2.0 ** (biased - 127) for biased in range(255)], dtype=torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Grid:
    """How a parameter of small floats is stored.

    Attributes:
        shape: of the dense parameter, ``[..., rows, columns]``.
        block: rows and columns that share a scale.
    """

    shape: tuple[int, ...]
    block: tuple[int, int]

    @property
    def scale_shape(self) -> tuple[int, ...]:
        """Of the scales, ``[..., blocks down, blocks across]``."""
        rows, columns = self.shape[-2:]
        return (*self.shape[:-2], -(-rows // self.block[0]), -(-columns // self.block[1]))


def nominal_group(grid: Grid) -> int | None:
    """For `ModelInfo.group_size`: -1 is one group a row, None a scale for more than a row."""
    if grid.block[0] > 1:
        return None
    return -1 if grid.block[1] >= grid.shape[-1] else grid.block[1]


def exponents(stored: torch.Tensor, name: str) -> torch.Tensor:
    """E8M0 scales as the powers of two they mean, in bf16, which holds all of them.

    Args:
        stored: uint8 or float8_e8m0fnu, an exponent with a bias of 127.
        name: of the tensor, for the message.

    Raises:
        CheckpointError: one of them is not a number.
    """
    biased = stored.view(torch.uint8)
    if bool((biased == 255).any()):
        raise CheckpointError(
            f"`{name}`: expected exponents from 0 to 254, got 255, which is not a number",
            hint="download the checkpoint again, or choose another copy of the model",
        )
    return _E8M0[biased.int()]


def read_scales(shards: Shards, name: str) -> torch.Tensor:
    """Scales in the type they are stored in; exponents as bf16.

    Raises:
        CheckpointError: the tensor is missing or damaged, or an exponent is not a number.
    """
    stored = shards.read(name)
    if shards.tensors[name].dtype in EXPONENT_TYPES:
        return exponents(stored, name)
    return stored


def unpack_e2m1(packed: torch.Tensor) -> torch.Tensor:
    """Pairs of E2M1 floats in bytes, shape ``[rows, bytes]``, as float32 ``[rows, 2 * bytes]``."""
    pairs = _E2M1_PAIRS.index_select(0, packed.contiguous().view(torch.uint8).flatten().int())
    return pairs.view(torch.float32).view(packed.shape[0], -1)


def decode(
    grid: Grid,
    codes: torch.Tensor,
    scales: torch.Tensor,
    dtype: torch.dtype = torch.float32,
    *,
    columns_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """The dense parameter: each float times its block's scale, in float32.

    Args:
        grid: shape and blocks.
        codes: float8_e4m3fn of the dense shape; or uint8 or int8 with half the columns, for E2M1.
        scales: float32, float16 or bfloat16, as many as `Grid.scale_shape` has.
        dtype: what the products are rounded to.
        columns_scale: multiplies each column of the products; None is 1.
    """
    rows, columns = grid.shape[-2:]
    total = math.prod(grid.shape[:-1])
    *_, down, across = grid.scale_shape
    codes, scales = codes.reshape(total, -1), scales.reshape(-1, across)
    stacked = torch.arange(total // max(rows, 1)).unsqueeze(-1) * down
    scale_of_row = (stacked + torch.arange(rows) // grid.block[0]).flatten()
    eight_bits = codes.dtype == torch.float8_e4m3fn
    factor = None if columns_scale is None else columns_scale.float()

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        own = codes[start:stop]
        values = widen(own, torch.float32) if eight_bits else unpack_e2m1(own)
        size = min(grid.block[1], max(columns, 1))
        dequantize(values, None, scales[scale_of_row[start:stop]], size, None, out)
        if factor is not None:
            out.mul_(factor)

    return by_blocks((total, columns), dtype, fill).view(grid.shape)
