"""A corpus in pieces that are done, stored and resumed one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bitloss.engines.dense.batches import batches, shared_tree
from bitloss.engines.dense.prefix_tree.tree import cut
from bitloss.engines.values import digest_windows, window_index
from bitloss.types import IntArray, Window

__all__ = ["Shard", "forwards", "shards"]

# Tokens read by the model in one shard: seconds of work, and megabytes of hidden states.
SHARD_TOKENS = 16_384


@dataclass(frozen=True, slots=True)
class Shard:
    """Neighbouring windows.

    Attributes:
        first: index of the first window in the plan.
        windows: the windows.
        digest: sha256 (hex) over their tokens, scored ranges and places.
        tokens: that the model reads, those in common once where they are shared.
        states: hidden states that are kept of it, one a position.
        rows: which of the states each scored token needs, shape ``[n_scored]``; None where there
            is one for each.
        share_prefixes: whether tokens that windows have in common are to be read once.
        drawn: whether it is one forward of a text whose forwards are drawn at random.
    """

    first: int
    windows: tuple[Window, ...]
    digest: str
    tokens: int
    states: int
    rows: IntArray | None = None
    share_prefixes: bool = False
    drawn: bool = False

    def window_index(self) -> IntArray:
        """The place of each scored token's window in the text, shape ``[n_scored]``."""
        return window_index(self.first, self.windows)


def shards(
    windows: Sequence[Window], batch_tokens: int, *, share_prefixes: bool = False
) -> list[Shard]:
    """Cut into pieces of about `SHARD_TOKENS` tokens to be read.

    Running text is cut at the borders of forwards, so that sharding changes no shape and hence no
    number. Where prefixes are shared, it is cut where the least of them has to be read again.
    """
    if share_prefixes:
        parts = cut(windows, SHARD_TOKENS)
        return [_sharing(start, tuple(windows[start:stop]), batch_tokens) for start, stop in parts]
    result: list[Shard] = []
    group: list[Window] = []
    first = tokens = 0
    for batch in batches(windows, batch_tokens):
        size = sum(len(window.ids) - 1 for window in batch)
        if group and tokens + size > SHARD_TOKENS:
            result.append(_plain(first, tuple(group)))
            first, tokens, group = first + len(group), 0, []
        group.extend(batch)
        tokens += size
    if group:
        result.append(_plain(first, tuple(group)))
    return result


def forwards(windows: Sequence[Window], batch_tokens: int, *, first: int = 0) -> list[Shard]:
    """Cut into single forwards, those of `shards`, so that any of them can be scored alone.

    Args:
        windows: neighbours; where they are a shard's, the forwards are the shard's too.
        batch_tokens: tokens in one forward.
        first: index of the first window in the plan.
    """
    result = []
    for batch in batches(windows, batch_tokens):
        result.append(replace(_plain(first, tuple(batch)), drawn=True))
        first += len(batch)
    return result


def _plain(first: int, windows: tuple[Window, ...]) -> Shard:
    tokens = sum(len(window.ids) - 1 for window in windows)
    return Shard(first, windows, digest_windows(windows), tokens, sum(w.n_scored for w in windows))


def _sharing(first: int, windows: tuple[Window, ...], batch_tokens: int) -> Shard:
    tree = shared_tree(windows, batch_tokens)
    if tree is None:
        return replace(_plain(first, windows), share_prefixes=True)
    return Shard(
        first, windows, digest_windows(windows), tree.tokens, len(tree.scored), tree.rows, True
    )
