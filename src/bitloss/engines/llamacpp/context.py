"""A context of llama.cpp: its cache, and forwards over it."""

from __future__ import annotations

import ctypes
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from bitloss.engines.llamacpp.library import Library
from bitloss.engines.llamacpp.settings import CACHE_TYPES, Settings
from bitloss.errors import NumericalError, UnsupportedModel
from bitloss.types import IntArray

__all__ = ["Context", "common_length"]

# What is added to each number of a layer's output, or taken off: about the last bit of numbers of
# a usual size. From 1e-8 to 1e-4 the distance that it makes with a cache of few bits is the same.
_NUDGE = 1e-6
_SEED = 0


class Context:
    """Streams of tokens that a model has read, each with a cache of its own.

    Args:
        library: the library.
        model: a loaded model, kept by the caller for as long as the context lives.
        name: the model's name, for errors.
        settings: types of the cache, threads and the size of a forward.
        length: tokens that a stream holds.
        streams: number of streams.

    Raises:
        UnsupportedModel: llama.cpp cannot make it, for want of memory or because the model's sizes
            do not fit the types of the cache.
    """

    def __init__(
        self, library: Library, model: Any, name: str, settings: Settings, length: int,
        streams: int = 1,
    ) -> None:  # fmt: skip
        api = library.api
        self._api, self._name = api, name
        self.length, self.streams, self.chunk = length, streams, settings.chunk
        options = api.llama_context_default_params()
        options.n_ctx = length * streams
        options.n_seq_max = streams
        options.n_batch = options.n_ubatch = settings.chunk
        options.n_threads = options.n_threads_batch = settings.threads
        options.flash_attn_type = (
            api.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if settings.flash_attention
            else api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        options.type_k = CACHE_TYPES[settings.keys]
        options.type_v = CACHE_TYPES[settings.values]
        # A stream per sequence: none is slowed down by another's tokens or rounds otherwise.
        options.kv_unified = False
        # Windows of attention as masks over all keys, so that a part of a text can be taken back.
        options.swa_full = True
        options.no_perf = True
        self._context = api.llama_init_from_model(model, options)
        if not self._context:
            raise UnsupportedModel(
                f"{name}: llama.cpp cannot make a context of {streams} x {length} tokens with a "
                f"{settings.keys}/{settings.values} cache{library.reason()}",
                hint="choose another --cache-type or a smaller --max-length, or --engine dense",
            )
        self.close = finalize(self, api.llama_free, self._context)
        self._memory = api.llama_get_memory(self._context)
        self._vocabulary: int = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
        self._batch = _Batch(api, settings.chunk)
        if settings.nudged:
            self._nudge(model)

    def clear(self) -> None:
        """Forget all streams."""
        # The keys' numbers stay where they are: whether they are wiped, too, decides nothing.
        self._api.llama_memory_clear(self._memory, False)

    def cut(self, stream: int, length: int) -> bool:
        """Forget what a stream holds beyond its first tokens; False if its cache cannot."""
        return bool(self._api.llama_memory_seq_rm(self._memory, stream, length, -1))

    def copy(self, source: int, stream: int) -> None:
        """Make a stream hold what another holds."""
        self._api.llama_memory_seq_rm(self._memory, stream, -1, -1)
        # The whole of it: llama.cpp aborts the process for parts.
        self._api.llama_memory_seq_cp(self._memory, source, stream, -1, -1)

    def read(
        self, ids: IntArray, positions: IntArray, streams: IntArray, wanted: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """One forward over tokens of any streams, in order within each.

        Args:
            ids: at most `chunk` tokens.
            positions: of each token in its stream.
            streams: which stream each belongs to.
            wanted: whether its logits are.

        Returns:
            Logits of the wanted tokens, shape ``[wanted, vocabulary]``, in llama.cpp's own memory,
            which the next forward overwrites.

        Raises:
            NumericalError: NaN or infinite logits.
            UnsupportedModel: llama.cpp refuses the forward.
        """
        batch = self._batch.fill(ids, positions, streams, wanted)
        if (status := self._api.llama_decode(self._context, batch)) != 0:
            raise UnsupportedModel(
                f"{self._name}: expected llama_decode to return 0, got {status}",
                hint="use a smaller --max-length, or --engine dense",
            )
        count = int(wanted.sum())
        if not count:
            return np.empty((0, self._vocabulary), np.float32)
        found = self._api.llama_get_logits(self._context)
        rows: NDArray[np.float32] = np.ctypeslib.as_array(found, (count, self._vocabulary))
        # The sum is much the fastest of what NaN and infinity show in.
        if not np.isfinite(rows.sum()) and not np.isfinite(rows).all():
            raise NumericalError(
                "expected finite logits, got NaN or infinite ones",
                hint="check the file's digest; it may be damaged",
            )
        return rows

    def _nudge(self, model: Any) -> None:
        """Move every layer's output by about its last bit, by what llama.cpp has for steering
        models: a vector that is added to it.
        """
        api = self._api
        width, layers = api.llama_model_n_embd(model), api.llama_model_n_layer(model)
        signs = np.random.default_rng(_SEED).choice((-_NUDGE, _NUDGE), width * layers)
        vector = signs.astype(np.float32)
        pointer = vector.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        status = api.llama_set_adapter_cvec(self._context, pointer, len(vector), width, 1, layers)
        if status != 0:
            raise UnsupportedModel(
                f"{self._name}: llama.cpp cannot move the outputs of this model's layers",
                hint="choose another --engine to learn how far a model is from itself",
            )


def common_length(one: IntArray, other: IntArray) -> int:
    """Length of the beginning that both have."""
    n = min(len(one), len(other))
    differ = np.flatnonzero(one[:n] != other[:n])
    return int(differ[0]) if len(differ) else n


class _Batch:
    """The arrays of a ``llama_batch``, used again for every forward."""

    def __init__(self, api: Any, size: int) -> None:
        self._ids = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._streams = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        pointer = ctypes.POINTER(api.llama_seq_id)
        one = self._streams.itemsize
        address = self._streams.ctypes.data
        self._pointers = (pointer * size)(
            *(ctypes.cast(address + n * one, pointer) for n in range(size))
        )
        self._batch = api.llama_batch(
            n_tokens=0,
            token=self._ids.ctypes.data_as(ctypes.POINTER(api.llama_token)),
            pos=self._positions.ctypes.data_as(ctypes.POINTER(api.llama_pos)),
            n_seq_id=self._counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._pointers,
            logits=self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(
        self, ids: IntArray, positions: IntArray, streams: IntArray, wanted: NDArray[np.bool_]
    ) -> Any:
        n = len(ids)
        self._ids[:n], self._positions[:n], self._streams[:n] = ids, positions, streams
        self._wanted[:n] = wanted
        self._batch.n_tokens = n
        return self._batch
