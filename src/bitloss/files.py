"""Atomic writing and locks: what is on disk is complete, and has one writer at a time.

A file or folder is made under a temporary name beside its target and renamed, so that what stands
under its own name is complete whenever a process is killed. What a killed process left behind is
under a temporary name, and the next one removes it: each holds a lock on what it has not finished,
which the system frees with the process. `file_marks` tells whether files are still the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bitloss.errors import StorageError, UsageError
from bitloss.system_errors import disk_is_full, file_is_too_large

__all__ = [
    "PACKAGE",
    "TEMPORARY_PREFIX",
    "append_text",
    "file_marks",
    "locked",
    "make_folder",
    "remove_leftovers",
    "remove_scratch",
    "replacing",
    "scratch_folder",
    "storage_errors",
    "temporary_folder",
    "try_locked",
    "write_bytes",
    "write_text",
]

TEMPORARY_PREFIX = ".tmp-"
"""How the names of unfinished files begin."""

_SCRATCH = "bitloss-scratch-"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")
_MODE = 0o644  # of a new document: its owner writes it, everyone reads it

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
    with storage_errors(target, elsewhere=elsewhere, also=also):
        place = target.resolve()
        with _unfinished(place.parent, TEMPORARY_PREFIX, _make_file) as temporary:
            yield temporary
            # A temporary file is its owner's alone; a document is for everyone, unless it was not.
            temporary.chmod(place.stat().st_mode & 0o777 if place.exists() else _MODE)
            temporary.replace(place)


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
        UsageError: it is the URL of an object store.
    """
    scheme = next((part for part in folder.parts if _SCHEME.fullmatch(part)), None)
    if scheme is not None and not folder.exists():
        raise UsageError(
            f"expected a folder of this machine, got `{scheme}//...`",
            hint="write to a local folder, and copy it when the run is done (docs/cluster.md)",
        )
    with storage_errors(folder, elsewhere=elsewhere):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def temporary_folder(parent: Path, prefix: str, *, elsewhere: str = "") -> Iterator[Path]:
    """A new folder to fill and then rename; removed at the end if it was not renamed.

    Those that killed processes left there under such a name are removed too.

    Args:
        parent: where it is made; made too if it is absent.
        prefix: how its name begins; random digits follow.
        elsewhere: see `storage_errors`.

    Raises:
        StorageError: it cannot be made.
    """

    digits = re.compile(re.escape(prefix) + "[0-9a-f]{8}")
    with storage_errors(parent, elsewhere=elsewhere):
        _remove_abandoned(path for path in _entries(parent) if digits.fullmatch(path.name))
    with contextlib.ExitStack() as stack:
        with storage_errors(parent, elsewhere=elsewhere):
            parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(_unfinished(parent, prefix, Path.mkdir))
        yield folder


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder of the owner's alone in the system's place for temporary files, while the block
    runs.

    Raises:
        StorageError: it cannot be made.
    """
    remove_scratch()
    place = Path(tempfile.gettempdir())
    with contextlib.ExitStack() as stack:
        with storage_errors(place, elsewhere="set TMPDIR to another place"):
            folder = stack.enter_context(
                _unfinished(place, _SCRATCH, lambda path: path.mkdir(mode=0o700))
            )
        yield folder


def remove_scratch() -> None:
    """Remove the scratch folders of killed processes."""
    with contextlib.suppress(OSError):
        _remove_abandoned(
            path
            for path in _entries(Path(tempfile.gettempdir()))
            if path.name.startswith(_SCRATCH) and path.lstat().st_uid == os.getuid()
        )


def remove_leftovers(folder: Path, pattern: str = f"**/{TEMPORARY_PREFIX}*") -> None:
    """Remove what killed processes left, and nothing that a living one is writing.

    Args:
        folder: where it is.
        pattern: of unfinished files and folders, by their paths in it.
    """
    _remove_abandoned(list(folder.glob(pattern)))


def _make_file(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


@contextmanager
def _unfinished(parent: Path, prefix: str, make: Callable[[Path], object]) -> Iterator[Path]:
    """A file or folder while the block runs, with a lock on it, so that nobody takes it for
    abandoned; gone at the end unless it was renamed.

    Its name is chosen before it is made: an interruption between any two steps leaves nothing.
    """
    while True:
        path, lock = parent / f"{prefix}{secrets.token_hex(4)}", -1
        try:
            make(path)
            with contextlib.suppress(FileNotFoundError):  # taken for abandoned before it was locked
                lock = os.open(path, os.O_RDONLY)
            if lock >= 0:
                with contextlib.suppress(OSError):  # file systems without locks
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if os.fstat(lock).st_nlink and path.exists():
                    yield path
                    return
        finally:
            if lock >= 0:
                os.close(lock)
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_abandoned(paths: Iterable[Path]) -> None:
    """Remove those that no living process holds a lock on."""
    for path in paths:
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if _try_lock(lock):
                _remove(path)
        finally:
            os.close(lock)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


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
