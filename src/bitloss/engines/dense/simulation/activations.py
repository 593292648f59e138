"""What enters a matrix product, stored in few bits and read again.

Steps and roundings are those of compressed-tensors 0.20 (``quantization/utils/helpers.py``,
``lifecycle/forward_helpers.py``, ``utils/mxfp_utils.py``), computed in float32, and the results are
bit-equal to its ``fake_quantize`` of float32:

- int8, int4: a step is the largest size by 127.5 or 7.5, codes are clipped to -128 to 127 or -8 to
  7. (vLLM's own kernel divides by 127.) Asymmetric ones have their zero at a code of its own.
- fp8: E4M3; the scale is the largest size by 448.
- nvfp4: E2M1 in blocks of 16 with scales in E4M3, which a second scale fits to the largest block:
  of a token, of a sequence (``-tensor``), or static as the checkpoint has it.
- mxfp8, mxfp4: E4M3 or E2M1 in blocks of 32 with powers of two. A block's largest size is rounded
  to one, up from 1.75 on, and goes to 256 or 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bitloss.engines.dense.simulation.floats import (
    E2M1_MAX,
    E4M3_MAX,
    power_of_two,
    round_to_e2m1,
    round_to_e4m3,
)
from bitloss.spec.activations import ActivationType

__all__ = ["InputQuantizer"]

_EPS = torch.finfo(torch.float32).eps
_LEAST_E4M3 = 0.125  # compressed-tensors' scale of a block of zeros
_BITS = {"int8": 8, "int4": 4}


@dataclass(frozen=True, eq=False, slots=True)
class InputQuantizer:
    """How the inputs of a linear layer are stored.

    Attributes:
        type: the numbers, and what shares a scale.
        scale: a static scale, shape ``[]``, float32; of ``nvfp4`` the second-level one, by which
            blocks' scales are multiplied before they are rounded. None is dynamic.
        zero: a static zero point, shape ``[]``, in codes.
    """

    type: ActivationType
    scale: torch.Tensor | None = None
    zero: torch.Tensor | None = None

    @property
    def per_sequence(self) -> bool:
        """Whether a scale is of everything that a forward reads."""
        return self.type.shares == "tensor" and self.scale is None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """What a layer reads of its input, shape ``[..., inputs]``; the same shape and type."""
        kind, row = self.type, x.float()
        if kind.numbers == "nvfp4":
            return self._nvfp4(row).to(x.dtype)
        if kind.block:
            row = row.reshape(*row.shape[:-1], -1, kind.block)
        if kind.numbers.startswith("mx"):
            row = _mx(row, fp4=kind.numbers == "mxfp4")
        elif kind.numbers == "fp8":
            scale = self._scale(row, E4M3_MAX)
            row = round_to_e4m3(row / scale).mul_(scale)
        else:
            row = self._integers(row, _BITS[kind.numbers])
        return row.reshape(x.shape).to(x.dtype)

    def _largest(self, x: torch.Tensor) -> torch.Tensor:
        size = x.abs()
        return size.amax() if self.type.shares == "tensor" else size.amax(-1, keepdim=True)

    def _scale(self, x: torch.Tensor, top: float) -> torch.Tensor:
        if self.scale is not None:
            return self.scale
        scale = self._largest(x) / top
        return torch.where(scale == 0, _EPS, scale)

    def _integers(self, x: torch.Tensor, bits: int) -> torch.Tensor:
        least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        zero: torch.Tensor | None
        if self.type.symmetric:
            scale, zero = self._scale(x, (most - least) / 2), None
        else:
            scale, zero = self._affine(x, least, most)
        codes = x / scale
        if zero is not None:
            codes += zero
        codes.clamp_(least, most).round_()
        if zero is not None:
            codes -= zero
        return codes.mul_(scale)

    def _affine(self, x: torch.Tensor, least: int, most: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self.scale is not None:
            return self.scale, torch.zeros_like(self.scale) if self.zero is None else self.zero
        dim = tuple(range(x.ndim)) if self.type.shares == "tensor" else (-1,)
        low = x.amin(dim, keepdim=True).clamp_(max=0.0)
        high = x.amax(dim, keepdim=True).clamp_(min=0.0)
        scale = (high - low) / (most - least)
        zero = (least - low / scale).clamp_(least, most).round_()
        empty = scale == 0
        return torch.where(empty, _EPS, scale), torch.where(empty, float(least), zero)

    def _nvfp4(self, x: torch.Tensor) -> torch.Tensor:
        second = self.scale
        if second is None:
            largest = self._largest(x).clamp_(min=torch.finfo(torch.float32).tiny)
            second = (E4M3_MAX * E2M1_MAX / largest).nan_to_num_(1.0, 1.0, 1.0)
            if self.type.shares != "tensor":
                second = second.unsqueeze(-1)
        blocks = x.reshape(*x.shape[:-1], -1, self.type.block)
        scale = round_to_e4m3(second * (blocks.abs().amax(-1, keepdim=True) / E2M1_MAX))
        scale = torch.where(scale == 0, _LEAST_E4M3, scale).div_(second)
        return round_to_e2m1(blocks / scale).mul_(scale).flatten(-2)


def _mx(x: torch.Tensor, *, fp4: bool) -> torch.Tensor:
    largest = x.abs().amax(-1, keepdim=True)
    # What is added to the bits of a float carries from 1.75 on; see `round_to_power_2`.
    rounded = (largest.view(torch.int32) + (1 << 21)).view(torch.float32)
    # The least scale that the eight bits of an exponent hold.
    scale = (power_of_two(rounded) / (4.0 if fp4 else 256.0)).clamp_(min=2.0**-127)
    rounded = x / scale
    return (round_to_e2m1(rounded) if fp4 else round_to_e4m3(rounded)).mul_(scale)
