"""Rows of a task's data: local files in their upstream layout, or the hub."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bitloss.contents.encodings import decode_utf8
from bitloss.contents.kinds import TABLE
from bitloss.datasets.local import data_directory, json_objects
from bitloss.datasets.opening import long_fields, read_bytes
from bitloss.errors import TaskDataError
from bitloss.spec.fingerprint import canonical_json, sha256_files, sha256_text

__all__ = [
    "HubTable",
    "Row",
    "Table",
    "combined_digest",
    "damaged_row",
    "deviations",
    "local_file",
    "local_files",
    "read_csv",
    "read_jsonl",
    "table_from_rows",
]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one file or of one split on the hub.

    Attributes:
        rows: columns by name, as the file has them.
        digest: sha256 (hex) of the file, or of the rows where they come from the hub.
        source: where they were read from.
        from_hub: whether that is the hub (whose digests are of rows, not of a file).
        lines: of the file, by row, from 1; empty where they are not known.
    """

    rows: tuple[Row, ...]
    digest: str
    source: str
    from_hub: bool = False
    lines: tuple[int, ...] = ()

    def place(self, index: int) -> str:
        """Where a row stands, as compilers write it; `index` counts from 0."""
        if self.lines:
            return f"{self.source}:{self.lines[index]}"
        return f"row {index + 1} of {self.source}"


@dataclass(frozen=True, slots=True)
class HubTable:
    """Where a table is on the hub."""

    repository: str
    config: str | None
    split: str

    def __str__(self) -> str:
        parts = (self.repository, self.config, self.split)
        return f"hub: {', '.join(part for part in parts if part)}"


def local_files(
    data: Path | None, patterns: Sequence[str], *, origin: str = ""
) -> dict[str, Path] | None:
    """The local files that the patterns name.

    Args:
        data: the user's directory; None asks ``BITLOSS_DATA``.
        patterns: paths below it, all of them needed.
        origin: where the files can be had (a hub's data set, an address), for the hint.

    Returns:
        Paths by pattern; None where there is no directory with local data.

    Raises:
        TaskDataError: there is a directory, and some of the files are not in it: all are named.
    """
    directory = data_directory(data)
    if directory is None:
        return None
    missing = [pattern for pattern in patterns if not (directory / pattern).is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        raise _absent(directory, shown, origin)
    return {pattern: directory / pattern for pattern in patterns}


def local_file(data: Path | None, alternatives: Sequence[str], *, origin: str = "") -> Path | None:
    """The first of these local files that is there; otherwise as `local_files`."""
    directory = data_directory(data)
    if directory is None:
        return None
    for alternative in alternatives:
        if (directory / alternative).is_file():
            return directory / alternative
    raise _absent(directory, " or ".join(alternatives), origin)


def read_csv(path: Path, columns: Sequence[str], *, header: bool) -> Table:
    """Read a CSV file.

    Args:
        path: of the file.
        columns: their names, in order; with `header` the file's first line must have them all.
        header: whether the first line names the columns.

    Raises:
        TaskDataError: it cannot be read, or a row has another number of columns (with its line).
    """
    text = _read(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    lines: list[int] = []
    end = 0
    names: Sequence[str] = columns
    with long_fields():
        try:
            for number, values in enumerate(reader):
                first, end = end + 1, reader.line_num  # a row may take several lines
                if header and number == 0:
                    names = values
                    lacking = [column for column in columns if column not in names]
                    if lacking:
                        expected = f"columns {', '.join(columns)}"
                        raise _broken(path, 1, expected, f"{', '.join(values)}")
                    continue
                if len(values) != len(names):
                    raise _broken(path, reader.line_num, f"{len(names)} columns", f"{len(values)}")
                rows.append(dict(zip(names, values, strict=True)))
                lines.append(first)
        except csv.Error as error:
            raise _broken(path, reader.line_num, "CSV", str(error)) from error
    return Table(tuple(rows), sha256_files([path]), str(path), lines=tuple(lines))


def read_jsonl(path: Path, columns: Iterable[str]) -> Table:
    """Read a file with a JSON object a line, gzipped where its name ends in ``.gz``.

    Args:
        path: of the file.
        columns: that every object must have.

    Raises:
        TaskDataError: it cannot be read, or a line is no such object (with its number).
    """
    needed = tuple(columns)
    rows: list[Row] = []
    lines: list[int] = []
    for number, value in json_objects(_read(path), partial(_broken, path)):
        lacking = [column for column in needed if column not in value]
        if lacking:
            raise _broken(path, number, f"fields {', '.join(needed)}", ", ".join(value) or "none")
        rows.append(value)
        lines.append(number)
    return Table(tuple(rows), sha256_files([path]), str(path), lines=tuple(lines))


def table_from_rows(rows: Sequence[Row], source: str) -> Table:
    """A table of rows that came from the hub."""
    return Table(tuple(rows), sha256_text(canonical_json(list(rows))), source, from_hub=True)


def combined_digest(tables: Sequence[Table]) -> str:
    """One digest for several tables in this order; that of the table where there is one."""
    if len(tables) == 1:
        return tables[0].digest
    return sha256_text("\n".join(table.digest for table in tables))


def deviations(
    name: str, tables: Sequence[Table], *, rows: int, digest: str = ""
) -> tuple[str, ...]:
    """What is not as published, as notes for the reader of a result.

    Args:
        name: of the data, for the note: ``"ARC-Easy test"``.
        tables: one or several, counted together.
        rows: the published number.
        digest: `combined_digest` of the published files; empty where it is not known. It is
            compared for local files only: the hub's digests are of rows.
    """
    notes = []
    got = sum(len(table.rows) for table in tables)
    if got != rows:
        notes.append(f"{name}: {got:,} rows, the published files have {rows:,}")
    found = combined_digest(tables)
    if digest and found != digest and not any(table.from_hub for table in tables):
        notes.append(f"{name}: sha256 {found[:8]}, the published files have {digest[:8]}")
    return tuple(notes)


def damaged_row(table: Table, index: int, expected: str, got: str) -> TaskDataError:
    """The error to raise for a row that cannot be used; `index` counts from 0."""
    return TaskDataError(
        f"row {index + 1} of `{table.source}`: expected {expected}, got {got}",
        hint="download or copy the file again: it is damaged",
    )


def _absent(directory: Path, files: str, origin: str) -> TaskDataError:
    source = f" (from {origin})" if origin else ""
    return TaskDataError(
        f"`{directory}` has no {files}",
        hint=f"copy the data set there in its upstream layout{source}, or omit --data "
        "and unset BITLOSS_DATA to fetch it from the hub",
    )


def _read(path: Path) -> str:
    return decode_utf8(read_bytes(path, TaskDataError), path, TaskDataError, door=TABLE)


def _broken(path: Path, line: int, expected: str, got: str) -> TaskDataError:
    return TaskDataError(
        f"line {line} of `{path}`: expected {expected}, got {got}",
        hint="download or copy the file again: it is damaged",
    )
