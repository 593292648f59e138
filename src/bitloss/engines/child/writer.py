"""A model in a child that writes all by itself; satisfies `bitloss.engines.base.TextModel`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitloss.engines.child.keeper import Keeper
from bitloss.engines.child.process import Died, Start
from bitloss.requests import Generated, GenerateRequest

__all__ = ["ChildWriter"]


class ChildWriter:
    """The parent's side of a `TextModel` in a child: requests go over, finished texts come back.

    For models that choose their tokens in the child; `bitloss.engines.child.texts` is for those
    that give logits. Whatever they need (`TextSetup`) is among the values of the start. Texts that
    a child which died has not given back are written again from the beginning.

    Args:
        start: what the child loads: an object with ``vocabulary``, ``generate`` and ``facts``, of
            which ``nbytes`` is one.

    Raises:
        CheckpointError: the child died twice.
        BitlossError: the model cannot be loaded.
    """

    def __init__(self, start: Start) -> None:
        self._keeper = Keeper(start)

    @property
    def nbytes(self) -> int:
        """See `TextModel.nbytes`."""
        return int(self._keeper.child.facts["nbytes"])

    @property
    def pid(self) -> int:
        """Of the child's process."""
        return self._keeper.child.pid

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """See `TextModel.generate`."""
        left = dict(enumerate(requests))
        while left:
            order = list(left)
            try:
                self._keeper.request({"requests": [left[index] for index in order]})
                while (found := self._keeper.answer()) is not None:
                    index = order[found["index"]]
                    del left[index]
                    yield index, Generated(**found["text"])
            except Died as death:
                self._keeper.restart(death)
