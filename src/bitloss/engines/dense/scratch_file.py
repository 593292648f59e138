"""A file for what memory has no room for, which is gone with the process however that ends."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch

from bitloss.errors import StorageError
from bitloss.files import storage_errors

__all__ = ["ScratchFile"]


class ScratchFile:
    """Tensors one after the other in a file without a name.

    The system frees its blocks as soon as nobody has it open: at the end, on Ctrl-C, and when the
    process is killed.

    Args:
        folder: on whose disk it lies; None is the system's place for temporary files.
        elsewhere: how to do without it, an imperative, for the hint where the disk is full.

    Raises:
        StorageError: it cannot be made.
    """

    def __init__(self, folder: Path | None, elsewhere: str) -> None:
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._elsewhere = elsewhere
        with (
            storage_errors(self._folder, elsewhere=elsewhere),
            tempfile.TemporaryFile(dir=self._folder, buffering=0) as file,
        ):
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)
        self.nbytes = 0

    def append(self, tensor: torch.Tensor) -> int:
        """Write a tensor; the place where it begins.

        Raises:
            StorageError: the disk is full, or fails.
        """
        place, data = self.nbytes, _bytes(tensor.detach().cpu().contiguous())
        with storage_errors(self._folder, elsewhere=self._elsewhere):
            while data:
                written = os.pwrite(self._file, data, self.nbytes)
                data = data[written:]
                self.nbytes += written
        return place

    def read(self, place: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Read a tensor from a place.

        Raises:
            StorageError: the disk fails.
        """
        tensor = torch.empty(shape, dtype=dtype)
        data = _bytes(tensor)
        with storage_errors(self._folder, elsewhere=self._elsewhere):
            while data:
                got = os.preadv(self._file, [data], place)
                if not got:
                    raise StorageError(
                        f"a scratch file in {self._folder} ends before its data",
                        hint="check that its disk works",
                    )
                data, place = data[got:], place + got
        return tensor

    def clear(self) -> None:
        """Give its blocks back to the disk."""
        os.ftruncate(self._file, 0)
        self.nbytes = 0


def _bytes(tensor: torch.Tensor) -> memoryview:
    data: Any = tensor.view(-1).view(torch.uint8).numpy()
    return memoryview(data)
