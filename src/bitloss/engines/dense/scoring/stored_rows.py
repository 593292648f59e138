"""A matrix on disk, of which a few rows at a time are in memory."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from bitloss.engines.dense.scratch_file import ScratchFile
from bitloss.formats.base import Rows

__all__ = ["StoredRows", "rows_in_file"]

# Of a matrix that is written, at a time.
_PIECE = 4096


class StoredRows:
    """Stands in for a tensor whose rows are sliced.

    Args:
        read: gives rows as they are stored.
        shape: of the matrix.
        dtype: in which rows are given.
        device: where they are given.
    """

    def __init__(self, read: Rows, shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
        self.shape = tuple(shape)
        self._read = read
        self._dtype = dtype
        self._device = device

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return 0

    def __getitem__(self, rows: slice) -> torch.Tensor:
        """Neighboring rows, shape ``[rows, ...]``."""
        start, stop, step = rows.indices(self.shape[0])
        assert step == 1, "neighbors"
        return self._read(start, stop).to(device=self._device, dtype=self._dtype)


def rows_in_file(
    weight: torch.Tensor, folder: Path | None, dtype: torch.dtype, device: str
) -> StoredRows:
    """Write a matrix to a file that ends with the process, however that ends.

    Args:
        weight: the matrix.
        folder: where; None is the system's place for temporary files.
        dtype: in which it is written and given.
        device: where rows are given.

    Raises:
        StorageError: the file cannot be written.
    """
    file = ScratchFile(folder, "raise --memory, so that the head is held in memory")
    for start in range(0, weight.shape[0], _PIECE):
        file.append(weight[start : start + _PIECE].to(dtype))
    size, rest = dtype.itemsize * math.prod(weight.shape[1:]), tuple(weight.shape[1:])

    def read(start: int, stop: int) -> torch.Tensor:
        return file.read(start * size, (stop - start, *rest), dtype)

    return StoredRows(read, tuple(weight.shape), dtype, device)
