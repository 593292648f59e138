"""Names of activation types: the numbers that enter a matrix product, and what shares a scale."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from bitloss.errors import UsageError

__all__ = ["ACTIVATION_NAMES", "AS_DECLARED", "ActivationType", "parse_activations"]

Numbers = Literal["int8", "int4", "fp8", "nvfp4", "mxfp8", "mxfp4"]
Shares = Literal["token", "tensor", "block"]

AS_DECLARED = "checkpoint"
"""Each layer's inputs as the checkpoint says, with its static scales."""

ACTIVATION_NAMES = (
    "int8", "int8-tensor", "int8-blockN", "int4", "fp8", "fp8-tensor", "fp8-blockN", "nvfp4",
    "nvfp4-tensor", "mxfp8", "mxfp4", AS_DECLARED,
)  # fmt: skip
"""For messages and documentation."""

# Numbers that share a scale in a row, where the format says so.
_BLOCKS = {"nvfp4": 16, "mxfp8": 32, "mxfp4": 32}
_NAME = re.compile(r"(int8|int4|fp8|nvfp4|mxfp8|mxfp4)(-tensor|-token|-block([1-9]\d{0,5}))?")


@dataclass(frozen=True, slots=True)
class ActivationType:
    """How the inputs of a linear layer are stored.

    Attributes:
        numbers: integers, E4M3 (``fp8``), or blocks of small floats with scales of their own.
        shares: what has one scale: a token's row, the whole tensor (of one sequence), or a block
            of a row. For ``nvfp4``, what has one second-level scale; its blocks are of 16.
        block: numbers of a block; 0 without blocks.
        symmetric: zero is at code 0. Only integers can be otherwise.
    """

    numbers: Numbers
    shares: Shares = "token"
    block: int = 0
    symmetric: bool = True

    @property
    def name(self) -> str:
        """As it is written on the command line; ``-asymmetric`` can only be declared by a file."""
        base, shares = self.numbers, {"token": "", "tensor": "-tensor", "block": ""}[self.shares]
        if self.block and self.numbers not in _BLOCKS:
            shares = f"-block{self.block}"
        return f"{base}{shares}{'' if self.symmetric else '-asymmetric'}"


def parse_activations(name: str) -> ActivationType:
    """What a name of a type means.

    Raises:
        UsageError: it means nothing.
    """
    match = _NAME.fullmatch(name)
    numbers, shares = (match[1], match[2] or "") if match else ("", "")
    fixed = _BLOCKS.get(numbers, 0)
    if not match or (numbers.startswith("mx") and shares) or (fixed and match[3]):
        raise UsageError(
            f"activations: expected one of {', '.join(ACTIVATION_NAMES)}, got `{name}`",
            hint="choose one of these types",
        )
    if numbers.startswith("mx"):
        return ActivationType(numbers, "block", fixed)  # type: ignore[arg-type]
    if match[3]:
        return ActivationType(numbers, "block", int(match[3]))  # type: ignore[arg-type]
    return ActivationType(
        numbers,  # type: ignore[arg-type]
        "tensor" if shares == "-tensor" else "token",
        fixed,
    )
