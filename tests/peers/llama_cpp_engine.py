"""llama.cpp's own kernels on GGUF files, by the low-level calls of llama-cpp-python.

The reference runs in the dense engine. A divergence therefore holds both what the file lost and how
llama.cpp's kernels differ from PyTorch's (they round activations for quantized weights).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import finalize

import numpy as np
import torch

from bitloss.engines.base import Engine
from bitloss.engines.values import Candidate
from bitloss.errors import CheckpointError, MissingDependency, NumericalError, UnsupportedModel
from bitloss.formats.gguf.files import find_file
from bitloss.types import Window

__all__ = ["ENGINE"]

_THREADS = 2
# Tokens in one decode at most: bounds the buffer of logits, 512 x 151,936 of Qwen2 are 311 MB.
_CHUNK = 512


class _LlamaCpp:
    """A loaded GGUF file; satisfies `bitloss.engines.base.LogitsModel`."""

    def __init__(self, library: Any, model: Any, name: str, chunk: int) -> None:
        self._library, self._model, self._name, self._chunk = library, model, name, chunk
        self._context: Any = None
        self._size = 0
        self._free_context = finalize(self, lambda: None)
        vocabulary = library.llama_model_get_vocab(model)
        self.vocabulary: int = library.llama_vocab_n_tokens(vocabulary)

    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        """See `LogitsModel.logits`: blocks of one decode each, copied out of llama.cpp's buffer."""
        library = self._library
        ids = np.ascontiguousarray(window.ids[:-1], np.int32)
        context = self._context_for(len(ids))
        library.llama_memory_clear(library.llama_get_memory(context), True)
        for start in range(0, len(ids), self._chunk):
            stop = min(start + self._chunk, len(ids))
            # Position i predicts token i + 1.
            first = max(window.first - 1 - start, 0)
            self._decode(context, ids[start:stop], start, first)
            if start + first < stop:
                yield self._rows(context, first, stop - start)

    def _decode(self, context: Any, ids: Any, start: int, first: int) -> None:
        """Read some tokens; logits are kept of those from `first` on."""
        n, library = len(ids), self._library
        positions = np.arange(start, start + n, dtype=np.int32)
        ones, wanted = np.ones(n, np.int32), (np.arange(n) >= first).astype(np.int8)
        sequence = (library.llama_seq_id * 1)(0)
        sequences = (ctypes.POINTER(library.llama_seq_id) * n)(*[sequence] * n)
        batch = library.llama_batch(
            n_tokens=n,
            token=ids.ctypes.data_as(ctypes.POINTER(library.llama_token)),
            pos=positions.ctypes.data_as(ctypes.POINTER(library.llama_pos)),
            n_seq_id=ones.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=sequences,
            logits=wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
        if (status := library.llama_decode(context, batch)) != 0:
            raise NumericalError(
                f"expected llama_decode to return 0, got {status}", hint="use another engine"
            )

    def _rows(self, context: Any, first: int, stop: int) -> torch.Tensor:
        rows = np.empty((stop - first, self.vocabulary), np.float32)
        for row, position in zip(rows, range(first, stop), strict=True):
            pointer = self._library.llama_get_logits_ith(context, position)
            row[:] = np.ctypeslib.as_array(pointer, (self.vocabulary,))
        if not np.isfinite(rows).all():
            raise NumericalError(
                "expected finite logits, got NaN or infinite ones",
                hint="check the file's digest; it may be damaged",
            )
        return torch.from_numpy(rows)

    def _context_for(self, tokens: int) -> Any:
        """A context that holds so many tokens; a longer window replaces it by a larger one."""
        if tokens > self._size:
            self._free_context()
            library = self._library
            options = library.llama_context_default_params()
            options.n_ctx = tokens
            options.n_batch = options.n_ubatch = min(self._chunk, tokens)
            options.n_threads = options.n_threads_batch = _THREADS
            options.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
            options.type_k = options.type_v = library.GGML_TYPE_F32
            context = library.llama_init_from_model(self._model, options)
            if not context:
                raise UnsupportedModel(
                    f"{self._name}: llama.cpp cannot make a context of {tokens} tokens",
                    hint="use a smaller --max-length, or --engine dense",
                )
            self._context, self._size = context, tokens
            self._free_context = finalize(self, library.llama_free, context)
        return self._context


def load(candidate: Candidate, *, batch_tokens: int) -> _LlamaCpp:
    """Load a GGUF file.

    Raises:
        MissingDependency: llama-cpp-python is not installed.
        UnsupportedModel: the model is no GGUF file, or is to run on a GPU.
        CheckpointError: llama.cpp cannot load the file.
    """
    name = candidate.model.name
    library = _library()
    path = _gguf(candidate)
    if candidate.device != "cpu":
        raise UnsupportedModel(
            f"{name}: engine `llama.cpp` runs on the CPU, got device `{candidate.device}`",
            hint="use --device cpu, or --engine dense",
        )
    options = library.llama_model_default_params()
    options.n_gpu_layers = 0
    model = library.llama_model_load_from_file(str(path).encode(), options)
    if not model:
        raise CheckpointError(
            f"{name}: llama.cpp cannot load this file", hint="use --engine dense to check the file"
        )
    loaded = _LlamaCpp(library, model, name, min(batch_tokens, _CHUNK))
    # Finalizers run in reverse order of their registration: contexts go before their model.
    finalize(loaded, library.llama_model_free, model)
    return loaded


def _gguf(candidate: Candidate) -> Path:
    path = candidate.model.path
    file = None if path is None else find_file(path)
    if file is None:
        raise UnsupportedModel(
            f"{candidate.model.name}: engine `llama.cpp` expected a GGUF file, got "
            f"{candidate.model.identity.info.format}",
            hint="make one with `bitloss quantize MODEL out.gguf --recipe gguf-q8_0`, "
            "or use --engine dense",
        )
    return file


def _library() -> Any:
    """llama_cpp, silent."""
    try:
        import llama_cpp
    except ImportError as error:
        raise MissingDependency("llama-cpp-python", "engine `llama.cpp`", extra="gguf") from error
    if not _QUIET:
        _QUIET.append(llama_cpp.llama_log_callback(lambda level, text, data: None))
        llama_cpp.llama_log_set(_QUIET[0], ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    return llama_cpp


# llama.cpp calls it for as long as the process lives, so it has to be kept that long.
_QUIET: list[Any] = []

ENGINE = Engine(
    name="llama.cpp",
    version="llama.cpp-1",
    packages=("llama-cpp-python",),
    settings=MappingProxyType(
        {"threads": _THREADS, "chunk": _CHUNK, "flash_attention": False, "cache": "f32"}
    ),
    logits=load,
)
