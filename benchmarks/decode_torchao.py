"""Cases of `decode.py`: torchao's tensor classes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bitloss.formats.safetensors import torchao_tensors
from decode import Case

__all__ = ["CASES"]

_TYPES = {"I8": torch.int8, "U8": torch.uint8, "F32": torch.float32, "BF16": torch.bfloat16,
          "F8_E4M3": torch.float8_e4m3fn, "F8_E8M0": torch.float8_e8m0fnu}  # fmt: skip


def case(name: str, kind: str, bits: int, group: int, scales: str, zero: str = "") -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        block = (1, group or shape[1])
        stored = torchao_tensors.Stored(kind, {}, shape, block, bits)
        generator = torch.Generator().manual_seed(0)
        size = (shape[0], shape[1] // 2 if stored.packed else shape[1])
        codes = torch.randint(0, 120, size, generator=generator, dtype=torch.uint8)
        grid = stored.grid[::-1] if kind == "Int4Tensor" else stored.grid
        scale = torch.randint(100, 120, grid, generator=generator, dtype=torch.uint8)
        parts = {"qdata": codes.view(_TYPES[torchao_tensors.KINDS[kind].codes[0]])}
        parts["scale"] = as_type(scale, scales)
        if zero:
            parts["zero_point"] = as_type(scale, zero)
        return lambda dtype: torchao_tensors.decode(stored, parts, dtype)

    return Case(f"torchao {name}", prepare)


def as_type(values: torch.Tensor, name: str) -> torch.Tensor:
    """Bytes as values, or as the bits of an eight-bit type."""
    dtype = _TYPES[name]
    return values.view(dtype) if dtype.itemsize == 1 else values.to(dtype)


CASES = [
    case("int8 rows", "Int8Tensor", 8, 0, "F32", "I8"),
    case("int4 g128", "Int4Tensor", 4, 128, "BF16", "BF16"),
    case("int4 in int8 g32", "IntxUnpackedToInt8Tensor", 4, 32, "BF16", "I8"),
    case("float8 rows", "Float8Tensor", 8, 0, "F32"),
    case("mxfp8", "MXTensor", 8, 32, "F8_E8M0"),
    case("mxfp4", "MXTensor", 4, 32, "F8_E8M0"),
    case("nvfp4", "NVFP4Tensor", 4, 16, "F8_E4M3"),
]
