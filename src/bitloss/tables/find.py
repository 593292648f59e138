"""Variants of a comparison by the names that people use."""

from __future__ import annotations

from collections.abc import Sequence

from bitloss.errors import UnknownName
from bitloss.results import Comparison, VariantResult
from bitloss.tables.tasks import short_names

__all__ = ["find_variant", "find_variants"]


def find_variant(comparison: Comparison, name: str) -> VariantResult:
    """A variant by its name, or by what stands for it in tables (``q4.gguf`` of ``./a/q4.gguf``).

    Raises:
        UnknownName: there is none; the hint says which there are.
    """
    short = short_names(comparison)
    for variant in comparison.variants:
        if variant.name == name:
            return variant
    for variant in comparison.variants:
        if short[variant.name] == name:
            return variant
    raise UnknownName("variant", name, (variant.name for variant in comparison.variants))


def find_variants(comparison: Comparison, names: Sequence[str]) -> tuple[VariantResult, ...]:
    """Those that are named, each once, in the order of the comparison; all where none is named.

    Raises:
        UnknownName: see `find_variant`.
    """
    wanted = {find_variant(comparison, name).name for name in names}
    return tuple(v for v in comparison.variants if not names or v.name in wanted)
