"""A loaded GGUF file in the child: logits of windows, in which equal beginnings are read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from bitloss.engines.llamacpp.context import Context
from bitloss.engines.llamacpp.library import Library
from bitloss.engines.llamacpp.settings import Settings
from bitloss.errors import UnsupportedModel
from bitloss.types import IntArray, Window

__all__ = ["GgufModel", "load"]

# A common beginning is kept from this many tokens on: a single BOS gains nothing, and whole windows
# are read in the forwards that llama.cpp's own tools read them in.
_SHARED = 16
# Rows kept of a window's logits: where the options of a question part, the next window wants the
# logits of a token that it has in common with this one.
_KEPT_ROWS = 4
# Tokens that a context is made for at least, so that a few longer windows do not make it anew.
_LENGTH = 512

_Rows = NDArray[np.float32]


class GgufModel:
    """Satisfies `bitloss.engines.base.ManyLogitsModel`, with numpy arrays.

    Args:
        library: the library.
        path: the file, or the first of several.
        name: the model's name, for errors.
        settings: see `Settings`.

    Raises:
        CheckpointError: llama.cpp cannot load the file.
        UnsupportedModel: it is no model that predicts the next token.
    """

    def __init__(self, library: Library, path: str, name: str, settings: Settings) -> None:
        self._library, self._name, self._settings = library, name, settings
        api = library.api
        self._model = library.load(path, name)
        finalize(self, api.llama_model_free, self._model).atexit = False
        if api.llama_model_has_encoder(self._model) or not api.llama_model_has_decoder(self._model):
            raise UnsupportedModel(
                f"{name}: expected a model that predicts the next token, got one with an encoder",
                hint="choose a causal language model",
            )
        self.vocabulary: int = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self._model))
        self._context_tokens: int = api.llama_model_n_ctx_train(self._model)
        self._context: Context | None = None
        self._reader = _Reader()

    def logits_of(self, windows: Sequence[Window]) -> Iterator[_Rows]:
        """See `bitloss.engines.base.ManyLogitsModel.logits_of`."""
        longest = max(len(window.ids) - 1 for window in windows)
        if longest > self._context_tokens:
            raise UnsupportedModel(
                f"{self._name}: expected windows of at most {self._context_tokens} tokens, the "
                f"context in the file, got {longest}",
                hint="use a smaller --max-length",
            )
        context = self._context_for(longest)
        context.clear()
        self._reader = _Reader()
        for window in windows:
            yield from self._reader.logits(context, window)

    def _context_for(self, tokens: int) -> Context:
        """A context that holds so many tokens; a longer window replaces it by a larger one."""
        if self._context is None or self._context.length < tokens:
            if self._context is not None:
                self._context.close()
            length = max(_LENGTH, tokens)
            self._context = Context(self._library, self._model, self._name, self._settings, length)
        return self._context


class _Reader:
    """What the first stream of a context holds, and some logits of it."""

    def __init__(self) -> None:
        self._ids: IntArray = np.empty(0, np.int32)
        self._kept: dict[int, _Rows] = {}

    def logits(self, context: Context, window: Window) -> Iterator[_Rows]:
        """Logits at the window's scored positions, after what it shares with the one before."""
        ids = np.ascontiguousarray(window.ids[:-1], np.int32)
        begin = window.first - 1
        shared = _common(self._ids, ids)
        known = begin
        while known < shared and known in self._kept:
            yield self._kept[known][None]
            known += 1
        start = min(shared, known)
        if start < _SHARED and start < len(ids):
            start = 0
        if start < len(self._ids) and not context.cut(0, start):
            context.clear()
            start = 0
        self._kept = {at: row for at, row in self._kept.items() if at < shared}
        self._ids = ids[:start]
        for at in range(start, len(ids), context.chunk):
            stop = min(at + context.chunk, len(ids))
            positions = np.arange(at, stop, dtype=np.int32)
            rows = context.read(
                ids[at:stop], positions, np.zeros_like(positions), positions >= known
            )
            first = max(at, known)
            for n in range(first, min(stop, begin + _KEPT_ROWS)):
                self._kept[n] = rows[n - first].copy()
            self._ids = ids[:stop]
            if len(rows):
                yield rows


def _common(one: IntArray, other: IntArray) -> int:
    """Length of the beginning that both have."""
    n = min(len(one), len(other))
    differ = np.flatnonzero(one[:n] != other[:n])
    return int(differ[0]) if len(differ) else n


def load(path: str, name: str, settings: Settings) -> GgufModel:
    """What the child loads; see `bitloss.engines.child.Start.load`."""
    return GgufModel(Library(), path, name, settings)
