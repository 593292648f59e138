"""What models are called in tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitloss.results.comparison import Comparison

__all__ = ["short_names"]


def short_names(comparison: Comparison) -> dict[str, str]:
    """By full name, names for little room: paths without folders if that is unambiguous."""
    full = [variant.name for variant in comparison.variants]
    last = [name.rstrip("/").rsplit("/", 1)[-1] for name in full]
    unclear = {name for name in last if last.count(name) > 1 or name == "reference"}
    return {
        name: name if short in unclear else short for name, short in zip(full, last, strict=True)
    }
