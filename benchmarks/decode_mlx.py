"""MLX's cases of `decode`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bitloss.formats.safetensors.mlx_scheme import Scheme, decode
from decode import Case, random_words

__all__ = ["CASES"]

MODES = (
    *(("affine", bits, 64) for bits in (2, 3, 4, 5, 6, 8)),
    ("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16),
)  # fmt: skip


def mlx_case(mode: str, bits: int, group_size: int) -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        outputs, inputs = shape
        scheme = Scheme(mode, bits, group_size, shape)
        generator = torch.Generator().manual_seed(0)
        words = random_words((outputs, inputs * bits // 32), generator).view(torch.uint32)
        groups = (outputs, inputs // group_size)
        if mode == "affine":
            scales = torch.rand(groups, generator=generator).bfloat16()
            return lambda dtype: decode(scheme, words, scales, scales, dtype=dtype)
        exponents = torch.randint(110, 126, groups, generator=generator, dtype=torch.uint8)
        return lambda dtype: decode(scheme, words, exponents, dtype=dtype)

    return Case(f"MLX {mode} {bits} bits g{group_size}", prepare)


CASES = [mlx_case(*mode) for mode in MODES]
