"""Documents on disk: there whole, or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitloss.errors import StorageError

__all__ = ["append_text", "make_folder", "replacing", "write_bytes", "write_text"]


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where there is none.

    Raises:
        StorageError: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise StorageError(
            f"cannot write {folder}: {fault.strerror or fault}",
            hint="give a writable directory with --out",
        ) from fault


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file beside the target, which takes its place if nothing is raised.

    A link is followed: what it points to is replaced, the link stays.

    Raises:
        StorageError: the system refuses.
    """
    temporary: Path | None = None
    try:
        place = target.resolve()
        with tempfile.NamedTemporaryFile(prefix=".tmp-", dir=place.parent, delete=False) as file:
            temporary = Path(file.name)
        yield temporary
        # A temporary file is its owner's alone; a document is for everyone, unless it was not.
        temporary.chmod(place.stat().st_mode & 0o777 if place.exists() else 0o644)
        temporary.replace(place)
    except OSError as fault:
        raise StorageError(
            f"cannot write {target}: {fault.strerror or fault}",
            hint="check that the directory exists, is writable and has space left",
        ) from fault
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file. See `replacing` for errors."""
    with replacing(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8, line ends as they are. See `replacing` for errors."""
    write_bytes(target, text.encode("utf-8"))


def append_text(target: Path, text: str) -> None:
    """Write UTF-8 behind what is there.

    Raises:
        StorageError: the system refuses.
    """
    try:
        with target.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as fault:
        raise StorageError(
            f"cannot write {target}: {fault.strerror or fault}",
            hint="check that the directory exists and is writable",
        ) from fault
