"""Atomic writing and locks: what is on disk is complete, and has one writer at a time.

A file or folder is made under a temporary name beside its target and renamed, so that what stands
under its own name is complete whenever a process is killed. What a killed process left behind is
under a temporary name, and whoever holds the lock next removes it. `file_marks` tells whether files
are still the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bitloss.errors import StorageError
from bitloss.system_errors import disk_is_full, file_is_too_large

__all__ = [
    "PACKAGE",
    "TEMPORARY_PREFIX",
    "append_text",
    "file_marks",
    "locked",
    "make_folder",
    "remove_leftovers",
    "replacing",
    "storage_errors",
    "temporary_folder",
    "try_locked",
    "write_bytes",
    "write_text",
]

TEMPORARY_PREFIX = ".tmp-"
"""How the names of unfinished files begin."""

PACKAGE = Path(__file__).parent
"""All that bitloss consists of, with the model and the data that are bundled."""


# Errors -----------------------------------------------------------------------------------


@contextmanager
def storage_errors(
    place: Path, *, elsewhere: str = "", also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn the system's refusals into `StorageError`, with what to do about them.

    Args:
        place: what cannot be written if something is raised.
        elsewhere: ends the hint, an imperative: how to choose another place.
        also: exceptions besides `OSError` by which a library says that it could not write.

    Raises:
        StorageError: the system refuses.
    """
    refusals: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except refusals as error:
        if disk_is_full(error):
            reason, hint = "the disk is full", "free some space"
        else:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            hint = "check that the directory exists and is writable"
            if file_is_too_large(error):
                hint = "raise the limit of a file's size (`ulimit -f`)"
        raise StorageError(
            f"cannot write {place}: {reason}", hint=f"{hint}, or {elsewhere}" if elsewhere else hint
        ) from error


# Files ------------------------------------------------------------------------------------


@contextmanager
def replacing(
    target: Path, *, elsewhere: str = "", also: tuple[type[Exception], ...] = ()
) -> Iterator[Path]:
    """A temporary file beside the target, which takes its place if nothing is raised.

    A link is followed: what it points to is replaced, the link stays.

    Args:
        target: the file to write.
        elsewhere: see `storage_errors`.
        also: see `storage_errors`.

    Raises:
        StorageError: the system refuses.
    """
    temporary: Path | None = None
    with storage_errors(target, elsewhere=elsewhere, also=also):
        try:
            place = target.resolve()
            with tempfile.NamedTemporaryFile(
                prefix=TEMPORARY_PREFIX, dir=place.parent, delete=False
            ) as file:
                temporary = Path(file.name)
            yield temporary
            # A temporary file is its owner's alone; a document is for everyone, unless it was not.
            temporary.chmod(place.stat().st_mode & 0o777 if place.exists() else 0o644)
            temporary.replace(place)
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes, *, elsewhere: str = "") -> None:
    """Write a file. See `replacing` for arguments and errors."""
    with replacing(target, elsewhere=elsewhere) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, text: str, *, elsewhere: str = "") -> None:
    """Write UTF-8, line ends as they are. See `replacing` for arguments and errors."""
    write_bytes(target, text.encode("utf-8"), elsewhere=elsewhere)


def append_text(target: Path, text: str, *, elsewhere: str = "") -> None:
    """Write UTF-8 after what is there. See `storage_errors` for arguments and errors."""
    with (
        storage_errors(target, elsewhere=elsewhere),
        target.open("a", encoding="utf-8", newline="") as file,
    ):
        file.write(text)


# Folders ----------------------------------------------------------------------------------


def make_folder(folder: Path, *, elsewhere: str = "give another directory with --out") -> None:
    """Make a folder, and those above it, where there is none.

    Args:
        folder: the folder.
        elsewhere: see `storage_errors`.

    Raises:
        StorageError: the system refuses.
    """
    with storage_errors(folder, elsewhere=elsewhere):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def temporary_folder(parent: Path, prefix: str, *, elsewhere: str = "") -> Iterator[Path]:
    """A new folder to fill and then rename; removed at the end if it was not renamed.

    Args:
        parent: where it is made; made too if it is absent.
        prefix: how its name begins; random digits follow.
        elsewhere: see `storage_errors`.

    Raises:
        StorageError: it cannot be made.
    """
    folder = parent / f"{prefix}{secrets.token_hex(4)}"
    with storage_errors(parent, elsewhere=elsewhere):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path, pattern: str = f"{TEMPORARY_PREFIX}*") -> None:
    """Remove what killed processes left; only for the one that holds the folder's lock.

    Args:
        folder: searched with everything below it.
        pattern: of the names of unfinished files and folders.
    """
    for leftover in list(folder.rglob(pattern)):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


# Locks ------------------------------------------------------------------------------------


@contextmanager
def locked(
    path: Path, *, busy: Callable[[], AbstractContextManager[object]], elsewhere: str = ""
) -> Iterator[None]:
    """Hold a lock that the system frees with the process, however that ends.

    Args:
        path: the lock's file, made if need be. It stays: a file that is removed while another
            process waits for it locks nothing.
        busy: called if another process holds the lock. It raises the caller's own error, or
            returns a context that is open while this process waits (a progress bar).
        elsewhere: see `storage_errors`.

    Raises:
        StorageError: the lock's file cannot be made.
    """
    with _opened(path, elsewhere) as lock:
        if not _try_lock(lock):
            with busy():
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def try_locked(path: Path, *, elsewhere: str = "") -> Iterator[bool]:
    """Hold a lock if no other process does; yields whether this one holds it.

    See `locked` for arguments and errors.
    """
    with _opened(path, elsewhere) as lock:
        yield _try_lock(lock)


@contextmanager
def _opened(path: Path, elsewhere: str) -> Iterator[int]:
    with storage_errors(path, elsewhere=elsewhere):
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def file_marks(places: Iterable[Path]) -> Iterator[list[str | int]]:
    """What tells that files are still the same, as git's index has it: of each its path, size,
    times of change and number; the path alone if there is no such file.

    Args:
        places: files, and folders with all that is below them, Python's compiled files left out.
    """
    for place in places:
        if not place.is_dir():
            yield _mark(place)
            continue
        for folder, folders, names in os.walk(place, followlinks=True):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                yield _mark(Path(folder, name))


def _mark(path: Path) -> list[str | int]:
    try:
        found = path.stat()
    except OSError:
        return [str(path.absolute())]
    times = found.st_mtime_ns, found.st_ctime_ns
    return [str(path.absolute()), found.st_size, *times, found.st_ino]
