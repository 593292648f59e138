"""Where local data lies, and in which layouts."""

from __future__ import annotations

import os
from pathlib import Path

from bitloss.errors import CorpusError

__all__ = ["data_directory", "find_file"]


def data_directory(data: Path | None) -> Path | None:
    """The directory with local data: `data`, else the variable ``BITLOSS_DATA``, else None.

    Raises:
        CorpusError: the directory that was named does not exist.
    """
    from_environment = os.environ.get("BITLOSS_DATA", "")
    if data is None and not from_environment:
        return None
    directory = Path(from_environment if data is None else data).expanduser()
    if not directory.is_dir():
        origin = "BITLOSS_DATA" if data is None else "the data directory"
        raise CorpusError(
            f"expected {origin} to be a directory, got `{directory}`",
            hint="give a directory that holds, for example, wikitext-2-raw/wiki.test.raw",
        )
    return directory


def find_file(directory: Path | None, patterns: tuple[str, ...]) -> Path | None:
    """The first file that matches the first pattern that matches any; patterns are globs."""
    if directory is None:
        return None
    for pattern in patterns:
        matches = sorted(path for path in directory.glob(pattern) if path.is_file())
        if matches:
            return matches[0]
    return None
