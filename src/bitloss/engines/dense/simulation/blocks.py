"""llama.cpp's types of blocks: 32 neighboring numbers that share a scale, stored and read again.

The arithmetic is that of ``quantize_row_*_ref`` and ``dequantize_row_*`` in ggml-quants.c, in
float32 with scales rounded to float16, and the results are bit-equal to theirs. The scale of an
``iq4_nl`` block is a quotient of sums over the block, whose order of additions is not the same
here: one in some thousands differs in its last bit. A processor's own kernels may round ties
another way than the reference functions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["BLOCK", "BLOCK_TYPES", "store_blocks"]

BLOCK = 32
"""Numbers that share a scale."""

# The largest number below one half: added to a number's size, it rounds halves away from zero as
# C's `roundf` does, and 0.49999997 to zero.
_ALMOST_HALF = 0x3EFFFFFF
_SIGN = -(1 << 31)

# ggml-common.h: `kvalues_iq4nl`.
_IQ4_NL = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_IQ4_NL_TOO_SMALL = 1e-15


def store_blocks(kind: str, x: torch.Tensor) -> torch.Tensor:
    """What is read back of numbers that were stored.

    Args:
        kind: one of `BLOCK_TYPES`.
        x: float32, shape ``[..., n]``, n a multiple of `BLOCK`.

    Returns:
        The same shape, float32.
    """
    return BLOCK_TYPES[kind](x.reshape(*x.shape[:-1], -1, BLOCK)).flatten(-2)


def _q8_0(x: torch.Tensor) -> torch.Tensor:
    d = x.abs().amax(-1, keepdim=True) / 127
    return _round_away(x * _inverse(d)).mul_(_half(d))


def _symmetric(x: torch.Tensor, zero: int) -> torch.Tensor:
    """q4_0 and q5_0: the number of the largest size is at the lowest code, whatever its sign."""
    d = _largest(x) / -zero
    codes = (x * _inverse(d)).add_(zero + 0.5).trunc_().clamp_(max=2 * zero - 1)
    return codes.sub_(zero).mul_(_half(d))


def _asymmetric(x: torch.Tensor, top: int) -> torch.Tensor:
    """q4_1 and q5_1: the smallest number is at code 0, the largest at the last one."""
    low = x.amin(-1, keepdim=True)
    d = (x.amax(-1, keepdim=True) - low) / top
    codes = (x - low).mul_(_inverse(d)).add_(0.5).trunc_().clamp_(max=top)
    return codes.mul_(_half(d)).add_(_half(low))


def _iq4_nl(x: torch.Tensor) -> torch.Tensor:
    values = torch.tensor(_IQ4_NL, dtype=torch.float32, device=x.device)
    bounds = (values[1:] + values[:-1]) / 2
    first = _largest(x) / _IQ4_NL[0]
    codes = values[torch.bucketize((x * _inverse(first)).contiguous(), bounds, right=True)]
    weights = x * x
    weighted = weights * codes
    below = (weighted * codes).sum(-1, keepdim=True)
    d = (weighted * x).sum(-1, keepdim=True) / torch.where(below > 0, below, 1.0)
    empty = x.abs().amax(-1, keepdim=True) < _IQ4_NL_TOO_SMALL
    return codes.mul_(_half(d.masked_fill_(empty | (below <= 0), 0.0)))


def _largest(x: torch.Tensor) -> torch.Tensor:
    """The number of the largest size in each block, with its sign; the first one of two."""
    high, low = x.amax(-1, keepdim=True), x.amin(-1, keepdim=True)
    largest = torch.where(high > -low, high, low)
    tied = (high == -low).squeeze(-1)
    if bool(tied.any()):
        rows = x[tied]
        largest[tied] = rows.gather(-1, rows.abs().argmax(-1, keepdim=True))
    return largest


def _round_away(x: torch.Tensor) -> torch.Tensor:
    """Round to whole numbers in place, halves away from zero."""
    half = (x.view(torch.int32) & _SIGN).bitwise_or_(_ALMOST_HALF).view(torch.float32)
    return x.add_(half).trunc_()


def _inverse(d: torch.Tensor) -> torch.Tensor:
    return torch.where(d == 0, 0.0, 1.0 / d)


def _half(x: torch.Tensor) -> torch.Tensor:
    return x.half().float()


BLOCK_TYPES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "q8_0": _q8_0,
    "q5_1": lambda x: _asymmetric(x, 31),
    "q5_0": lambda x: _symmetric(x, 16),
    "q4_1": lambda x: _asymmetric(x, 15),
    "q4_0": lambda x: _symmetric(x, 8),
    "iq4_nl": _iq4_nl,
}
"""By name: blocks ``[..., 32]`` in float32, to what is read back of them."""
