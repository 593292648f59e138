"""Rounding float32 to the values of small floats, in a few passes over memory.

A conversion to torch's float8 and back costs 2.9 ns a number, this 0.4 (one core of an EPYC;
benchmarks/simulate.py).
"""

from __future__ import annotations

import torch

__all__ = ["E2M1_MAX", "E4M3_MAX", "power_of_two", "round_to_e2m1", "round_to_e4m3"]

E4M3_MAX = 448.0
E2M1_MAX = 6.0

_EXPONENT = 0x7F800000
# Added and taken away again, it leaves a number rounded to whole ones, ties to even.
_MAGIC = 1.5 * 2**23


def power_of_two(x: torch.Tensor) -> torch.Tensor:
    """The largest power of two that is not above ``|x|``; 0 for what is below 2^-126."""
    return (x.contiguous().view(torch.int32) & _EXPONENT).view(torch.float32)


def round_to_e4m3(x: torch.Tensor) -> torch.Tensor:
    """Float32 to the nearest value of E4M3, ties to even, and to +-448 beyond it; NaN stays."""
    return _round(x.clamp(-E4M3_MAX, E4M3_MAX), least=2.0**-6, mantissa=3)


def round_to_e2m1(x: torch.Tensor) -> torch.Tensor:
    """Float32 to the nearest of 0, 0.5, 1, 1.5, 2, 3, 4 and 6 and their negatives, as E4M3."""
    return _round(x.clamp(-E2M1_MAX, E2M1_MAX), least=1.0, mantissa=1)


def _round(x: torch.Tensor, *, least: float, mantissa: int) -> torch.Tensor:
    """Round to `mantissa` bits behind the leading one; below `least`, to its steps."""
    steps = power_of_two(x).clamp_(min=least).mul_(_MAGIC * 2.0**-mantissa)
    return x.add(steps).sub_(steps)
