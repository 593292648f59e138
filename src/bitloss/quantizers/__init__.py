"""Recipes carried out: from a reference to quantized files."""

from bitloss.quantizers.base import Quantizer, all_quantizers, quantizer_of
from bitloss.quantizers.cache import calibrated_on, made_in
from bitloss.quantizers.variants import check_recipe, fit_recipe, make_variant, quantize_to
from bitloss.quantizers.workers import Workers

__all__ = [
    "Quantizer",
    "Workers",
    "all_quantizers",
    "calibrated_on",
    "check_recipe",
    "fit_recipe",
    "made_in",
    "make_variant",
    "quantize_to",
    "quantizer_of",
]
