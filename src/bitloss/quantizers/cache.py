"""Variants that were made stay on disk, named by everything that decides their bytes.

<cache>/gptq-4-<key>/            a variant; recipe.json is the last file written
<cache>/.making-<key>-<random>/  one that is being made, or was when its process was killed
<cache>/.lock-<key>              held while it is made; the system frees it with the process
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bitloss import environment, files
from bitloss.types import Progress

__all__ = [
    "RECORD",
    "cache_directory",
    "calibrated_on",
    "get_or_create",
    "made_in",
    "require_writable",
    "write_record",
]

RECORD = "recipe.json"

_MAKING = re.compile(r"^\.making-(?P<key>[0-9a-f]+)-")
_ELSEWHERE = f"set {environment.CACHE.name}=DIR to use another one"


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
    with _storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass


def get_or_create(
    root: Path,
    name: str,
    key: str,
    make: Callable[[Path], dict[str, Any]],
    *,
    progress: Progress,
) -> Path:
    """The directory of a variant; it is made first unless it exists.

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
    with _storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
    with files.locked(
        _lock(root, key),
        busy=lambda: progress.task(f"waiting for another process to make {name}", None, "variants"),
        elsewhere=_ELSEWHERE,
    ):
        if (final / RECORD).is_file():
            return final
        with files.temporary_folder(root, f".making-{key}-", elsewhere=_ELSEWHERE) as making:
            record = make(making)
            with _storage_errors(root):
                write_record(making, record)
                shutil.rmtree(final, ignore_errors=True)  # without a record it is no variant
                making.replace(final)
    return final


def write_record(directory: Path, record: dict[str, Any]) -> None:
    """Write the record of how a variant was made; its presence says that the rest is there.

    Raises:
        StorageError: it cannot be written.
    """
    files.write_text(directory / RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n")


def made_in(path: Path) -> float | None:
    """Seconds that making a variant took, wherever it was made; None for files that were found.

    Args:
        path: of the variant's directory, or of its file in one.
    """
    seconds = _record(path).get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def calibrated_on(path: Path) -> int | None:
    """Sequences that a variant was calibrated on; None if it was on none, or nothing is known.

    Args:
        path: see `made_in`.
    """
    facts = _record(path).get("calibration")
    found = facts.get("sequences") if isinstance(facts, dict) else None
    return found if isinstance(found, int) else None


def _record(path: Path) -> dict[str, Any]:
    """What is recorded of a variant; empty for files that were found."""
    folder = path if path.is_dir() else path.parent
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _storage_errors(place: Path) -> AbstractContextManager[None]:
    """See `bitloss.files.storage_errors`; the hint says how to choose another cache."""
    return files.storage_errors(place, elsewhere=_ELSEWHERE)


def _lock(root: Path, key: str) -> Path:
    return root / f".lock-{key}"


def _remove_abandoned(root: Path) -> None:
    """Remove unfinished directories whose makers no longer hold their lock."""
    for directory in root.glob(".making-*"):
        match = _MAKING.match(directory.name)
        if match is None:
            continue
        with files.try_locked(_lock(root, match["key"]), elsewhere=_ELSEWHERE) as free:
            if free:
                shutil.rmtree(directory, ignore_errors=True)
