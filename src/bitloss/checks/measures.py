"""What a gate can set limits to, and how limits are written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

__all__ = ["MEASURES", "Kind", "Measure", "parse_limit"]

Kind = Literal["corpus", "capability", "task"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A result that a variant has on a target.

    Attributes:
        key: as in a thresholds file and, with ``--`` and strokes, on the command line.
        title: in words.
        at_most: whether the limit is an upper one.
        kinds: what it exists for.
        default: what a limit without a name is for: all of this kind.
    """

    key: str
    title: str
    at_most: bool
    kinds: tuple[Kind, ...]
    default: Kind

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return "--" + self.key.replace("_", "-")


MEASURES = MappingProxyType(
    {
        measure.key: measure
        for measure in (
            Measure("max_relative_perplexity", "relative perplexity", True, ("corpus",), "corpus"),
            Measure("max_kld", "KL divergence", True, ("corpus", "capability", "task"), "corpus"),
            Measure("min_top1", "same top-1", False, ("corpus",), "corpus"),
            Measure("min_overlap", "overlap", False, ("corpus",), "corpus"),
            Measure("max_loss", "loss", True, ("capability", "task"), "capability"),
        )
    }
)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_EXPECTED = MappingProxyType(
    {
        "max_relative_perplexity": "a ratio of 1 or more (1.05 lets perplexity grow by 5%)",
        "max_kld": "nats per token, 0 or more (0.05)",
        "min_top1": "a share from 0 to 1, or percent (0.9, 90%)",
        "min_overlap": "a share from 0 to 1, or percent (0.95, 95%)",
        "max_loss": "a share from 0 to 1, or percentage points (0.02, 2%)",
    }
)


def parse_limit(measure: Measure, value: object) -> float:
    """The number that a limit is.

    Args:
        measure: of what.
        value: a number, or its text, for shares also with a percent sign.

    Raises:
        ValueError: it is no limit of this measure; says what was expected and what was given.
    """
    text = str(value).strip() if value is not None and not isinstance(value, bool) else ""
    share = measure.key in ("min_top1", "min_overlap", "max_loss")
    digits = text.removesuffix("%").rstrip() if share else text
    number = float(digits) if _NUMBER.fullmatch(digits) else math.nan
    if digits != text:
        # A decimal is shifted exactly: 4.1 / 100 is not the float that 0.041 is.
        number = float(Decimal(digits).scaleb(-2)) if math.isfinite(number) else math.nan
    low = 1.0 if measure.key == "max_relative_perplexity" else 0.0
    high = 1.0 if share else math.inf
    if not (low <= number <= high and math.isfinite(number)):
        shown = "nothing" if value is None or text == "" else f"`{text}`"
        if isinstance(value, dict | list | bool):
            shown = "keys and values" if isinstance(value, dict) else repr(value)
        raise ValueError(f"expected {_EXPECTED[measure.key]}, got {shown}")
    return number
