"""Hidden states as a pack stores them: as they were computed, or rounded to fewer bytes.

states         as they were computed
bf16           float32 states rounded to bfloat16
int8, scale    float32 states as 8-bit codes, with a scale for each position: the largest absolute
               value over 127
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from bitloss.results.pack import StateType

__all__ = ["BYTES", "restore", "rounded"]

BYTES: Mapping[StateType, int] = {"fp32": 4, "bf16": 2, "int8": 1}
"""Bytes of a number; int8 has 4 more for each position."""


def rounded(states: torch.Tensor, kind: StateType) -> dict[str, torch.Tensor]:
    """Hidden states as a file has them.

    Args:
        states: shape ``[positions, d_model]``; other types than float32 are kept as they are.
        kind: what float32 is stored as.
    """
    import torch

    if kind == "fp32" or states.dtype != torch.float32:
        return {"states": states}
    if kind == "bf16":
        return {"bf16": states.to(torch.bfloat16)}
    scale = states.abs().amax(dim=1, keepdim=True) / 127
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return {"int8": (states / scale).round().to(torch.int8), "scale": scale}


def restore(stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Hidden states of a file, in the type they were computed in."""
    if "bf16" in stored:
        return stored["bf16"].float()
    if "int8" in stored:
        return stored["int8"].float() * stored["scale"]
    return stored["states"]
