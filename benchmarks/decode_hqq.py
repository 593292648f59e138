"""Cases of `decode.py`: HQQ in every packing, groups along rows and along columns."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bitloss.formats.safetensors import hqq
from decode import Case

__all__ = ["CASES"]


def case(bits: int, packing: str, axis: int) -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        layer = hqq.Layer(bits, packing, axis, 64, shape, torch.bfloat16)
        generator = torch.Generator().manual_seed(0)
        word, top = (torch.int32, 2**30) if bits == 3 else (torch.uint8, 256)
        words = torch.randint(0, top, layer.packed, generator=generator).to(word)
        scale = torch.rand(layer.scales, generator=generator).bfloat16()
        zero = torch.rand(layer.scales, generator=generator).bfloat16()
        return lambda dtype: hqq.decode(layer, words, scale, zero, dtype)

    return Case(f"HQQ {bits} bits g64 axis {axis}", prepare)


CASES = [
    case(bits, packing, axis)
    for bits, packing in
    ((8, "8bit_u8"), (4, "4bit_u8"), (3, "3bit_32"), (2, "2bit_u8"), (1, "1bit_u8"))
    for axis in (1, 0)
]  # fmt: skip
