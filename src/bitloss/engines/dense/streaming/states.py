"""States on their way from one layer to the next, in memory as far as there is room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from bitloss.engines.dense.scratch_file import ScratchFile

__all__ = ["States", "StatesRoom"]

_ELSEWHERE = "raise --memory, so that fewer states are written"


@dataclass(slots=True)
class StatesRoom:
    """What all states of a wave may take together.

    Attributes:
        memory: bytes in memory.
        folder: for files of what has no room there; None is the system's place for temporary ones.
        held: bytes in memory now.
    """

    memory: int
    folder: Path | None = None
    held: int = 0


class States:
    """A row of tensors: appended at its end, taken from its beginning.

    Args:
        room: shared with other rows. What has none lies in a file that ends with the process.
    """

    def __init__(self, room: StatesRoom) -> None:
        self._room = room
        self._entries: list[_Held | _Written | None] = []
        self._at = 0
        self._file: ScratchFile | None = None

    def __len__(self) -> int:
        """How many are still to be taken."""
        return len(self._entries) - self._at

    def append(self, tensor: torch.Tensor) -> None:
        """Add a tensor.

        Raises:
            StorageError: there is no room for it on disk either.
        """
        if self._room.held + tensor.nbytes <= self._room.memory:
            self._room.held += tensor.nbytes
            self._entries.append(_Held(tensor))
            return
        if self._file is None:
            self._file = ScratchFile(self._room.folder, _ELSEWHERE)
        place = self._file.append(tensor)
        shape = tuple(tensor.shape)
        self._entries.append(_Written(self._file, place, shape, tensor.dtype, tensor.device))

    def next_shape(self) -> tuple[int, ...] | None:
        """The shape of the tensor that is taken next; None at the end."""
        entry = self._entries[self._at] if len(self) else None
        return None if entry is None else entry.shape

    def take(self, *, keep: bool = False) -> torch.Tensor:
        """The next tensor.

        Args:
            keep: whether it will be taken once more, after `again`.

        Raises:
            StorageError: it cannot be read back.
        """
        entry = self._entries[self._at]
        assert entry is not None, "taken for good before"
        if not keep:
            self._entries[self._at] = None
            self._forget(entry)
        self._at += 1
        return entry.read()

    def again(self) -> None:
        """Begin at the first one again; all have to be kept."""
        self._at = 0

    def clear(self) -> None:
        """Drop all of them, and give back their room."""
        for entry in self._entries:
            if entry is not None:
                self._forget(entry)
        self._entries, self._at = [], 0
        if self._file is not None:
            self._file.clear()

    def _forget(self, entry: _Held | _Written) -> None:
        if isinstance(entry, _Held):
            self._room.held -= entry.tensor.nbytes


@dataclass(frozen=True, slots=True)
class _Held:
    tensor: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def read(self) -> torch.Tensor:
        return self.tensor


@dataclass(frozen=True, slots=True)
class _Written:
    file: ScratchFile
    place: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def read(self) -> torch.Tensor:
        return self.file.read(self.place, self.shape, self.dtype).to(self.device)
