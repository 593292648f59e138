"""A loaded GGUF file in the child: logits of windows, and texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from bitloss.engines.llamacpp.context import Context, common_length
from bitloss.engines.llamacpp.library import Library
from bitloss.engines.llamacpp.settings import Settings
from bitloss.engines.llamacpp.writer import Steps, write
from bitloss.errors import UnsupportedModel
from bitloss.types import IntArray, Window

__all__ = ["Described", "GgufModel", "describe", "load"]

# A common beginning is kept from this many tokens on: a single BOS gains nothing, and whole windows
# are read in the forwards that llama.cpp's own tools read them in.
_SHARED = 16
# Rows kept of a window's logits: where the options of a question part, the next window wants the
# logits of a token that it has in common with this one.
_KEPT_ROWS = 4
_GROUP = 4
# Tokens that a context is made for at least, so that a few longer windows do not make it again.
_LENGTH = 512
# Texts that are written side by side, and bytes that their keys and values may take.
_STREAMS = 16
_MEMORY = 4 << 30
# llama.cpp's streams are multiples of this.
_PAD = 256

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
        self.context: int = api.llama_model_n_ctx_train(self._model)
        self.facts = {
            "context": self.context,
            "nbytes": int(api.llama_model_size(self._model)),
        }
        # A recurrent state cannot be cut back to a beginning.
        self._shares = not (
            api.llama_model_is_recurrent(self._model) or api.llama_model_is_hybrid(self._model)
        )
        self._context: Context | None = None

    def logits_of(self, windows: Sequence[Window]) -> Iterator[_Rows]:
        """See `bitloss.engines.base.ManyLogitsModel.logits_of`."""
        longest = max(len(window.ids) - 1 for window in windows)
        if longest > self.context:
            raise UnsupportedModel(
                f"{self._name}: expected windows of at most {self.context} tokens, the "
                f"context in the file, got {longest}",
                hint="use a smaller --max-length",
            )
        context = self._context_for(max(min(longest + 1, self.context), _LENGTH), 1)
        context.clear()
        reader = _Reader(self.context)
        for window in windows:
            yield from reader.logits(context, window)

    def steps(self, prompts: Sequence[tuple[IntArray, int]]) -> Steps:
        """See `bitloss.engines.child.texts.ChildTexts`."""
        longest = max(len(ids) + more for ids, more in prompts)
        length = -(-longest // _PAD) * _PAD
        fitting = _MEMORY // (length * self._token_bytes())
        streams = max(1, min(_STREAMS, len(prompts), fitting))
        return write(self._context_for(length, streams), prompts, shares=self._shares)

    def _context_for(self, length: int, streams: int) -> Context:
        """A context of at least this size; it takes the place of a smaller one."""
        context = self._context
        if context is not None and context.length >= length and context.streams >= streams:
            return context
        if context is not None:
            context.close()
        self._context = Context(
            self._library, self._model, self._name, self._settings, length, streams
        )
        return self._context

    def _token_bytes(self) -> int:
        """Of the keys and values of a token, four bytes a number: at most, in all layers alike."""
        api, model = self._library.api, self._model
        heads = max(1, api.llama_model_n_head_kv(model))
        size = self._library.number(model, "attention.key_length")
        size = size or api.llama_model_n_embd(model) // max(1, api.llama_model_n_head(model))
        return int(2 * 4 * api.llama_model_n_layer(model) * heads * size)


class _Reader:
    """What the first stream of a context holds, and some logits of it.

    Args:
        most: tokens that the model reads at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: IntArray = np.empty(0, np.int32)
        self._kept: dict[int, _Rows] = {}

    def logits(self, context: Context, window: Window) -> Iterator[_Rows]:
        """Logits at the window's scored positions, after what it shares with the one before."""
        ids = self._read_of(window)
        begin, end = window.first - 1, len(window.ids) - 1
        shared = common_length(self._ids, ids)
        known = begin
        while known < min(shared, end) and known in self._kept:
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
            )[: max(0, end - max(at, known))]
            first = max(at, known)
            for n in range(first, min(first + len(rows), begin + _KEPT_ROWS)):
                self._kept[n] = rows[n - first].copy()
            self._ids = ids[:stop]
            if len(rows):
                yield rows

    def _read_of(self, window: Window) -> IntArray:
        """What is read of a window: all but its last token, or all of it.

        llama.cpp multiplies some types of weights with `_GROUP` tokens at a time, and the rest of a
        forward by another way, which rounds otherwise. Its own tools read a window's last token,
        too, and ask for its logits: so read, numbers are equal to theirs.
        """
        ids = np.ascontiguousarray(window.ids, np.int32)
        whole = len(ids) % _GROUP == 0 and len(ids) <= self._most
        return ids if whole and _shared(self._ids, ids) == 0 else ids[:-1]


def _shared(held: IntArray, ids: IntArray) -> int:
    """Length of a common beginning that is worth keeping, else 0."""
    n = common_length(held, ids)
    return n if n >= _SHARED else 0


def load(path: str, name: str, settings: Settings) -> GgufModel:
    """What the child loads; see `bitloss.engines.child.Start.load`."""
    return GgufModel(Library(), path, name, settings)


class Described:
    """A file of which everything but the weights was read; it computes nothing.

    Args:
        read: the tokens of some texts.
    """

    vocabulary = 1

    def __init__(self, read: list[list[int]]) -> None:
        self.facts = {"read": read}


def describe(path: str, name: str, texts: Sequence[str]) -> Described:
    """Read what describes a file's model, and texts as its tokenizer does; raises as `Library.load`
    does.
    """
    library = Library()
    model = library.load(path, name, weights=False)
    read = [library.tokens(model, text) for text in texts]
    library.api.llama_model_free(model)
    return Described(read)
