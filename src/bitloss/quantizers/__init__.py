"""Recipes carried out: from a reference to quantized files."""

from bitloss.quantizers._subprocess import end_workers
from bitloss.quantizers.variants import (
    library_versions,
    make_variant,
    quantize_to,
)

__all__ = [
    "end_workers",
    "library_versions",
    "make_variant",
    "quantize_to",
]
