"""A model in a child that gives logits; satisfies `bitloss.engines.base.LogitsModel`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.child.process import Child, Died, Start
from bitloss.errors import BitlossError
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
        self._start = start
        self._deaths = 0
        self._unfinished = False
        self._child = self._begin()

    @property
    def vocabulary(self) -> int:
        """See `LogitsModel.vocabulary`."""
        return int(self._child.facts["vocabulary"])

    @property
    def pid(self) -> int:
        """Of the child's process."""
        return self._child.pid

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
                    yield torch.from_numpy(new)
                    del block, new
                return
            except Died as death:
                self._retry(death)

    def _blocks(self, windows: Sequence[Window]) -> Iterator[NDArray[np.float32]]:
        child = self._child
        if self._unfinished:
            self._cancel(child)
        packed = [(np.ascontiguousarray(w.ids, np.int32), w.first) for w in windows]
        child.send({"free": child.slots.released()})
        child.send({"logits": packed})
        self._unfinished = True
        while "end" not in (message := self._receive(child)):
            yield child.slots.read(message["slot"], message["rows"])
            if slots := child.slots.released():
                child.send({"free": slots})
        self._unfinished = False

    def _receive(self, child: Child) -> dict[str, Any]:
        try:
            return child.receive()
        except BitlossError:  # which ends the request
            self._unfinished = False
            raise

    def _cancel(self, child: Child) -> None:
        """Let the child leave a request whose logits nobody read to the end."""
        child.send({"cancel": True})
        with suppress(BitlossError):
            while "end" not in (message := child.receive()):
                child.send({"free": [message["slot"]]})
        self._unfinished = False

    def _begin(self) -> Child:
        while True:
            try:
                return Child(self._start)
            except Died as death:
                self._count(death)

    def _retry(self, death: Died) -> None:
        self._count(death)
        self._unfinished = False
        self._child = self._begin()

    def _count(self, death: Died) -> None:
        self._deaths += 1
        if self._deaths > 1:
            raise death.error from death
