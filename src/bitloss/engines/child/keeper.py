"""A child that is started again when it dies, once."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from bitloss.engines.child.process import Child, Died, Start
from bitloss.errors import BitlossError

__all__ = ["Keeper"]

_DEATHS = 1


class Keeper:
    """Keeps a child running, and its requests in order.

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
        self.child = self._begin()

    def request(self, message: dict[str, Any]) -> None:
        """Ask for something that the child answers with several messages and an end.

        Raises:
            Died: the child did.
        """
        child = self.child
        if self._unfinished:  # nobody read the last request's answers to the end
            child.send({"cancel": True})
            with suppress(BitlossError, RuntimeError):
                while "end" not in (answer := child.receive()):
                    child.send({"free": [answer["slot"]] if "slot" in answer else []})
        child.send({"free": child.slots.released()})
        child.send(message)
        self._unfinished = True

    def answer(self) -> dict[str, Any] | None:
        """The next answer to the request; None at its end.

        Raises:
            Died: the child did.
            BitlossError: what the child raised.
        """
        if slots := self.child.slots.released():
            self.child.send({"free": slots})
        try:
            message = self.child.receive()
        except Died:
            raise
        except Exception:  # which ends the request
            self._unfinished = False
            raise
        if "end" in message:
            self._unfinished = False
            return None
        return message

    def restart(self, death: Died) -> None:
        """Start another child in the place of one that died.

        Raises:
            CheckpointError: it was not the first.
        """
        self._count(death)
        self._unfinished = False
        self.child = self._begin()

    def _begin(self) -> Child:
        while True:
            try:
                return Child(self._start)
            except Died as death:
                self._count(death)

    def _count(self, death: Died) -> None:
        self._deaths += 1
        if self._deaths > _DEATHS:
            raise death.error from death
