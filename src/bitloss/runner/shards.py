"""A corpus in pieces that are done, stored and resumed one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitloss.engines.dense import batches
from bitloss.types import IntArray, Window

__all__ = ["Shard", "shards"]

# Tokens read by the model in one shard: seconds of work, and megabytes of hidden states.
SHARD_TOKENS = 16_384


@dataclass(frozen=True, slots=True)
class Shard:
    """Neighbouring windows.

    Attributes:
        first: index of the first window in the plan.
        windows: the windows.
        digest: sha256 (hex) over their tokens and scored ranges.
    """

    first: int
    windows: tuple[Window, ...]
    digest: str

    @property
    def tokens(self) -> int:
        """Tokens that the model reads."""
        return sum(len(window.ids) - 1 for window in self.windows)

    def window_index(self) -> IntArray:
        """The plan's window index of each scored token, shape ``[n_scored]``."""
        counts = [window.n_scored for window in self.windows]
        return np.repeat(np.arange(self.first, self.first + len(counts), dtype=np.int32), counts)


def shards(windows: Sequence[Window], batch_tokens: int) -> list[Shard]:
    """Cut at the borders of forwards, so that sharding changes no shape and hence no number."""
    result: list[Shard] = []
    group: list[Window] = []
    first = tokens = 0
    for batch in batches(windows, batch_tokens):
        size = sum(len(window.ids) - 1 for window in batch)
        if group and tokens + size > SHARD_TOKENS:
            result.append(Shard(first, tuple(group), _digest(group)))
            first, tokens, group = first + len(group), 0, []
        group.extend(batch)
        tokens += size
    if group:
        result.append(Shard(first, tuple(group), _digest(group)))
    return result


def _digest(windows: Sequence[Window]) -> str:
    total = hashlib.sha256()
    for window in windows:
        total.update(np.array([window.first, len(window.ids)], dtype="<i8").tobytes())
        total.update(window.ids.astype("<i4").tobytes())
    return total.hexdigest()
