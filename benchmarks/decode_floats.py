"""Small floats' cases of `decode`: FP8 in blocks, NVFP4's and MX's groups, gpt-oss's experts."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bitloss.formats.safetensors.mxfp4 import decode_experts
from bitloss.formats.storage.floats import Grid, decode
from decode import Case

__all__ = ["CASES"]

ROW = 1 << 20  # columns no matrix has: one group a row


def floats_case(name: str, block: tuple[int, int], scale: torch.dtype, *, fp4: bool) -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        outputs, inputs = shape
        grid = Grid(shape, block)
        width = inputs // 2 if fp4 else inputs
        codes = torch.randint(0, 120, (outputs, width), generator=generator, dtype=torch.uint8)
        codes = codes if fp4 else codes.view(torch.float8_e4m3fn)
        scales = torch.rand(grid.scale_shape, generator=generator).to(scale)
        return lambda dtype: decode(grid, codes, scales, dtype)

    return Case(name, prepare)


def experts_case() -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        outputs, inputs = shape
        blocks = torch.randint(
            0, 256, (1, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8
        )
        scales = torch.rand((1, outputs, inputs // 32), generator=generator).bfloat16()
        return lambda dtype: decode_experts(blocks, scales, dtype)

    return Case("MXFP4 experts, transposed", prepare)


CASES = [
    floats_case("FP8 128x128 fp32", (128, 128), torch.float32, fp4=False),
    floats_case("FP8 128x100 fp32", (128, 100), torch.float32, fp4=False),
    floats_case("FP8 row fp32", (1, ROW), torch.float32, fp4=False),
    floats_case("FP8 row bf16", (1, ROW), torch.bfloat16, fp4=False),
    floats_case("MXFP8", (1, 32), torch.bfloat16, fp4=False),
    floats_case("NVFP4 fp32", (1, 16), torch.float32, fp4=True),
    floats_case("MXFP4", (1, 32), torch.bfloat16, fp4=True),
    experts_case(),
]
