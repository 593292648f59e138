"""One forward of generation: which tokens it holds, and what each of them attends to.

A forward holds one new token of every sequence that is decoding, side by side, and after them
pieces of prompts that are being read. A sequence's keys stand in two places: those of prefixes that
it shares in each `Prefix`, those of its own tokens in a row of `SequenceKVCache`. Queries of all
sequences under a prefix attend to it in one dense product, and to their own rows in a padded one;
the parts are put together by their normalizers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from bitloss.engines.dense.generation.kv_rows import SequenceKVCache
from bitloss.engines.dense.generation.prefixes import Prefix
from bitloss.engines.dense.prefix_tree.partial_attention import attend, merge
from bitloss.types import IntArray

__all__ = ["Above", "Piece", "StepPlan"]

# Added to a product it leaves nothing of it; unlike -inf, also where a whole row is hidden.
_HIDDEN = -1e30

_Part = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens ``start`` to ``stop - 1`` of a prefix, read in one forward."""

    prefix: Prefix
    start: int
    stop: int

    def positions(self) -> IntArray:
        """Of its tokens in their sequence."""
        first = self.prefix.first
        return np.arange(first + self.start, first + self.stop, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Above:
    """A prefix that decoding sequences share.

    Attributes:
        prefix: what they share.
        rows: which of them; None is all.
        low: the least position of one's token.
        high: the largest one.
    """

    prefix: Prefix
    rows: torch.Tensor | None
    low: int
    high: int

    def on(self, device: torch.device) -> Above:
        """The same for layers on a device."""
        return self if self.rows is None else replace(self, rows=self.rows.to(device))


@dataclass(frozen=True, slots=True)
class _Options:
    scale: float
    soft_cap: float | None
    window: int | None


@dataclass(frozen=True, slots=True)
class _Span:
    """Tokens ``start`` to ``stop - 1`` of a prefix, attended to."""

    prefix: Prefix
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Queries:
    """Shapes ``[heads, n, dim]`` and ``[n]``; `name` tells a step's queries apart. Their least and
    largest position are known here: to ask a card for them is to wait for it.
    """

    name: Hashable
    states: torch.Tensor
    positions: torch.Tensor
    low: int
    high: int


@dataclass(slots=True)
class StepPlan:
    """One forward's `AttentionPlan`: a token a decoding sequence, then the pieces.

    Attributes:
        own: the decoding sequences' rows.
        lengths: own tokens of each before this forward, shape ``[rows]``.
        longest: the largest of them.
        positions: of each token of the forward in its sequence, shape ``[tokens]``.
        above: the prefixes that decoding sequences share.
        pieces: of prompts, each one after what it attends to.
        dtype: of attention, and of what is kept.
        fixed: whether the step is to be right for other lengths and positions, too, in the same
            tensors: nothing is left out because of what they are.
    """

    own: SequenceKVCache
    lengths: torch.Tensor
    longest: int
    positions: torch.Tensor
    above: Sequence[Above]
    pieces: Sequence[Piece]
    dtype: torch.dtype
    fixed: bool = False
    _masks: dict[Hashable, torch.Tensor | None] = field(default_factory=dict)

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
        soft_cap: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """See `AttentionPlan`."""
        query, key, value = (part.to(self.dtype) for part in (query, key, value))
        options = _Options(scale, soft_cap, window)
        rows = len(self.lengths)
        spans = []
        at = rows
        for piece in self.pieces:  # all are kept first: what decodes may attend to them
            span = slice(at, at + piece.stop - piece.start)
            piece.prefix.store(layer, piece.start, key[:, span], value[:, span])
            spans.append(span)
            at = span.stop
        found = []
        if rows:
            kept = self.own.append(layer, key[:, :rows], value[:, :rows], self.lengths)
            found.append(self._decode(layer, query[:, :rows], kept, options))
        for piece, span in zip(self.pieces, spans, strict=True):
            found.append(self._read(layer, piece, span, query[:, span], options))
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def _decode(
        self, layer: int, query: torch.Tensor, kept: _Part, options: _Options
    ) -> torch.Tensor:
        """A token of each sequence attends to its own row and to what it shares."""
        heads, rows, dim = query.shape
        length = self.longest + 1
        keys, values = (part[:rows, :, :length] for part in kept)
        # Heads that share a key stand as queries of it, so that no key is copied.
        grouped = query.transpose(0, 1).reshape(rows, keys.shape[1], -1, dim)
        mask = self._own_mask(length, options.window)[:, None, None]
        out, log_sum = attend(
            grouped,
            keys,
            values,
            scale=options.scale,
            soft_cap=options.soft_cap,
            mask=mask.expand(-1, -1, grouped.shape[2], -1),
        )
        out = out.reshape(rows, heads, -1).transpose(0, 1)
        log_sum = log_sum.reshape(rows, heads).transpose(0, 1)
        for one in self.above:
            chosen = slice(None) if one.rows is None else one.rows
            places = self.positions[:rows][chosen]
            queries = _Queries("rows", query[:, chosen], places, one.low, one.high)
            span = _Span(one.prefix, 0, len(one.prefix.ids))
            part = self._attend_span(layer, span, queries, options)
            if part is not None:
                merged = merge([(out[:, chosen], log_sum[:, chosen]), part])
                out[:, chosen], log_sum[:, chosen] = merged
        return out

    def _read(
        self, layer: int, piece: Piece, here: slice, query: torch.Tensor, options: _Options
    ) -> torch.Tensor:
        """A piece of a prompt attends to itself, to what was read before it, and to its parents."""
        prefix, start, stop = piece.prefix, piece.start, piece.stop
        low = prefix.first + start
        queries = _Queries(piece, query, self.positions[here], low, low + stop - start - 1)
        spans = [_Span(prefix, 0, start)] if start else []
        spans += [_Span(node, 0, len(node.ids)) for node in prefix.chain() if node is not prefix]
        parts: list[_Part | None] = []
        if options.window is None or stop - start <= options.window:
            keys, values = (kept[None, :, start:stop] for kept in prefix.layers[layer])
            out, log_sum = attend(
                query.unsqueeze(0),
                keys,
                values,
                scale=options.scale,
                soft_cap=options.soft_cap,
                causal=True,
            )
            parts.append((out[0], log_sum[0]))
        else:
            spans.append(_Span(prefix, start, stop))
        parts += [self._attend_span(layer, span, queries, options) for span in spans]
        return merge([part for part in parts if part is not None])[0]

    def _attend_span(
        self, layer: int, span: _Span, queries: _Queries, options: _Options
    ) -> _Part | None:
        """Attention to a part of a prefix; None where the queries see none of it."""
        mask = None
        if options.window is not None:
            mask = self._window_mask(span, queries, options.window)
            if mask is not None and not len(mask):
                return None
        kept = span.prefix.layers[layer]
        keys, values = (part[None, :, span.start : span.stop] for part in kept)
        heads, count, dim = queries.states.shape
        shared = heads // keys.shape[1]
        out, log_sum = attend(
            queries.states.reshape(1, keys.shape[1], shared * count, dim),
            keys,
            values,
            scale=options.scale,
            soft_cap=options.soft_cap,
            mask=None if mask is None else mask.repeat(shared, 1)[None, None],
        )
        return out.reshape(heads, count, -1), log_sum.reshape(heads, count)

    def _own_mask(self, length: int, window: int | None) -> torch.Tensor:
        """Hides what shorter rows do not have, and what a window has passed; ``[rows, length]``."""
        if window is not None and window >= length:
            window = None
        name = ("own", window)
        if name not in self._masks:
            columns = torch.arange(length, device=self.lengths.device)
            ends = self.lengths.unsqueeze(1)
            hidden = columns > ends
            if window is not None:
                hidden |= columns <= ends - window
            self._masks[name] = _additive(hidden, self.dtype)
        mask = self._masks[name]
        assert mask is not None
        return mask

    def _window_mask(self, span: _Span, queries: _Queries, window: int) -> torch.Tensor | None:
        """Hides a part of a prefix from queries that are too far from it, ``[queries, keys]``.

        None where nothing is hidden; no rows where all is.
        """
        name = (span, queries.name, window)
        if name not in self._masks:
            first, last = span.prefix.first + span.start, span.prefix.first + span.stop - 1
            if not self.fixed and queries.low >= last and queries.high - first < window:
                self._masks[name] = None
                return None
            nothing = not self.fixed and queries.low - last >= window
            places = torch.arange(first, last + 1, device=queries.positions.device)
            distance = queries.positions[: 0 if nothing else None].unsqueeze(1) - places
            self._masks[name] = _additive((distance >= window) | (distance < 0), self.dtype)
        return self._masks[name]


def _additive(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill_(hidden, _HIDDEN)
