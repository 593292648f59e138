"""Git LFS pointers: what a clone holds in place of large files until they are fetched."""

from __future__ import annotations

from pathlib import Path

from bitloss.errors import CheckpointError

__all__ = ["LFS_POINTER", "refuse_pointer"]

# The first line of every pointer (github.com/git-lfs/git-lfs, docs/spec.md).
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(file: Path, start: bytes) -> None:
    """Refuse a file that begins as a pointer does.

    Args:
        file: for the message.
        start: the first bytes of the file.

    Raises:
        CheckpointError: it is one.
    """
    if start.startswith(LFS_POINTER):
        raise CheckpointError(
            f"{file}: expected the file itself, got a Git LFS pointer to it",
            hint="run `git lfs pull` in the clone, or download the model with `hf download`",
        )
