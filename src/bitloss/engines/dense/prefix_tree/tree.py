"""Windows as a prefix tree: every token that several of them read in common stands there once.

The tree is laid out depth first, in the order of the tokens' ids: a token's descendants follow it
without a gap. So a token sees exactly those tokens ``j <= i`` whose subtree has not ended,
``i < ends[j]``, and all queries below a branch stand side by side.

A *chain* is a run of tokens each of which is the next one's parent. Chains are what forwards are
made of; `bitloss.engines.dense.prefix_tree.forwards` says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bitloss.types import IntArray, Window

__all__ = ["PrefixTree", "cut", "grow"]


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """The tokens that windows read, each once.

    Attributes:
        ids: token ids in the tree's order, shape ``[tokens]``.
        positions: of each token in its sequence, shape ``[tokens]``.
        ends: one past the last token of each token's subtree, shape ``[tokens]``.
        scored: where a scored token is predicted, rising and unique, shape ``[rows]``.
        rows: for each scored token of the windows, in their order, the index into `scored` of the
            position that predicts it, shape ``[n_scored]``.
        read: tokens that the windows read, repetitions counted.
    """

    ids: IntArray
    positions: IntArray
    ends: IntArray
    scored: IntArray
    rows: IntArray
    read: int

    @property
    def tokens(self) -> int:
        """Number of tokens in the tree."""
        return len(self.ids)

    def chains(self) -> list[tuple[int, int]]:
        """The chains in order, each a range of the layout."""
        starts = np.flatnonzero(np.diff(self.positions, prepend=1) <= 0)
        return list(zip(starts.tolist(), [*starts[1:].tolist(), self.tokens], strict=True))


def grow(windows: Sequence[Window]) -> PrefixTree:
    """The prefix tree of what the windows read, ``ids[:-1]`` of each.

    Args:
        windows: in any order; tokens are not negative.
    """
    reads = [window.ids[:-1] for window in windows]
    order = sorted(range(len(reads)), key=lambda i: reads[i].astype(">u4").tobytes())
    path = _Path()
    pieces: list[IntArray] = []
    predicts: list[IntArray] = [np.empty(0, np.int32)] * len(reads)
    before: IntArray = np.empty(0, np.int32)
    for i in order:
        ids = reads[i]
        shared = _common(before, ids)
        path.branch(shared, len(ids))
        pieces.append(ids[shared:])
        predicts[i] = path.layout(windows[i].first - 1, len(ids))
        before = ids
    path.branch(0, 0)
    at = _joined(predicts)
    is_scored = np.zeros(path.size, dtype=bool)
    is_scored[at] = True
    return PrefixTree(
        ids=_joined(pieces),
        positions=path.positions(),
        ends=path.ends(),
        scored=np.flatnonzero(is_scored).astype(np.int32),
        rows=(np.cumsum(is_scored, dtype=np.int32) - 1)[at].astype(np.int32),
        read=sum(map(len, reads)),
    )


def cut(windows: Sequence[Window], tokens: int) -> list[tuple[int, int]]:
    """Cut windows, neighbours of which share prefixes, where little is shared.

    Args:
        windows: in any order; only what a window shares with the one before it is counted.
        tokens: unique ones in a part, at most. Where four windows would not fit, it is as many as
            four windows have: a long prefix is not to be computed for every one of them.

    Returns:
        Ranges of windows, in order.
    """
    reads = [window.ids[:-1] for window in windows]
    shared = [0, *(_common(a, b) for a, b in pairwise(reads))]
    added = np.array([len(ids) for ids in reads]) - np.array(shared)
    filled = np.concatenate([[0], np.cumsum(added)])
    parts: list[tuple[int, int]] = []
    start, stop = 0, 2
    while stop <= len(reads):
        most = max(tokens, 4 * len(reads[start]))
        # What the part's first window shares with the one before it is not there to be shared.
        if filled[stop] - filled[start] + shared[start] <= most:
            stop += 1
            continue
        half = filled[start] - shared[start] + most // 2
        first = max(start + 1, int(np.searchsorted(filled[: stop - 1], half)))
        border = min(range(first, stop), key=lambda i: (shared[i], -i))
        parts.append((start, border))
        start, stop = border, border + 2  # what is left may be too large for its own first window
    if reads:
        parts.append((start, len(reads)))
    return parts


class _Path:
    """The tokens of the sequence at hand, as runs of the layout, and what is known of the rest."""

    def __init__(self) -> None:
        self.size = 0
        self._runs: list[tuple[int, int, int]] = []  # layout start, first position, end position
        self._added: list[tuple[int, int]] = []  # positions of the layout, run by run
        self._ended: list[tuple[int, int, int]] = []  # layout start and stop, value of `ends`

    def branch(self, shared: int, length: int) -> None:
        """Go on to a sequence that has `shared` tokens in common with the one at hand."""
        while self._runs and self._runs[-1][2] > shared:
            start, first, end = self._runs.pop()
            left = max(shared - first, 0)
            self._ended.append((start + left, start + end - first, self.size))
            if left:
                self._runs.append((start, first, shared))
        if length > shared:
            self._runs.append((self.size, shared, length))
            self._added.append((shared, length))
            self.size += length - shared

    def layout(self, begin: int, end: int) -> IntArray:
        """Where the sequence's positions `begin` to ``end - 1`` stand in the layout."""
        parts: list[IntArray] = []
        for start, first, stop in reversed(self._runs):
            low, high = max(begin, first), min(end, stop)
            if low < high:
                parts.append(np.arange(start + low - first, start + high - first, dtype=np.int32))
            if first <= begin:
                break
        return _joined(parts[::-1])

    def positions(self) -> IntArray:
        return _joined([np.arange(first, end, dtype=np.int32) for first, end in self._added])

    def ends(self) -> IntArray:
        ends = np.empty(self.size, dtype=np.int32)
        for start, stop, value in self._ended:
            ends[start:stop] = value
        return ends


def _common(left: IntArray, right: IntArray) -> int:
    """Length of the longest common prefix."""
    size = min(len(left), len(right))
    differs = left[:size] != right[:size]
    first = int(differs.argmax()) if size else 0
    return first if size and differs[first] else size


def _joined(parts: Sequence[IntArray]) -> IntArray:
    if not parts:
        return np.empty(0, np.int32)
    joined: IntArray = np.concatenate(parts).astype(np.int32, copy=False)
    return joined
