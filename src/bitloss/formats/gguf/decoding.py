"""Stored blocks to dense float32, with the library's own dequantizers.

`gguf.dequantize` is bit-exact with ggml's reference and, fed in pieces that stay in the cache,
fast enough, so there is no decoder of our own (MB/s of dense bf16 on one core of a busy Xeon,
benchmarks/decode_gguf.py: Q8_0 2,300, Q4_0 1,400, Q6_K 1,100, Q4_K 1,000, Q5_K 790, IQ4_XS 430,
IQ2 and IQ3 200). The pieces matter: on rows of 256, as small models have them, the same functions
give a quarter of that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.header import StoredTensor
from bitloss.formats.gguf.library import gguf_library

if TYPE_CHECKING:
    import torch

__all__ = ["check_type", "decode", "read_tensor"]

# Both are multiples of every block size (at most 256).
_PIECE = 1 << 18
_ROW = 1 << 12


def decode(blocks: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    """Decode whole blocks.

    Args:
        blocks: the bytes, shape ``[n]``.
        kind: ggml's type (``Q4_K``).

    Returns:
        The values, shape ``[n / bytes of a block * weights of a block]``.

    Raises:
        UnsupportedModel: the library has no decoder for the type.
    """
    gguf = gguf_library()
    ggml_type = gguf.GGMLQuantizationType[kind]
    block, nbytes = gguf.GGML_QUANT_SIZES[ggml_type]
    row = _ROW // block * nbytes
    shaped = blocks.reshape(-1, row) if blocks.size % row == 0 else blocks.reshape(1, -1)
    try:
        # A damaged scale may be infinite; the engine reports what comes of it, by layer.
        with np.errstate(all="ignore"):
            values: NDArray[np.float32] = gguf.dequantize(shaped, ggml_type)
    except NotImplementedError as error:
        raise UnsupportedModel(
            f"tensors of type {kind} cannot be decoded: the package gguf has no dequantizer",
            hint="take a file of another type; all of llama-quantize's can be read",
        ) from error
    return values.reshape(-1)


def check_type(kind: str) -> None:
    """Find out whether a type can be decoded, without a tensor.

    Raises:
        UnsupportedModel: it cannot.
    """
    gguf = gguf_library()
    decode(np.zeros(gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][1], np.uint8), kind)


def read_tensor(
    tensor: StoredTensor, dtype: torch.dtype | None = None, rows: range | None = None
) -> torch.Tensor:
    """Read and decode one tensor, a piece at a time.

    Args:
        tensor: where it lies.
        dtype: what each piece is rounded to; None is float32.
        rows: neighbors that are wanted alone, each of whole blocks; None is all of them.

    Returns:
        Of the tensor's dense shape, or with as many rows as are wanted.

    Raises:
        CheckpointError: the file is shorter than its header says.
        UnsupportedModel: see `decode`.
    """
    import torch

    shape = tensor.shape if rows is None else (len(rows), *tensor.shape[1:])
    whole, total = math.prod(tensor.shape), math.prod(shape)
    first = 0 if rows is None else rows.start * math.prod(shape[1:])
    dense = torch.empty(total, dtype=dtype or torch.float32)
    with tensor.file.open("rb") as file:
        file.seek(tensor.offset + tensor.nbytes * first // whole)
        for start in range(0, total, _PIECE):
            stop = min(start + _PIECE, total)
            wanted = tensor.nbytes * stop // whole - tensor.nbytes * start // whole
            raw = file.read(wanted)
            if len(raw) != wanted:
                raise CheckpointError(
                    f"{tensor.file}: `{tensor.name}`: expected {wanted} bytes at "
                    f"{file.tell() - len(raw)}, got {len(raw)}",
                    hint="download or copy the file again: it was cut off",
                )
            values = decode(np.frombuffer(raw, np.uint8), tensor.type)
            # F32 is a view of the bytes, which torch would not take as it is.
            dense[start:stop] = torch.from_numpy(np.require(values, requirements="W"))
    return dense.reshape(shape)
