"""The types that llama.cpp takes where the blocks of a file's own types do not divide the rows.

A file called Q4_K_M of a model that is 576 wide is largely Q5_0: K-quants have blocks of 256
weights. The choice is llama.cpp's (src/llama-quant.cpp, ``tensor_type_fallback``); here it is read
back from the header, whoever made the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bitloss.formats.gguf.file_types import FILE_TYPES
from bitloss.formats.gguf.header import StoredTensor

__all__ = ["fallback_note"]

_DENSE = ("f32", "f16", "bf16")
_BLOCKS_OF_32 = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


def fallback_note(file_type: str, tensors: Iterable[StoredTensor]) -> str:
    """How many matrices of a file have which types in place of its own; ``""`` if none has.

    Args:
        file_type: of the whole file: ``"q4_k_m"``.
        tensors: of its header.
    """
    if file_type not in FILE_TYPES or file_type in _DENSE:
        return ""
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1 and tensor.type != "F32"]
    replaced = [tensor for tensor in matrices if _is_fallback(file_type, tensor)]
    if not replaced:
        return ""
    rows = ", ".join(str(row) for row in sorted({tensor.shape[-1] for tensor in replaced}))
    text = (
        f"{len(replaced)} of {len(matrices)} matrices have rows ({rows}) that the blocks of their "
        f"type do not divide; llama.cpp's fallback types are in their place: {_counts(replaced)}"
    )
    others = [tensor for tensor in matrices if not _is_fallback(file_type, tensor)]
    return f"{text}; the others are {_counts(others)}" if others else text


def _is_fallback(file_type: str, tensor: StoredTensor) -> bool:
    row = tensor.shape[-1]
    if file_type not in _BLOCKS_OF_32:
        return row % 256 != 0
    # Such files have K-quants too: Q6_K in the head, Q5_K in some layers of IQ4_NL. A dense tensor
    # of fitting rows is somebody's choice.
    dense = tensor.type in ("F16", "BF16")
    return row % 32 != 0 or (row % 256 != 0 and not dense and tensor.type.lower() != file_type)


def _counts(tensors: Iterable[StoredTensor]) -> str:
    counts = Counter(tensor.type for tensor in tensors)
    return ", ".join(f"{kind} ({count})" for kind, count in counts.most_common())
