"""Where local data lies, and in which layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bitloss import environment
from bitloss.errors import CorpusError, DataError, not_there
from bitloss.spec.json_text import parse_json

__all__ = ["data_directory", "find_file", "json_objects"]


def data_directory(data: Path | None) -> Path | None:
    """The directory with local data: `data`, else the variable ``BITLOSS_DATA``, else None.

    Raises:
        CorpusError: the directory that was named does not exist.
    """
    directory = environment.data_directory() if data is None else data.expanduser()
    if directory is None:
        return None
    if not directory.is_dir():
        origin = environment.DATA.name if data is None else "the data directory"
        raise not_there(
            CorpusError(
                f"expected {origin} to be a directory, got `{directory}`",
                hint="give a directory that holds, for example, wikitext-2-raw/wiki.test.raw",
            )
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


def json_objects(
    text: str, damaged: Callable[[int, str, str], DataError]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a text with one JSON object per line, and the numbers of their lines.

    Blank lines are skipped.

    Args:
        text: the file's.
        damaged: makes the error from a line's number, what was expected there, and what was got.

    Raises:
        DataError: a line is no JSON object.
    """
    # Not splitlines(): JSON strings may hold U+2028 and the like unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ValueError as error:
            raise damaged(number, "a JSON object", str(error)) from error
        if not isinstance(value, dict):
            raise damaged(number, "a JSON object", type(value).__name__)
        yield number, value
