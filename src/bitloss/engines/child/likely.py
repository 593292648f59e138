"""A model in a child that tells of likely tokens only; for `bitloss.engines.top_k.TopKModel`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bitloss.engines.child.keeper import Keeper
from bitloss.engines.child.process import Died, Start
from bitloss.types import Window

__all__ = ["ChildLikely"]


class ChildLikely:
    """The parent's side of a model that says of each window what plain values can say.

    Windows of a child that died are asked for again, those that it has answered left out.

    Args:
        start: what the child loads: an object with ``vocabulary`` and ``likely(windows)``, which
            yields indices of windows, each with values that JSON has.

    Raises:
        CheckpointError: the child died twice.
        BitlossError: the model cannot be loaded.
    """

    def __init__(self, start: Start) -> None:
        self._keeper = Keeper(start)

    @property
    def facts(self) -> dict[str, Any]:
        """What the child has reported of its model."""
        return dict(self._keeper.child.facts)

    @property
    def pid(self) -> int:
        """Of the child's process."""
        return self._keeper.child.pid

    def likely(self, windows: Sequence[Window]) -> Iterator[tuple[int, Any]]:
        """Indices of windows, each with what is said of it; in the order of the answers."""
        left = list(range(len(windows)))
        while left:
            order = list(left)
            packed = [
                (np.ascontiguousarray(windows[n].ids, np.int32), windows[n].first) for n in order
            ]
            try:
                self._keeper.request({"likely": packed})
                while (found := self._keeper.answer()) is not None:
                    index = order[found["index"]]
                    left.remove(index)
                    yield index, found["likely"]
            except Died as death:
                self._keeper.restart(death)
