"""Variants of a comparison by the names that people use."""

from __future__ import annotations

from collections.abc import Sequence

from bitloss.results import Comparison, VariantResult

__all__ = ["find_variants"]


def find_variants(comparison: Comparison, names: Sequence[str]) -> tuple[VariantResult, ...]:
    """Those that are named, each once, in the order of the comparison; all where none is named.

    Raises:
        UnknownName: see `Comparison.__getitem__`.
    """
    wanted = {comparison[name].name for name in names}
    return tuple(v for v in comparison.variants if not names or v.name in wanted)
