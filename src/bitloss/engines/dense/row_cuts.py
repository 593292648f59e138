"""How the rows of a forward's products are cut, where they are (`generation.row_blocks`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

__all__ = ["BLOCK", "RowCuts"]

BLOCK = 32
"""Rows up to which oneDNN's products of bf16 sum in one order on a processor with AMX."""


@dataclass(slots=True)
class RowCuts:
    """Where the rows of a forward's products are cut; by `BLOCK` where nothing is set for as many.

    Attributes:
        sizes: of the next forward's parts, in order.
    """

    sizes: list[int] = field(default_factory=list)

    def cut(self, decoding: int, pieces: Sequence[int]) -> None:
        """Cut the next forward: tokens that decode by `BLOCK`, then the pieces of prompts."""
        whole, rest = divmod(decoding, BLOCK)
        self.sizes = [*[BLOCK] * whole, *[rest] * bool(rest), *pieces]

    def parts(self, rows: torch.Tensor) -> Sequence[torch.Tensor]:
        """The parts of a product's rows."""
        return torch.split(rows, self.sizes if sum(self.sizes) == len(rows) else BLOCK)
