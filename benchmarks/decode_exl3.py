"""EXL3's cases of `decode`: any words are a trellis."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bitloss.formats.safetensors.exl3 import Layer, decode
from decode import Case

__all__ = ["CASES"]


def exl3_case(bits: float, codebook: str) -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        outputs, inputs = shape
        layer = Layer(bits, codebook, inputs, outputs, outputs)
        generator = torch.Generator().manual_seed(0)
        words = (inputs // 16, outputs // 16, int(16 * bits))
        trellis = torch.randint(-(2**15), 2**15, words, generator=generator, dtype=torch.int16)
        suh, svh = (torch.randn(size, generator=generator).half() for size in (inputs, outputs))
        return lambda dtype: decode(layer, trellis, suh, svh, dtype)

    return Case(f"EXL3 {bits:g} bits {codebook}", prepare)


CASES = [exl3_case(*c) for c in ((2, "3inst"), (3, "mcg"), (4, "mcg"), (4.5, "mul1"), (6, "mul1"))]
