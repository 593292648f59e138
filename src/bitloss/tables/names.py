"""What models are called in tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitloss.results.comparison import Comparison

__all__ = ["short_names"]


def short_names(comparison: Comparison) -> dict[str, str]:
    """See `Comparison.short_names`."""
    return comparison.short_names
