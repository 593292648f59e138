"""Cases of `decode.py`: bitsandbytes in four and eight bits, as transformers stores them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bitloss.formats.safetensors import bitsandbytes
from decode import Case

__all__ = ["CASES"]


def four_bits(kind: str) -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        layer = bitsandbytes.FourBits(kind, 64, shape, None)
        generator = torch.Generator().manual_seed(0)
        size = (shape[0] * shape[1] // 2, 1)
        weight = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
        absmax = torch.rand(layer.blocks, generator=generator)
        values = bitsandbytes.VALUES[kind]
        return lambda dtype: bitsandbytes.decode_four_bits(layer, weight, absmax, values, dtype)

    return Case(f"bitsandbytes {kind} b64", prepare)


def int8(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
    scales = torch.rand(shape[0], generator=generator)
    return lambda dtype: bitsandbytes.decode_int8(weight, scales, dtype)


CASES = [four_bits("nf4"), four_bits("fp4"), Case("bitsandbytes int8", int8)]
