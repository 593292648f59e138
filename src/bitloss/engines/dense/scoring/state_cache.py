"""Hidden states between reading and comparing: in the store, and on the device if they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from bitloss.engines.dense.behind import behind
from bitloss.engines.devices import free_memory
from bitloss.engines.values import Store

__all__ = ["Room", "StateCache"]

Room = Callable[[], int]
"""Bytes that a tensor may take now."""

# Of what is free on a device, what the next states may take.
_OF_FREE = 4


class StateCache:
    """Keeps hidden states for a device.

    Every tensor goes to the store, where a run that is stopped finds it again. A device with memory
    of its own keeps it besides, as long as there is room, and does not wait until it is written.

    Args:
        store: where states are kept by fingerprint.
        device: where they are needed.
        room: for what the device keeps; None is some of what is free, and nothing on a CPU.
    """

    def __init__(self, store: Store, device: str, room: Room | None = None) -> None:
        self._store = store
        self._device = torch.device(device)
        apart = self._device.type != "cpu"
        self._room = room or ((lambda: free_memory(device) // _OF_FREE) if apart else None)
        self._held: dict[str, torch.Tensor] = {}

    @contextmanager
    def writing(self) -> Iterator[Callable[[str, torch.Tensor], None]]:
        """Give a function that keeps a tensor under a fingerprint, for the block. At its end the
        store has all of them.

        Raises:
            StorageError: the store cannot be written.
        """
        # A store may have let go of some: a worker's does after each part.
        self._held = {n: one for n, one in self._held.items() if self._store.has_states(n)}
        with behind(threaded=self._room is not None) as hand:

            def keep(name: str, states: torch.Tensor) -> None:
                room = 0 if self._room is None else self._room()
                if states.device.type == self._device.type and states.nbytes <= room:
                    self._held[name] = states
                hand(partial(self._write, name, states))

            yield keep

    def _write(self, name: str, states: torch.Tensor) -> None:
        self._store.write_states(name, states.cpu())

    def read(self, name: str) -> torch.Tensor:
        """A tensor, on the device.

        Raises:
            StorageError: the store holds a damaged file.
        """
        held = self._held.get(name)
        if held is not None:
            return held
        states: torch.Tensor = self._store.read_states(name)
        return states.to(self._device)

    def drop(self, name: str) -> None:
        """Remove a tensor that is no longer needed."""
        self._held.pop(name, None)
        self._store.drop_states(name)

    def let_go(self) -> bool:
        """Free what the device keeps; whether that was anything."""
        held, self._held = self._held, {}
        return bool(held)
