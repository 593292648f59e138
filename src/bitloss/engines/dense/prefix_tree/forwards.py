"""A prefix tree cut into forwards: which tokens run together, and what each attends to.

A forward is a range of the tree's layout. Its tokens' attention is put together from

- *tiles*: ranges whose tokens attend to each other, small subtrees or single chains. All tiles of
  about a length are computed in one call, so that a thousand short options cost a few of them;
- *links*: a range of queries that all see the same stretch of an ancestor, one dense product. A
  preamble that all questions below it share is one link.

Keys and values that later forwards link to are kept and given up as soon as none does. What is kept
at any time are parts of one path through the tree: at most the tokens of the longest window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitloss.engines.dense.prefix_tree.tree import PrefixTree

__all__ = ["TILE_TOKENS", "Forward", "Link", "plan_forwards"]

# A masked tile computes all its products, seen or not; links cost calls and merges instead.
TILE_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Link:
    """Queries that attend to all of the same keys.

    Attributes:
        start: first query, an index into the tree's layout.
        stop: one past the last query.
        key: first key; a chain begins there, or the part of one that is in a forward of its own.
        length: number of keys.
    """

    start: int
    stop: int
    key: int
    length: int


@dataclass(frozen=True, slots=True)
class Forward:
    """Tokens that run together.

    Attributes:
        start: first token, an index into the tree's layout.
        stop: one past the last token.
        tiles: ranges of the layout that cover the forward; a range that is one chain is causal.
        links: to ancestors outside of the queries' own tile.
        keep: by the first key of a link of a later forward, how many keys that is, at most.
    """

    start: int
    stop: int
    tiles: tuple[tuple[int, int], ...]
    links: tuple[Link, ...]
    keep: dict[int, int]


def plan_forwards(tree: PrefixTree, batch_tokens: int) -> list[Forward]:
    """Cut a tree into forwards of at most `batch_tokens` tokens, in its order.

    A chain longer than that is split; shorter ones are whole.
    """
    cuts = list(_cut(tree.chains(), batch_tokens))
    tiles = [_tiles(tree, pieces) for pieces in cuts]
    links = list(_links(tree, cuts, tiles))
    forwards: list[Forward] = []
    needed: dict[int, int] = {}
    for pieces, own, linked in zip(cuts[::-1], tiles[::-1], links[::-1], strict=True):
        start, stop = pieces[0][0], pieces[-1][1]
        needed = {key: length for key, length in needed.items() if key < stop}
        forwards.append(Forward(start, stop, tuple(own), tuple(linked), dict(needed)))
        for link in linked:
            needed[link.key] = max(link.length, needed.get(link.key, 0))
    return forwards[::-1]


def _cut(chains: Sequence[tuple[int, int]], batch_tokens: int) -> Iterator[list[tuple[int, int]]]:
    """Chains or parts of them, forward by forward."""
    pieces: list[tuple[int, int]] = []
    room = batch_tokens
    for start, stop in chains:
        if stop - start <= batch_tokens and stop - start > room:
            yield pieces
            pieces, room = [], batch_tokens
        while stop - start > room:
            if room:
                pieces.append((start, start + room))
            yield pieces
            start, pieces, room = start + room, [], batch_tokens
        pieces.append((start, stop))
        room -= stop - start
    if pieces:
        yield pieces


def _tiles(tree: PrefixTree, pieces: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    tiles: list[tuple[int, int]] = []
    for start, stop in pieces:
        if tiles:
            root = tiles[-1][0]
            if start < tree.ends[root] and stop - root <= TILE_TOKENS:
                tiles[-1] = root, stop
                continue
        tiles.append((start, stop))
    return tiles


def _links(
    tree: PrefixTree,
    cuts: Sequence[Sequence[tuple[int, int]]],
    tiles: Sequence[Sequence[tuple[int, int]]],
) -> Iterator[list[Link]]:
    """Links forward by forward: the same stretch seen by neighbouring pieces is one link."""
    path: list[tuple[int, int, int]] = []  # first token, its position, end position
    for pieces, own in zip(cuts, tiles, strict=True):
        links: list[Link] = []
        seen: dict[tuple[int, int], int] = {}
        roots = iter([*(start for start, _ in own[1:]), pieces[-1][1]])
        root, following = own[0][0], next(roots)
        for start, stop in pieces:
            if start == following:
                root, following = following, next(roots)
            first = int(tree.positions[start])
            while path and path[-1][2] > first:
                token, begin, _ = path.pop()
                if begin < first:
                    path.append((token, begin, first))
            outside = [(token, end - begin) for token, begin, end in path if token < root]
            for stretch in [s for s in seen if s not in outside]:
                links.append(Link(seen.pop(stretch), start, *stretch))
            for stretch in outside:
                seen.setdefault(stretch, start)
            path.append((start, first, first + stop - start))
        links.extend(Link(start, pieces[-1][1], *stretch) for stretch, start in seen.items())
        yield links
