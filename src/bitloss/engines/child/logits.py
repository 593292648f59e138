"""A model in a child that gives logits; satisfies `bitloss.engines.base.ManyLogitsModel`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from bitloss.engines.child.keeper import Keeper
from bitloss.engines.child.process import Died, Start
from bitloss.types import Window

__all__ = ["ChildLogits"]


class ChildLogits:
    """The parent's side of a model that a child runs.

    A child that dies is started once more, and what it was asked for is computed again from the
    beginning, so that no number depends on where it died.

    Args:
        start: what the child loads.

    Raises:
        CheckpointError: the child died twice.
        BitlossError: the model cannot be loaded.
    """

    def __init__(self, start: Start) -> None:
        self._keeper = Keeper(start)

    @property
    def vocabulary(self) -> int:
        """See `LogitsModel.vocabulary`."""
        return int(self._keeper.child.facts["vocabulary"])

    @property
    def pid(self) -> int:
        """Of the child's process."""
        return self._keeper.child.pid

    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        """See `LogitsModel.logits`."""
        return self.logits_of([window])

    def logits_of(self, windows: Sequence[Window]) -> Iterator[torch.Tensor]:
        """See `bitloss.engines.base.ManyLogitsModel.logits_of`."""
        given = 0
        while True:
            seen = 0
            try:
                for block in self._blocks(windows):
                    seen += len(block)
                    if seen <= given:
                        continue
                    new = block[max(0, given - (seen - len(block))) :]
                    given = seen
                    yield new
                    del block, new  # their slot may be written to again
                return
            except Died as death:
                self._keeper.restart(death)

    def _blocks(self, windows: Sequence[Window]) -> Iterator[torch.Tensor]:
        keeper = self._keeper
        packed = [(np.ascontiguousarray(w.ids, np.int32), w.first) for w in windows]
        keeper.request({"logits": packed})
        while (found := keeper.answer()) is not None:
            yield torch.from_numpy(keeper.child.slots.read(found["slot"], found["rows"]))
