"""One forward of generation: which tokens it holds, and what each of them attends to.

A forward holds the new tokens of every sequence that is decoding, side by side (the one that was
chosen, and drafts of those that may follow it), and after them pieces of prompts that are being
read. A sequence's keys stand in two places: those of prefixes that it shares in each `Prefix`,
those of its own tokens in a row of `SequenceKVCache`. Queries of all sequences under a prefix
attend to it together, and to their own rows in a padded product; the parts are put together by
their normalizers.

What a token gets is the same to the bit whoever is beside it, as far as torch's kernel gives that
(`row_blocks`): a row is as long as a multiple of `ROW_STEP`, and calls have fewer than
`MOST_QUERIES` queries of a key, from which on the kernel takes another way.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.nn import functional

from bitloss.engines.dense.generation.kv_rows import SequenceKVCache, stepped
from bitloss.engines.dense.generation.prefixes import Prefix
from bitloss.engines.dense.prefix_tree.partial_attention import attend, merge
from bitloss.types import IntArray

__all__ = ["MOST_QUERIES", "Above", "Piece", "StepPlan"]

# torch's flash kernel packs its factors from 64 queries on, and sums in another order then.
MOST_QUERIES = 63
_TOGETHER = 32

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
        under: which of the tokens that decode stand under it; None is all.
        low: the least position of one of these.
        high: the largest one.
    """

    prefix: Prefix
    under: torch.Tensor | None
    low: int
    high: int

    def on(self, device: torch.device) -> Above:
        """The same for layers on a device."""
        return self if self.under is None else replace(self, under=self.under.to(device))


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
    """One forward's `AttentionPlan`: the tokens of decoding sequences, then the pieces.

    Attributes:
        own: the decoding sequences' rows.
        rows: of each token that decodes, the sequence's row, rising, shape ``[tokens]``.
        places: where each stands in its row, shape ``[tokens]``.
        offsets: how many of its sequence stand before it in this forward, shape ``[tokens]``.
        sequences: how many are decoding.
        most: tokens of one sequence in this forward, at most.
        longest: tokens of a row after this forward, at most.
        positions: of each token of the forward in its sequence, those of pieces included.
        above: the prefixes that decoding sequences share.
        pieces: of prompts, each one after what it attends to.
        dtype: of attention, and of what is kept.
    """

    own: SequenceKVCache
    rows: torch.Tensor
    places: torch.Tensor
    offsets: torch.Tensor
    sequences: int
    most: int
    longest: int
    positions: torch.Tensor
    above: Sequence[Above]
    pieces: Sequence[Piece]
    dtype: torch.dtype
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
        tokens = len(self.rows)
        spans = []
        at = tokens
        for piece in self.pieces:  # all are kept first: what decodes may attend to them
            span = slice(at, at + piece.stop - piece.start)
            piece.prefix.store(layer, piece.start, key[:, span], value[:, span])
            spans.append(span)
            at = span.stop
        found = []
        if tokens:
            kept = self.own.append(
                layer, key[:, :tokens], value[:, :tokens], self.rows, self.places
            )
            found.append(self._decode(layer, query[:, :tokens], kept, options))
        for piece, span in zip(self.pieces, spans, strict=True):
            found.append(self._read(layer, piece, span, query[:, span], options))
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def _decode(
        self, layer: int, query: torch.Tensor, kept: _Part, options: _Options
    ) -> torch.Tensor:
        """Each sequence's tokens attend to its own row and to what it shares."""
        heads, _, dim = query.shape
        length = stepped(self.longest)
        keys, values = (part[: self.sequences, :, :length] for part in kept)
        key_heads = keys.shape[1]
        # Heads that share a key stand as queries of it, so that no key is copied, and so do a
        # sequence's tokens.
        padded = query.new_zeros(self.sequences, self.most, heads, dim)
        padded[self.rows, self.offsets] = query.transpose(0, 1)
        grouped = torch.unflatten(padded, 2, (key_heads, -1)).transpose(1, 2).flatten(2, 3)
        mask = self._own_mask(length, options.window).repeat_interleave(heads // key_heads, 1)
        out, log_sum = attend(
            grouped,
            keys,
            values,
            scale=options.scale,
            soft_cap=options.soft_cap,
            mask=mask.unsqueeze(1),
        )
        out, log_sum = (
            torch.unflatten(part, 2, (self.most, -1)).transpose(1, 2).flatten(2, 3)[
                self.rows, self.offsets
            ].transpose(0, 1)
            for part in (out, log_sum)
        )  # fmt: skip
        for one in self.above:
            chosen = slice(None) if one.under is None else one.under
            at = self.positions[: len(self.rows)][chosen]
            queries = _Queries("rows", query[:, chosen], at, one.low, one.high)
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
        keys, values = (part[:, span.start : span.stop] for part in span.prefix.layers[layer])
        heads, count, dim = queries.states.shape
        shared = heads // len(keys)
        grouped = queries.states.reshape(len(keys), shared * count, dim)
        if mask is not None:
            mask = mask.repeat(shared, 1)
        # Whoever else decodes below the prefix, its queries stand so many together.
        size = _TOGETHER if queries.name == "rows" else shared * count
        batches = -(-shared * count // size)
        missing = batches * size - shared * count
        grouped = functional.pad(grouped, (0, 0, 0, missing))
        grouped = torch.unflatten(grouped, 1, (batches, size))
        if mask is not None:
            mask = functional.pad(mask, (0, 0, 0, missing)).view(batches, 1, size, -1)
        out, log_sum = attend(
            grouped.transpose(0, 1),
            keys.expand(batches, -1, -1, -1),
            values.expand(batches, -1, -1, -1),
            scale=options.scale,
            soft_cap=options.soft_cap,
            mask=mask,
        )
        out, log_sum = (
            part.transpose(0, 1).flatten(1, 2)[:, : shared * count] for part in (out, log_sum)
        )
        return out.reshape(heads, count, -1), log_sum.reshape(heads, count)

    def _own_mask(self, length: int, window: int | None) -> torch.Tensor:
        """Hides what comes later or is not there, and what a window has passed; shape
        ``[rows, most, length]``.
        """
        if window is not None and window >= length:
            window = None
        name = ("own", window)
        if name not in self._masks:
            device = self.rows.device
            ends = torch.zeros(self.sequences, self.most, dtype=torch.long, device=device)
            ends[self.rows, self.offsets] = self.places
            ends = ends.unsqueeze(2)
            columns = torch.arange(length, device=device)
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
            if queries.low >= last and queries.high - first < window:
                self._masks[name] = None
                return None
            nothing = queries.low - last >= window
            places = torch.arange(first, last + 1, device=queries.positions.device)
            distance = queries.positions[: 0 if nothing else None].unsqueeze(1) - places
            self._masks[name] = _additive((distance >= window) | (distance < 0), self.dtype)
        return self._masks[name]


def _additive(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill_(hidden, _HIDDEN)
