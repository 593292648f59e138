"""Quantization methods that are published and not decoded here: why, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["UNDECODED", "why_undecoded"]

_CODEBOOK = "choose a copy of the model in GPTQ, AWQ or GGUF"
_DENSE = "save the model dense with the library that wrote it, and open that"
_ORIGINAL = "open the original model: this config quantizes it while it is loaded"

# By the names of transformers' `AUTO_QUANTIZER_MAPPING` and vLLM's `QUANTIZATION_METHODS`.
UNDECODED: Mapping[str, tuple[str, str]] = MappingProxyType({
    "aqlm": ("weights are sums of entries of learned codebooks", _CODEBOOK),
    "vptq": ("weights are entries of learned codebooks, in permuted columns", _CODEBOOK),
    "quip": ("weights are rotated and lie on a lattice", _CODEBOOK),
    "spqr": ("weights are packed in tiles with sparse outliers", _CODEBOOK),
    "squeezellm": ("weights are entries of a codebook for each row, with sparse outliers",
                   _CODEBOOK),
    "higgs": ("weights are rotated by blocks and packed for one kernel of one GPU", _DENSE),
    "fp_quant": ("weights are rotated by blocks of a Hadamard matrix", _DENSE),
    "fouroversix": ("values and scales lie as the library's own kernels want them", _DENSE),
    "sinq": ("weights have scales of both axes in the library's own containers", _DENSE),
    "quanto": ("weights are packed in the library's own tensors", _DENSE),
    "eetq": ("integers are interleaved for one kernel", _DENSE),
    "quark": ("layouts depend on the exporter's settings",
              "export the model again with compressed-tensors, or choose a copy in GPTQ or FP8"),
    "bitnet": ("ternary weights need 8-bit activations, which are not supported here",
               "choose the model's copy in bf16 or in GGUF"),
    "deepspeedfp": ("floats of 6 bits are packed for one kernel", _DENSE),
    "qqq": ("weights are packed for one kernel", _DENSE),
    "metal": ("weights are packed in mlx's layout", _DENSE),
    "gemma": ("activations are rounded to 8 bits, which is not supported here",
              "choose the model's copy in bf16 or in GGUF"),
    "gguf": ("the weights are blocks of GGUF within safetensors", "open the .gguf file itself"),
    "nvfp4": ("transformers quantizes while it loads, and saves nothing", _ORIGINAL),
    "tpu_int8": ("vLLM quantizes while it loads", _ORIGINAL),
    "experts_int8": ("vLLM quantizes while it loads", _ORIGINAL),
    "rtn": ("vLLM quantizes while it loads", _ORIGINAL),
    "ptpc_fp8": ("vLLM quantizes while it loads", _ORIGINAL),
})  # fmt: skip


def why_undecoded(method: str) -> tuple[str, str]:
    """Reason and hint for a quantization method in lower case; two "" where it is not known."""
    return UNDECODED.get(method, ("", ""))
