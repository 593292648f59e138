"""What decoded weights are held against: codes times scales in float64, rounded once."""

from __future__ import annotations

import torch

__all__ = ["multiplied_out", "spread", "ulps"]


def multiplied_out(weights: torch.Tensor, scales: torch.Tensor, step: float = 1) -> torch.Tensor:
    """The exact weights behind those that a library has rounded.

    A library's weight is its scale times a code, rounded to 16 bits. Divided by the scale it is off
    by less than half a code, so the code is known, and the product is taken again in float64.

    Args:
        weights: as a kernel sees them.
        scales: as stored, of the same shape.
        step: codes are multiples of it.

    Returns:
        float32.
    """
    codes = (weights.double() / scales.double() / step).round() * step
    exact = codes * scales.double()
    # The library takes one product and rounds it once: its weights are these in its own type.
    assert torch.equal(exact.to(weights.dtype), weights)
    return exact.float()


def spread(scales: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Scales of blocks, each for all weights of its block; the last blocks are not short."""
    for axis, size in enumerate(shape):
        scales = scales.repeat_interleave(size // scales.shape[axis], axis)
    return scales


def ulps(found: torch.Tensor, expected: torch.Tensor) -> int:
    """The largest distance of two tensors of one type, in units in the last place."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    integer = torch.int32 if found.dtype == torch.float32 else torch.int16
    lines = []
    for tensor in (found, expected):
        bits = tensor.contiguous().view(integer).long()
        lines.append(torch.where(bits < 0, torch.iinfo(integer).min - bits, bits))
    return int((lines[0] - lines[1]).abs().max())
