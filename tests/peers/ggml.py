"""ggml's own functions, called in the library that llama-cpp-python brings along."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["dequantize", "stored"]

_BLOCK_BYTES = {"q8_0": 34, "q5_1": 24, "q5_0": 22, "q4_1": 20, "q4_0": 18, "iq4_nl": 18}


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return ctypes.CDLL(str(Path(spec.submodule_search_locations[0]) / "lib" / "libggml-base.so"))


def dequantize(blocks: NDArray[np.uint8], kind: str, count: int) -> NDArray[np.float32]:
    """`count` values of a ggml type (``Q4_K``), by ``dequantize_row_*`` of ggml-quants.c."""
    name = kind if kind.endswith("_K") else kind.lower()
    name = f"q{name[1:]}" if name.startswith("Q") else name
    function = _library()[f"dequantize_row_{name}"]
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function.restype = None
    values = np.empty(count, np.float32)
    source = np.ascontiguousarray(blocks)
    function(source.ctypes.data, values.ctypes.data, count)
    return values


def stored(values: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Values in blocks of 32 of a type (``q4_0``), by ``quantize_row_*_ref``, and read back."""
    function = _library()[f"quantize_row_{kind}_ref"]
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function.restype = None
    source = np.ascontiguousarray(values, np.float32)
    blocks = np.zeros(source.size // 32 * _BLOCK_BYTES[kind], np.uint8)
    function(source.ctypes.data, blocks.ctypes.data, source.size)
    name = kind if kind == "iq4_nl" else kind.upper()
    return dequantize(blocks, name, source.size).reshape(source.shape)
