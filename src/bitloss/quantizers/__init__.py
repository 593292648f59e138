"""Recipes carried out: from a reference to quantized files."""

from bitloss.quantizers.variants import (
    library_versions,
    make_variant,
    quantize_to,
)

__all__ = [
    "library_versions",
    "make_variant",
    "quantize_to",
]
