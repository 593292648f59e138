"""The texts of a table's rows, whichever kind of file the table is in.

Rows are read one after the other; of JSON documents that are one value, and of nothing else, the
complete text is held beside them.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitloss.contents.encodings import decode_utf8, refuse_other
from bitloss.contents.kinds import ARROW, HEAD, PARQUET, TABLE, Door
from bitloss.datasets.columns import choose_column, string_columns
from bitloss.datasets.opening import kind_suffix, long_fields, opened, read_bytes, text_lines
from bitloss.errors import CorpusError
from bitloss.spec.json_text import describe_half, parse_json, parse_json_at

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TABLE_SUFFIXES", "ColumnTexts", "read_texts"]

_SAMPLE = 1000
"""Rows that a choice of column is made from."""
_NUMBER = re.compile(r"\s*[-+]?(\d[\d_,]*)?\.?\d*([eE][-+]?\d+)?%?\s*|(?i:true|false|nan|null)")
_ROW_HINT = 'write one object per line: {"text": "..."}'


@dataclass(frozen=True, slots=True)
class ColumnTexts:
    """One column, row by row.

    Attributes:
        column: its name; ``""`` where rows are strings themselves.
        texts: read as they are asked for; None is a null.
    """

    column: str
    texts: Iterator[str | None]


def read_texts(path: Path, column: str | None) -> ColumnTexts:
    """Open a table and choose its column; see `choose_column`.

    Args:
        path: a file whose `kind_suffix` is one of `TABLE_SUFFIXES`.
        column: that the user named, None if none.

    Raises:
        CorpusError: it is not what its name says, not UTF-8, or no column can be chosen. Rows that
            are damaged raise it later, with their line.
    """
    return _READERS[kind_suffix(path)](path, column)


# Objects and strings ---------------------------------------------------------------------------

_Numbered = Iterator[tuple[str, Any]]
"""Where a value stands, for the error, and the value."""


def _json_lines(path: Path, column: str | None) -> ColumnTexts:
    return _from_values(path, column, _values_of_lines(path))


def _json_document(path: Path, column: str | None) -> ColumnTexts:
    """Rows of a list, of lines, or of the one list that an object holds."""
    text = decode_utf8(read_bytes(path, CorpusError), path, CorpusError, door=TABLE)
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        return _from_values(path, column, _values_of_list(path, text, start + 1))
    try:
        first, end = parse_json_at(text, start)
    except ValueError as error:
        if not text.strip():
            return ColumnTexts("", iter(()))
        raise _damaged_json(path, text, error) from error
    if text[end:].strip():
        del text
        return _from_values(path, column, _values_of_lines(path))
    if not isinstance(first, dict):
        raise CorpusError(
            f"`{path}`: expected rows, got {type(first).__name__}",
            hint='write a list of objects: [{"text": "..."}]',
        )
    return _from_object(path, column, first)


def _from_object(path: Path, column: str | None, value: dict[str, Any]) -> ColumnTexts:
    if isinstance(value.get(column or "text"), str):
        return _from_values(path, column, iter([("row 1", value)]))
    lists = [name for name, held in value.items() if isinstance(held, list)]
    # Strings beside other values may be anything: tags, or the architectures of a model's config.
    if len(lists) != 1 or (len(value) > 1 and not _holds_objects(value[lists[0]])):
        raise CorpusError(
            f"`{path}`: expected a list of rows, got an object with "
            f"{', '.join(f'`{name}`' for name in value) or 'nothing in it'}",
            hint="write the rows as one list, or one object per line",
        )
    rows = ((f"row {n} of `{lists[0]}`", row) for n, row in enumerate(value[lists[0]], start=1))
    return _from_values(path, column, rows)


def _holds_objects(rows: list[Any]) -> bool:
    return bool(rows) and isinstance(rows[0], dict)


def _values_of_lines(path: Path) -> _Numbered:
    for number, line in text_lines(path, CorpusError):
        if not line.strip():
            continue
        try:
            yield f"line {number}", parse_json(line, allow_halves=True)
        except ValueError as error:
            raise _damaged(path, f"line {number}", "a JSON object", str(error)) from error


def _values_of_list(path: Path, text: str, position: int) -> _Numbered:
    """The elements of a JSON list whose first one may begin at a position, one after the other."""
    number = 0
    skip = re.compile(r"[ \t\r\n]*")

    def next_position(at: int) -> int:
        match = skip.match(text, at)
        return at if match is None else match.end()

    position = next_position(position)
    while text[position : position + 1] != "]":
        number += 1
        try:
            value, position = parse_json_at(text, position)
        except ValueError as error:
            raise _damaged_json(path, text, error) from error
        yield f"row {number}", value
        position = next_position(position)
        mark = text[position : position + 1]
        if mark not in (",", "]") or (mark == "]" and text[position + 1 :].strip()):
            raise _damaged(path, f"row {number}", "`,` or the list's end after it", repr(mark))
        if mark == ",":
            position = next_position(position + 1)


def _from_values(path: Path, column: str | None, values: _Numbered) -> ColumnTexts:
    """Rows that are strings, or the strings in a column of rows that are objects."""
    begin = list(itertools.islice(values, _SAMPLE))
    values = itertools.chain(begin, values)
    if not begin:
        return ColumnTexts("", iter(()))
    if isinstance(begin[0][1], str):
        if column is not None:
            raise CorpusError(
                f"expected a column `{column}` in `{path}`, got rows that are strings",
                hint=f"remove `::{column}`",
            )
        return ColumnTexts("", (_text(path, at, value, "a string") for at, value in values))
    for at, value in begin:
        if not isinstance(value, dict):
            raise _damaged(path, at, "a JSON object", type(value).__name__)
    name = choose_column(path, column, *string_columns(row for _, row in begin))

    def cells() -> Iterator[str | None]:
        for at, row in values:
            if not isinstance(row, dict):
                raise _damaged(path, at, "a JSON object", type(row).__name__)
            yield _text(path, at, row.get(name), f"a string under `{name}`")

    return ColumnTexts(name, cells())


def _text(path: Path, at: str, value: Any, expected: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _damaged(path, at, expected, type(value).__name__)
    if half := describe_half(value):
        raise _damaged(path, at, expected, half)
    return value


# Separated values ------------------------------------------------------------------------------


def _separated(delimiter: str) -> Callable[[Path, str | None], ColumnTexts]:
    def read(path: Path, column: str | None) -> ColumnTexts:
        rows = _separated_rows(path, delimiter)
        names = next(rows, [])
        if len(set(names)) < len(names):
            raise _damaged(path, "line 1", "a name of its own for each column", ", ".join(names))
        begin = list(itertools.islice(rows, _SAMPLE))
        worded = [
            name
            for at, name in enumerate(names)
            if not all(_NUMBER.fullmatch(row[at]) for row in begin)
        ]
        if not names:
            return ColumnTexts("", iter(()))
        chosen = choose_column(path, column, names, worded)
        at = names.index(chosen)
        return ColumnTexts(chosen, (row[at] for row in itertools.chain(begin, rows)))

    return read


def _separated_rows(path: Path, delimiter: str) -> Iterator[list[str]]:
    """Rows of equal length; lines with nothing on them are skipped."""
    lines = (line for _, line in text_lines(path, CorpusError))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = 0
    with long_fields():
        try:
            for row in reader:
                if not row:
                    continue
                width = width or len(row)
                if len(row) != width:
                    raise _damaged(
                        path, f"line {reader.line_num}", f"{width} columns", str(len(row))
                    )
                yield row
        except csv.Error as error:
            kind = "CSV" if delimiter == "," else "tab-separated values"
            raise _damaged(path, f"line {reader.line_num}", kind, str(error)) from error


# Parquet and Arrow -----------------------------------------------------------------------------


def _parquet(path: Path, column: str | None) -> ColumnTexts:
    import pyarrow.parquet as pq

    def batches(name: str) -> Iterator[pa.RecordBatch]:
        with opened(path, CorpusError) as stream:
            yield from pq.ParquetFile(stream).iter_batches(columns=[name])

    with opened(path, CorpusError) as stream, _readable(path, PARQUET):
        schema = pq.ParquetFile(stream).schema_arrow
    return _from_arrow(path, column, schema, batches, PARQUET)


def _arrow(path: Path, column: str | None) -> ColumnTexts:
    """A stream, as the library `datasets` writes, or a file."""
    import pyarrow as pa

    def reader(stream: Any) -> Any:
        whole = stream.read(6) == b"ARROW1"
        stream.seek(0)
        return pa.ipc.open_file(stream) if whole else pa.ipc.open_stream(stream)

    def batches(name: str) -> Iterator[pa.RecordBatch]:
        with opened(path, CorpusError) as stream:
            source = reader(stream)
            if isinstance(source, pa.ipc.RecordBatchFileReader):
                every = (source.get_batch(n) for n in range(source.num_record_batches))
            else:
                every = iter(source)
            yield from (batch.select([name]) for batch in every)

    with opened(path, CorpusError) as stream, _readable(path, ARROW):
        schema = reader(stream).schema
    return _from_arrow(path, column, schema, batches, ARROW)


def _from_arrow(
    path: Path,
    column: str | None,
    schema: pa.Schema,
    batches: Callable[[str], Iterator[pa.RecordBatch]],
    door: Door,
) -> ColumnTexts:
    import pyarrow as pa

    def holds_strings(field: pa.Field) -> bool:
        held = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        return bool(
            pa.types.is_string(held)
            or pa.types.is_large_string(held)
            or pa.types.is_string_view(held)
        )

    strings = [field.name for field in schema if holds_strings(field)]
    name = choose_column(path, column, schema.names, strings)

    def cells() -> Iterator[str | None]:
        row = 0
        with _readable(path, door):
            for batch in batches(name):
                for value in batch.column(0).to_pylist():
                    row += 1
                    yield _text(path, f"row {row}", value, f"a string in column `{name}`")

    return ColumnTexts(name, cells())


@contextmanager
def _readable(path: Path, door: Door) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file into an error of ours."""
    import pyarrow as pa

    with opened(path, CorpusError) as stream:
        head = stream.read(HEAD)
    refuse_other(head, path, CorpusError, door=door)
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise CorpusError(
            f"expected {door.expected}, got a damaged one in `{path}`: {error}",
            hint="download or copy it again",
        ) from error


# Errors ----------------------------------------------------------------------------------------


def _damaged(path: Path, at: str, expected: str, got: str) -> CorpusError:
    return CorpusError(
        f"{at} of `{path}`: expected {expected}, got {got}",
        hint=_ROW_HINT if "JSON" in expected or "under" in expected else "correct the file",
    )


def _damaged_json(path: Path, text: str, error: Exception) -> CorpusError:
    line = text.count("\n", 0, error.pos) + 1 if isinstance(error, json.JSONDecodeError) else 1
    return _damaged(path, f"line {line}", "JSON", str(error))


_READERS: dict[str, Callable[[Path, str | None], ColumnTexts]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_document,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".parquet": _parquet,
    ".arrow": _arrow,
}
TABLE_SUFFIXES = tuple(_READERS)
"""What names of tables end in, with ``.gz`` after it or without."""
