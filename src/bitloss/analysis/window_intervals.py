"""Intervals of statistics of a text's windows: what is drawn together, and what has no interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bitloss.metrics.clusters import Clusters
from bitloss.metrics.intervals import FEWEST_BLOCKS, Interval, Series, block_length, bootstrap
from bitloss.types import IntArray

__all__ = ["count_blocks", "drawn_together", "window_intervals"]

# More documents than these are drawn in groups of neighbors: the interval is as good.
_DOCUMENTS_DRAWN = 1000
_NEIGHBORS = 2
"""Fewest neighbors in a block: one alone is taken for independent of the next."""


def window_intervals(
    series: Mapping[str, Series],
    window: IntArray,
    *,
    documents: Sequence[int],
    drawn_from: int | None,
    seed: int,
) -> dict[str, Interval]:
    """Intervals by the bootstrap.

    Blocks are documents where the text has several, else runs of neighbors as long as
    `block_length` says. Limits are NaN where there are too few of them
    (``docs/decisions/0005-intervals.md`` has how often intervals hold then): fewer than five
    documents; of one document fewer than five windows drawn at random, or ten neighbors, since
    blocks of a single one take it for independent of the next.

    Args:
        series: the statistics by name, window by window.
        window: index of each token's window among all windows of the text, shape ``[n_scored]``.
        documents: of every window of the text (`bitloss.types.WindowPlan`); empty if it is one.
        drawn_from: windows that the scored ones were drawn from at random; None for neighbors.
        seed: of the bootstrap.
    """
    places = np.unique(window)
    own = _documents(places, documents)
    if own is not None:
        merged = {name: own.merge(one) for name, one in series.items()}
        return bootstrap(merged, seed=seed, block=-(-len(own.names) // _DOCUMENTS_DRAWN))
    return bootstrap(series, seed=seed, block=_block(len(places), drawn_from))


def count_blocks(window: IntArray, *, documents: Sequence[int], drawn_from: int | None) -> int:
    """How many blocks such an interval comes from, which its degrees of freedom follow from."""
    places = np.unique(window)
    own = _documents(places, documents)
    if own is not None:
        return 1 if own.too_few else len(own.names) // -(-len(own.names) // _DOCUMENTS_DRAWN)
    return len(places) // _block(len(places), drawn_from)


def drawn_together(
    series: Sequence[Series],
    window: IntArray,
    *,
    documents: Sequence[int],
    drawn_from: int | None,
) -> tuple[list[Series], int]:
    """What such an interval draws: the series, with documents in the windows' place where the text
    has several, and how many neighbors of it are one block.

    Args:
        series: statistics of the same windows.
        window: see `window_intervals`, as the other arguments.
    """
    places = np.unique(window)
    own = _documents(places, documents)
    if own is not None:
        return [own.merge(one) for one in series], 1
    return list(series), block_length(len(places), drawn_from=drawn_from)


def _documents(places: IntArray, documents: Sequence[int]) -> Clusters | None:
    """The documents of the windows that were scored; None if the text is one."""
    if len(set(documents)) < 2:
        return None
    return Clusters.of(np.asarray(documents)[places].tolist())


def _block(count: int, drawn_from: int | None) -> int:
    together = _NEIGHBORS if drawn_from is None else 1
    enough = count >= FEWEST_BLOCKS * together
    return block_length(count, drawn_from=drawn_from) if enough else count
