"""HQQ layers written the slow, obvious way, with the dense weight that they mean.

Written from the description of the layout, one number at a time; `benchmarks/oracle_hqq.py` holds
both against the library.
"""

from __future__ import annotations

import math
from typing import Any

import torch

__all__ = ["encode", "layer"]

# Bits of a field and fields in a word, the first field in the highest bits.
FIELDS = {"8bit_u8": (8, 1), "4bit_u8": (4, 2), "3bit_32": (3, 10), "2bit_u8": (2, 4),
          "1bit_u8": (1, 8)}  # fmt: skip
PACKING = {8: "8bit_u8", 6: "8bit_u8", 5: "8bit_u8", 4: "4bit_u8", 3: "3bit_32", 2: "2bit_u8",
           1.58: "2bit_u8", 1: "1bit_u8"}  # fmt: skip


def encode(value: Any) -> torch.Tensor:
    """A number or text as hqq keeps it in a tensor."""
    if isinstance(value, str):
        return torch.tensor([ord(letter) for letter in value], dtype=torch.uint8)
    if isinstance(value, bool):
        return torch.tensor(int(value), dtype=torch.uint8)
    kind = torch.int32 if isinstance(value, int) else torch.float32
    return torch.tensor(value, dtype=kind)


def layer(
    module: str,
    shape: tuple[int, int],
    *,
    bits: float = 4,
    axis: int = 1,
    group_size: int = 64,
    dtype: torch.dtype = torch.bfloat16,
    view_as_float: bool = False,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Stored tensors of random codes, scales and zero points, and the dense weight in float64."""
    generator = torch.Generator().manual_seed(0)
    groups = math.prod(shape) // group_size
    size = (groups, group_size) if axis else (group_size, groups)
    scales = (groups, 1) if axis else (1, groups)
    codes = torch.randint(0, round(2**bits), size, generator=generator)
    scale = (torch.rand(scales, generator=generator) * 0.2 + 0.05).to(dtype)
    zero = (torch.rand(scales, generator=generator) * 2**bits).to(dtype)
    packing = PACKING[bits]
    words = pack(codes.tolist(), *FIELDS[packing])
    word = torch.int32 if packing == "3bit_32" else torch.uint8
    stored = torch.tensor(words, dtype=torch.int64).to(word)
    dense = ((codes.double() - zero.double()) * scale.double()).reshape(shape)
    values: dict[str, Any] = {
        "nbits": bits, "group_size": group_size, "axis": axis, "packing": packing,
        "compute_dtype": str(dtype), "unpack_view_dtype": str(word),
        "view_as_float": view_as_float, "quant_scale": False, "quant_zero": False,
        "offload_meta": False, "encoded_state_dict": True, "stores_quant_config": True,
        "channel_wise": True, "optimize": True, "round_zero": bits == 4,
    }  # fmt: skip
    tensors = {key: encode(value) for key, value in values.items()}
    tensors |= {"W_q": stored.view(dtype) if view_as_float else stored}
    tensors |= {"scale": scale, "zero": zero, "shape": torch.tensor(shape)}
    return {f"{module}.{key}": value for key, value in tensors.items()}, dense


def pack(codes: list[list[int]], bits: int, fields: int) -> list[list[int]]:
    """Rows of codes in rows of words: word row `r` holds rows ``r + field * words``."""
    count = -(-len(codes) // fields)
    codes = codes + [[0] * len(codes[0])] * (count * fields - len(codes))
    return [
        [
            sum(
                codes[row + field * count][column] << bits * (fields - 1 - field)
                for field in range(fields)
            )
            for column in range(len(codes[0]))
        ]
        for row in range(count)
    ]
