"""Variants that belong together: those of one format, or, of a single format, of one publisher."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bitloss.registry import FORMATS
from bitloss.reports.chart_parts import SERIES

if TYPE_CHECKING:
    from bitloss.results import Comparison, VariantResult

__all__ = ["families", "family_colors", "family_kind"]

_NAMES = {
    "gguf": "GGUF", "gptq": "GPTQ", "awq": "AWQ", "exl3": "EXL3", "mlx": "MLX", "hqq": "HQQ",
    "fp8": "FP8", "mxfp4": "MXFP4", "auto-round": "AutoRound", "safetensors": "unquantized",
}  # fmt: skip
# So that two reports can be laid side by side.
_FIRST = ("GGUF", "GPTQ", "AWQ", "EXL3")
_OF_HUB = re.compile(r"([\w.-]+)/[\w.-]+(?::[\w.-]+)?(?:@\w+)?")


def families(comparison: Comparison) -> dict[str, str]:
    """By variant that was evaluated, the family that its color in charts stands for."""
    alive = _alive(comparison)
    if family_kind(comparison) == "format":
        return {variant.name: _format(variant) for variant in alive}
    return {variant.name: _owner(variant.name) for variant in alive}


def family_kind(comparison: Comparison) -> str:
    """What variants of a family have in common: their ``format`` or ``publisher``."""
    owners = {_owner(variant.name) for variant in _alive(comparison)}
    formats = {_format(variant) for variant in _alive(comparison)}
    return "publisher" if len(formats) == 1 and len(owners) > 1 and "" not in owners else "format"


def family_colors(names: dict[str, str]) -> dict[str, str]:
    """A color per family, of those that the style sheet has for dark screens too.

    Args:
        names: from `families`.
    """
    known = [name for name in _FIRST if name in names.values()]
    fixed = {name: SERIES[_FIRST.index(name)] for name in known}
    others = [name for name in dict.fromkeys(names.values()) if name not in fixed]
    free = [color for color in SERIES if color not in fixed.values()] or list(SERIES)
    return fixed | {name: free[index % len(free)] for index, name in enumerate(others)}


def _alive(comparison: Comparison) -> list[VariantResult]:
    return [v for v in comparison.variants if v.corpora or v.served or v.verdict is not None]


def _format(variant: VariantResult) -> str:
    own = variant.format or ""
    prefixes = [name for name in FORMATS if own == name or own.startswith(f"{name}-")]
    name = max(prefixes, key=len, default=own or "other")
    return _NAMES.get(name, name)


def _owner(name: str) -> str:
    found = _OF_HUB.fullmatch(name)
    return "" if found is None or name.startswith(".") else found[1]
