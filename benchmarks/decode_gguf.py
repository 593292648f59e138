"""GGUF's cases of `decode`: tensors are read from a file, as a checkpoint reads them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import torch

from bitloss.formats.gguf.decoding import read_tensor
from bitloss.formats.gguf.header import StoredTensor
from decode import Case

__all__ = ["CASES"]

TYPES = (
    "BF16", "F16", "Q8_0", "Q6_K", "Q5_K", "Q5_0", "Q5_1", "Q4_K", "Q4_0", "Q4_1", "Q3_K", "Q2_K",
    "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XXS", "IQ1_S", "TQ2_0", "MXFP4",
)  # fmt: skip


def gguf_case(kind: str) -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
        nbytes = math.prod(shape) // block * size
        # The file is deleted with the function that reads it.
        file = tempfile.NamedTemporaryFile()  # noqa: SIM115
        # Small bytes, so that no scale is infinite.
        file.write(np.random.default_rng(0).integers(0, 120, nbytes, dtype=np.uint8).tobytes())
        file.flush()
        tensor = StoredTensor("weight", kind, shape, Path(file.name), 0, nbytes)
        return lambda dtype, file=file: read_tensor(tensor, dtype)  # type: ignore[misc]

    return Case(f"GGUF {kind}", prepare)


CASES = [gguf_case(kind) for kind in TYPES]
