"""Files of a task's rows: one, several, a folder's or those that a pattern matches."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bitloss.datasets.opening import kind_suffix
from bitloss.datasets.snapshots import file_rows
from bitloss.datasets.tables import Row, Table, read_csv, read_jsonl
from bitloss.errors import TaskDataError
from bitloss.spec.fingerprint import sha256_files, sha256_text
from bitloss.tasks.custom.rows import FILE, Origin, Rows

__all__ = ["SourceFile", "find_sources", "read_sources"]

_TABLES = (".jsonl", ".ndjson", ".csv", ".json", ".parquet", ".arrow")
_WILD = re.compile(r"[*?\[]")
_RELATIVE = "give a path relative to the task file"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of rows.

    Attributes:
        path: of the file.
        name: what its rows have in the field `FILE`.
    """

    path: Path
    name: str


def find_sources(named: str | Sequence[str], folder: Path) -> tuple[SourceFile, ...]:
    """The files that a task file names, sorted by path below each name of a list.

    A file is called as its name says, without the suffix; one that a pattern matches, as what
    the pattern's ``*`` stand for, so that ``val/*_val.csv`` and ``dev/*_dev.csv`` agree about a
    subject. A folder stands for the tables that lie in it, not for those in folders below it.

    Args:
        named: a path, a pattern (``data/*.csv``), a folder, or a list of them.
        folder: that of the task file, which they are relative to.

    Raises:
        TaskDataError: there is no such file, or a file is named twice.
    """
    names = [named] if isinstance(named, str) else list(named)
    sources = [source for name in names for source in _named(name, folder)]
    seen: set[Path] = set()
    for source in sources:
        if source.path.resolve() in seen:
            raise TaskDataError(f"`{source.path}` is named twice", hint="name each file once")
        seen.add(source.path.resolve())
    return tuple(sources)


def read_sources(sources: Sequence[SourceFile], key: str, columns: Sequence[str] = ()) -> Rows:
    """Read rows of files: JSONL, CSV, JSON, Parquet or Arrow, gzipped or not.

    Args:
        sources: at least one.
        key: the task file's key that names them.
        columns: of CSV files without a header.

    Raises:
        TaskDataError: one cannot be read, or a row is damaged (with its line), or there is none.
    """
    rows: list[Row] = []
    origins: list[Origin] = []
    digests = []
    for source in sources:
        table = _read(source.path, columns)
        for number, row in enumerate(table.rows):
            rows.append(row if FILE in row else {**row, FILE: source.name})
            line = table.lines[number] if table.lines else None
            origins.append(Origin(source.path, source.name, number, line))
        digests.append((table.digest, source.name))
    # Several files' names may be subjects, and are no part of the task file that names a folder.
    one = len(digests) == 1
    digest = digests[0][0] if one else sha256_text("\n".join(map(" ".join, digests)))
    names = tuple(source.name for source in sources)
    return Rows(tuple(rows), key, tuple(origins), digest, names)


def _read(path: Path, columns: Sequence[str]) -> Table:
    suffix = kind_suffix(path)
    if suffix == ".csv":
        table = read_csv(path, columns, header=not columns)
    elif suffix in (".jsonl", ".ndjson"):
        table = read_jsonl(path, ())
    elif suffix in _TABLES:
        table = Table(tuple(file_rows(path)), sha256_files([path]), str(path))
    else:
        raise TaskDataError(
            f"expected a .jsonl, .csv, .json, .parquet or .arrow file, got `{path}`",
            hint="write one JSON object per line, in a .jsonl file",
        )
    if not table.rows:
        raise TaskDataError(f"expected rows in `{path}`, got none", hint="write one row per item")
    return table


def _named(name: str, folder: Path) -> list[SourceFile]:
    path = Path(folder, Path(name).expanduser())
    if path.is_file():
        return [SourceFile(path, _without_suffix(path.name))]
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if _is_table(file)]
        if not files:
            raise TaskDataError(
                f"expected tables (.jsonl, .csv, .parquet ...) in the folder `{path}`, got none",
                hint="name the folder that they lie in, or a pattern such as `data/*.csv`",
            )
        return [SourceFile(file, _without_suffix(file.name)) for file in files]
    if not _WILD.search(name):
        raise TaskDataError(f"no file `{path}`", hint=_RELATIVE)
    pattern = str(Path(name).expanduser())
    matched = [
        (match, found)
        # `Path.glob` takes no absolute patterns, and finds hidden files.
        for found in sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207
        if (match := Path(folder, found)).is_file()
    ]
    if not matched:
        raise TaskDataError(f"no file matches `{path}`", hint=_RELATIVE)
    return [SourceFile(match, _stands_for(pattern, found)) for match, found in matched]


def _is_table(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and kind_suffix(file) in _TABLES


def _without_suffix(name: str) -> str:
    return re.sub(r"(?i)(\.(jsonl|ndjson|csv|json|parquet|arrow))?(\.gz)?$", "", name)


def _stands_for(pattern: str, found: str) -> str:
    """What the ``*`` of a pattern stand for in a path that it matches; the file's name without."""
    parts = []
    for part in re.split(r"(\*\*/|\*+|\?|\[!?\]?[^\]]*\])", pattern):
        if part == "**/":
            parts.append(r"(?:(.*)/)?")
        elif part.startswith("*"):
            parts.append(r"([^/]*)")
        elif part == "?":
            parts.append("[^/]")
        elif part.startswith("[") and part.endswith("]"):
            parts.append(re.sub(r"^\[!", "[^", part))
        else:
            parts.append(re.escape(part))
    match = re.fullmatch("".join(parts), found)
    stars = [_without_suffix(text) for text in match.groups() if text] if match else []
    return "/".join(star for star in stars if star) or _without_suffix(Path(found).name)
