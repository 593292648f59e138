"""Recipes carried out: from a reference to quantized files."""

from bitloss.quantizers.variants import (
    RecipeDescription,
    describe_recipes,
    library_versions,
    make_variant,
    quantize_to,
)

__all__ = [
    "RecipeDescription",
    "describe_recipes",
    "library_versions",
    "make_variant",
    "quantize_to",
]
