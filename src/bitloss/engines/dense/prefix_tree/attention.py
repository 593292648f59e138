"""Attention of a packed forward over a prefix tree; see `prefix_tree.forwards`.

Tiles are computed first, those of about a length padded into one call: what a padding token gets is
thrown away, and its key comes after those of all real ones. Links are merged into that one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from bitloss.engines.dense.precision import has_amx
from bitloss.engines.dense.prefix_tree.forwards import Forward, Link
from bitloss.engines.dense.prefix_tree.partial_attention import attend
from bitloss.engines.dense.prefix_tree.tree import PrefixTree

__all__ = ["TreeAttention"]

_Range = tuple[int, int]

# A group's longest tile has at most so many times the tokens of its shortest one.
_SPREAD = 1.1


@dataclass(eq=False, slots=True)
class _Group:
    """Tiles of one call.

    Attributes:
        tokens: those of the forward in each tile, padded with its last one,
            shape ``[tiles, longest]``.
        real: of ``tokens.flatten()``, which are not padding.
        own: those tokens, shape ``[real]``.
        seen: which keys each query sees, shape ``[tiles, longest, longest]``; None is causal.
        span: where it is one tile alone, its range in the forward.
    """

    tokens: torch.Tensor
    real: torch.Tensor
    own: torch.Tensor
    seen: torch.Tensor | None
    span: tuple[int, int] | None
    masks: dict[int | None, torch.Tensor | None] = field(default_factory=dict)


class TreeAttention:
    """The `AttentionPlan` of a tree's forwards, which have to be run in their order.

    Holds keys and values of at most one path through the tree: for each layer, twice the key heads
    times their width for each token of the longest window, in the model's dtype.

    Args:
        tree: the tree.
        device: where the forwards run.
    """

    def __init__(self, tree: PrefixTree, device: torch.device) -> None:
        self._tree = tree
        self._device = device
        self._forward = Forward(0, 0, (), (), {})
        self._groups: list[_Group] = []
        self._positions = torch.from_numpy(tree.positions.astype(np.int64)).to(device)
        self._held: dict[int, dict[int, tuple[torch.Tensor, torch.Tensor]]] = {}
        self._link_masks: dict[tuple[Link, int], tuple[torch.Tensor, torch.Tensor] | None] = {}

    def begin(self, forward: Forward) -> None:
        """Make ready for the next forward."""
        self._forward = forward
        self._link_masks = {}
        self._groups = [
            _group(self._tree, forward, tiles, self._device, chains=chains)
            for chains, tiles in _by_length(self._tree, forward)
        ]

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
        """See `AttentionPlan.attend`."""
        held = self._held.get(layer, {})
        parts = {link.key: self._part(link.key, key, value, held) for link in self._forward.links}
        self._held[layer] = self._kept(key, value, held)
        dtype = query.dtype
        if dtype == torch.bfloat16 and query.device.type == "cpu" and not has_amx():
            dtype = torch.float32  # the faster way: see `bitloss.engines.dense.attention`
        # Tokens first: a token's numbers are side by side, to be gathered and merged by rows.
        query, key, value = (part.to(dtype).transpose(0, 1) for part in (query, key, value))
        out = torch.empty(*query.shape[:2], value.shape[-1], dtype=dtype, device=query.device)
        logs = torch.empty(query.shape[:2], dtype=torch.float32, device=query.device)
        for group in self._groups:
            self._tiles(group, (query, key, value), (out, logs), scale, soft_cap, window)
        for link in self._forward.links:
            self._link(link, query, parts[link.key], (out, logs), scale, soft_cap, window)
        return out.transpose(0, 1)

    # Tiles --------------------------------------------------------------------------------

    def _tiles(
        self,
        group: _Group,
        inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        results: tuple[torch.Tensor, torch.Tensor],
        scale: float,
        soft_cap: float | None,
        window: int | None,
    ) -> None:
        if window is not None and window >= group.tokens.shape[1]:
            window = None
        if window not in group.masks:
            group.masks[window] = self._tile_mask(group, window)
        mask = group.masks[window]
        if group.span is not None:
            chosen = [part[slice(*group.span)].unsqueeze(0) for part in inputs]
        else:
            flat = group.tokens.flatten()
            chosen = [
                part.index_select(0, flat).view(*group.tokens.shape, *part.shape[1:])
                for part in inputs
            ]
        query, key, value = (part.transpose(1, 2) for part in chosen)
        found = attend(
            query, key, value, scale=scale, causal=mask is None, mask=mask, soft_cap=soft_cap
        )
        for result, part in zip(results, found, strict=True):
            rows = part.transpose(1, 2)
            if group.span is not None:
                result[slice(*group.span)] = rows[0]
            else:
                result.index_copy_(0, group.own, rows.flatten(0, 1)[group.real].to(result.dtype))

    def _tile_mask(self, group: _Group, window: int | None) -> torch.Tensor | None:
        """What is added to a group's products, shape ``[tiles, 1, longest, longest]``."""
        seen = group.seen
        if window is not None:
            at = self._positions[self._forward.start + group.tokens]
            near = at.unsqueeze(2) - at.unsqueeze(1) < window
            if seen is None:
                seen = torch.ones_like(near[0]).tril()
            # Padding has the last token's position: it sees itself at least.
            seen = seen & near
        return None if seen is None else _additive(seen).unsqueeze(1)

    # Links --------------------------------------------------------------------------------

    def _link(
        self,
        link: Link,
        query: torch.Tensor,
        part: tuple[torch.Tensor, torch.Tensor],
        results: tuple[torch.Tensor, torch.Tensor],
        scale: float,
        soft_cap: float | None,
        window: int | None,
    ) -> None:
        rows = slice(link.start - self._forward.start, link.stop - self._forward.start)
        mask = blind = None
        if window is not None and self._reach(link) >= window:
            if (link, window) not in self._link_masks:
                self._link_masks[link, window] = self._link_mask(link, window)
            found = self._link_masks[link, window]
            if found is None:
                return
            mask, blind = found
        key, value = (kept[:, : link.length].to(query.dtype).unsqueeze(0) for kept in part)
        here, log = attend(
            query[rows].transpose(0, 1).unsqueeze(0), key, value,
            scale=scale, mask=mask, soft_cap=soft_cap,
        )  # fmt: skip
        here, log = here[0].transpose(0, 1), log[0].transpose(0, 1).float()
        if blind is not None:
            log = log.masked_fill(blind.unsqueeze(1), -torch.inf)
            here = here.masked_fill(blind[:, None, None], 0.0)
        out, logs = results
        total = torch.logaddexp(logs[rows], log)
        out[rows] *= torch.exp(logs[rows] - total).unsqueeze(-1).to(out.dtype)
        out[rows] += here * torch.exp(log - total).unsqueeze(-1).to(out.dtype)
        logs[rows] = total

    def _reach(self, link: Link) -> int:
        """The largest distance from a query to a key."""
        last = int(self._tree.positions[link.start : link.stop].max())
        return last - int(self._tree.positions[link.key])

    def _link_mask(self, link: Link, window: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """What is added to the products, and which queries see nothing; None where all do not."""
        first = int(self._tree.positions[link.start : link.stop].min())
        if first - int(self._tree.positions[link.key + link.length - 1]) >= window:
            return None  # found out here, without waiting for the device
        queries = self._positions[link.start : link.stop]
        keys = self._positions[link.key : link.key + link.length]
        near = queries.unsqueeze(1) - keys.unsqueeze(0) < window
        blind = ~near.any(dim=1)
        return _additive(near)[None, None], blind

    # Keys and values ----------------------------------------------------------------------

    def _part(
        self,
        first: int,
        key: torch.Tensor,
        value: torch.Tensor,
        held: dict[int, tuple[torch.Tensor, torch.Tensor]],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values from the token `first` on, of this forward or an earlier one."""
        at = first - self._forward.start
        return held[first] if at < 0 else (key[:, at:], value[:, at:])

    def _kept(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        held: dict[int, tuple[torch.Tensor, torch.Tensor]],
    ) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        kept = {}
        for first, length in self._forward.keep.items():
            old = self._part(first, key, value, held)
            same = first < self._forward.start and old[0].shape[1] == length
            kept[first] = old if same else (old[0][:, :length].clone(), old[1][:, :length].clone())
        return kept


def _by_length(tree: PrefixTree, forward: Forward) -> Iterator[tuple[bool, list[_Range]]]:
    """Tiles of about a length together; chains, which need no mask, apart from the others."""

    def kind(tile: _Range) -> tuple[bool, int]:
        start, stop = tile
        return bool((np.diff(tree.positions[start:stop]) > 0).all()), stop - start

    group: list[_Range] = []
    chain, shortest = False, 0
    for (is_chain, size), tile in sorted((kind(tile), tile) for tile in forward.tiles):
        if group and (is_chain != chain or size > _SPREAD * shortest):
            yield chain, group
            group = []
        if not group:
            chain, shortest = is_chain, size
        group.append(tile)
    if group:
        yield chain, group


def _group(
    tree: PrefixTree,
    forward: Forward,
    tiles: Sequence[_Range],
    device: torch.device,
    *,
    chains: bool,
) -> _Group:
    starts, stops = np.array(tiles).T
    places = np.arange((stops - starts).max())
    real = places < (stops - starts)[:, None]
    tokens = np.minimum(starts[:, None] + places, stops[:, None] - 1)
    seen = None
    if not chains:
        # Padding stands for the tile's last token, so that it sees something.
        alive = tokens[:, :, None] < tree.ends[tokens][:, None, :]
        seen = torch.from_numpy(alive & (places[None, :] <= places[:, None])).to(device)
    span = None
    if len(tiles) == 1:
        span = int(starts[0]) - forward.start, int(stops[0]) - forward.start
    tokens = tokens - forward.start
    return _Group(
        tokens=torch.from_numpy(tokens).to(device),
        real=torch.from_numpy(np.flatnonzero(real)).to(device),
        own=torch.from_numpy(tokens[real]).to(device),
        seen=seen,
        span=span,
    )


def _additive(seen: torch.Tensor) -> torch.Tensor:
    return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, -torch.inf)
