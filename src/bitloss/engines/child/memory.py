"""Memory that a parent and its child share, cut into slots of some rows of logits each.

The child writes a block into a free slot and tells its number; the parent reads the block where it
is and gives the slot back when nothing refers to it any more.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections import deque
from typing import Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "ReadSlots", "WriteSlots", "anonymous_file"]

# Positions of one slot: those that `bitloss.engines.comparers` compares at a time.
ROWS = 64
# Shared memory: enough slots for a decode of 512 tokens where they fit in.
_BYTES = 256 << 20
_FEWEST, _MOST = 4, 16


class Layout:
    """How the memory is cut up.

    Args:
        vocabulary: numbers in a row.
    """

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.slot_bytes = ROWS * vocabulary * 4
        self.slots = max(_FEWEST, min(_MOST, _BYTES // self.slot_bytes))

    def map(self, descriptor: int) -> mmap.mmap:
        """The memory; the first of the two processes makes it large enough."""
        size = self.slots * self.slot_bytes
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)

    def numbers(self, memory: mmap.mmap, slot: int, rows: int) -> NDArray[np.float32]:
        """A slot's first rows, flat, as they are in the memory."""
        return np.frombuffer(memory, np.float32, rows * self.vocabulary, slot * self.slot_bytes)


class WriteSlots:
    """The child's side."""

    def __init__(self, layout: Layout, descriptor: int) -> None:
        self._layout = layout
        self._memory = layout.map(descriptor)
        self.free = deque(range(layout.slots))

    def write(self, rows: NDArray[np.float32]) -> int:
        """Copy at most `ROWS` rows into a free slot; gives its number."""
        slot = self.free.popleft()
        np.copyto(self._layout.numbers(self._memory, slot, len(rows)), rows.reshape(-1))
        return slot


class ReadSlots:
    """The parent's side."""

    def __init__(self, layout: Layout, descriptor: int) -> None:
        self._layout = layout
        self._memory = layout.map(descriptor)
        self._released: deque[int] = deque()
        self._held: set[int] = set()

    def read(self, slot: int, count: int) -> NDArray[np.float32]:
        """A block, shape ``[count, vocabulary]``: in the shared memory while enough slots are left
        to write the next ones into, else a copy.
        """
        numbers = self._layout.numbers(self._memory, slot, count)
        if len(self._held) < self._layout.slots // 2:
            self._held.add(slot)
            # Every view of a view refers to this array. Its end is only noted here: it may come
            # while a message is being written.
            finalize(numbers, self._released.append, slot).atexit = False
        else:
            self._released.append(slot)
            numbers = numbers.copy()
        return numbers.reshape(count, self._layout.vocabulary)

    def released(self) -> list[int]:
        """Slots that nothing refers to any more, since the last call."""
        found: list[int] = []
        while self._released:
            found.append(self._released.popleft())
        self._held.difference_update(found)
        return found


def anonymous_file() -> Any:
    """A file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("bitloss"), "r+b")
    return tempfile.TemporaryFile()
