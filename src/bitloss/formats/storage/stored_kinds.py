"""What tensors look like that are no dense weights, for a model that does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bitloss.formats.storage.shards import StoredTensor

__all__ = ["describe_codes"]

_INTEGERS = ("U8", "I8", "I32", "U32")
# Names of tensors, types of codes, and what stores them so; the first that fits.
_KINDS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    (r"_scale_inv$", ("F8_E4M3",), "FP8 with scales per block", "fp8"),
    (r"\.weight_scale_2$", ("U8",), "NVFP4 as ModelOpt exports it", "modelopt"),
    (r"\.weight_packed$", _INTEGERS, "compressed-tensors", "compressed-tensors"),
    (r"_blocks$", ("U8",), "MXFP4 experts as in gpt-oss", "mxfp4"),
    (r"\.qzeros$", ("I32",), "GPTQ or AWQ", "gptq"),
    (r"\.(quant_map|absmax|SCB)$", ("U8", "I8"), "bitsandbytes", "bitsandbytes"),
    (r"\.weight_scale$", ("F8_E4M3",), "FP8 with scales per tensor or row", "fp8"),
    (r"\.scale$", ("F8_E4M3",), "FP8 with scales per block", "fp8"),
)


def describe_codes(tensors: Mapping[str, StoredTensor]) -> tuple[str, str]:
    """What the tensors look like, and the quantization method that stores them so; "" if unknown.

    Args:
        tensors: all of the model, by name.
    """
    types = {tensor.dtype for tensor in tensors.values()}
    for pattern, codes, words, method in _KINDS:
        named = next((name for name in tensors if re.search(pattern, name)), None)
        if named and types.intersection(codes):
            return f"the tensors look like {words} (`{named}`)", method
    if types.intersection(("F8_E4M3", "F8_E5M2")):
        return "the tensors look like FP8 cast without scales", ""
    return "", ""
