"""Variants that were made stay on disk, named by everything that decides their bytes.

<cache>/gptq-4-<key>/            a variant; recipe.json is the last file written
<cache>/.making-<key>-<random>/  one that is being made, or was when its process was killed
<cache>/.lock-<key>              held while it is made; the system frees it with the process
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bitloss import environment
from bitloss.errors import StorageError
from bitloss.types import Progress

__all__ = [
    "RECORD",
    "cache_directory",
    "kept",
    "require_writable",
    "storage_errors",
    "unfinished",
    "write_record",
]

RECORD = "recipe.json"

_MAKING = re.compile(r"^\.making-(?P<key>[0-9a-f]+)-")
_HINT = f"free some room there, or choose another place with {environment.CACHE.name}=DIR"


def cache_directory(cache: Path | None) -> Path:
    """Where variants are kept: `cache`, else ``BITLOSS_CACHE``, else the user's cache folder."""
    return (environment.cache_directory() if cache is None else cache) / "variants"


def require_writable(cache: Path | None = None) -> None:
    """Find out before hours of work whether their results can be kept.

    Args:
        cache: see `cache_directory`.

    Raises:
        StorageError: they cannot.
    """
    root = cache_directory(cache)
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass


def kept(
    root: Path,
    name: str,
    key: str,
    make: Callable[[Path], dict[str, Any]],
    *,
    progress: Progress,
) -> Path:
    """The directory of a variant, made first where it is not there.

    Two processes that want the same one make it once: the second waits. What killed processes
    left behind is removed.

    Args:
        root: see `cache_directory`.
        name: of the recipe, for people who look into the cache.
        key: hex digits that stand for everything that decides the bytes.
        make: fills the empty directory it is given; returns the record to keep beside the files.
        progress: shows that this process waits for another.

    Raises:
        StorageError: the cache cannot be written or is full.
    """
    final = root / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}-{key}"
    if (final / RECORD).is_file():
        return final
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
    with _locked(root, key, name, progress):
        if (final / RECORD).is_file():
            return final
        with unfinished(root, f".making-{key}-") as making:
            record = make(making)
            with storage_errors(root):
                write_record(making, record)
                shutil.rmtree(final, ignore_errors=True)  # without a record it is no variant
                making.replace(final)
    return final


@contextlib.contextmanager
def unfinished(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory to fill and then rename; gone at the end where it was not renamed.

    Raises:
        StorageError: it cannot be made.
    """
    directory = parent / f"{prefix}{secrets.token_hex(4)}"
    with storage_errors(parent):
        directory.mkdir(parents=True)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def write_record(directory: Path, record: dict[str, Any]) -> None:
    """Write the record of how a variant was made; its presence says that the rest is there."""
    temporary = directory / f".{RECORD}"
    temporary.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(directory / RECORD)


@contextlib.contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Turn faults of the file system into `StorageError`, with what to do about them."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "is full" if full else f"cannot be written: {error.strerror or error}"
        raise StorageError(f"`{place}` {what}", hint=_HINT) from error


@contextlib.contextmanager
def _locked(root: Path, key: str, name: str, progress: Progress) -> Iterator[None]:
    with storage_errors(root):
        lock = os.open(root / f".lock-{key}", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _try_lock(lock):
            with progress.task(f"waiting for another process to make {name}", None, "variants"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_abandoned(root: Path) -> None:
    """Remove unfinished directories whose makers no longer hold their lock."""
    for directory in root.glob(".making-*"):
        match = _MAKING.match(directory.name)
        if match is None:
            continue
        # The lock files stay: one that is removed while another process waits for it locks nothing.
        lock = os.open(root / f".lock-{match['key']}", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _try_lock(lock):
                shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)
