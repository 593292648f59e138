"""Which column of a table is the text."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bitloss.errors import CorpusError

__all__ = ["SEPARATOR", "choose_column", "string_columns"]

SEPARATOR = "::"
"""Stands between a file's path and the name of its column: ``reviews.csv::body``."""

_USUAL = "text"


def choose_column(
    path: Path, asked: str | None, columns: Sequence[str], strings: Sequence[str]
) -> str:
    """The column with the text: that which was asked for, ``text``, or the only one of strings.

    Args:
        path: of the table, for the error.
        asked: what the user named, None if nothing.
        columns: all of the table's.
        strings: those that hold strings.

    Raises:
        CorpusError: there is no such column, or several could be meant.
    """
    if asked is not None:
        if asked in columns:
            return asked
        raise CorpusError(
            f"expected a column `{asked}` in `{path}`, got {_listed(columns)}",
            hint=f"name one of its columns: {_example(path, strings or columns)}",
        )
    if _USUAL in columns:
        return _USUAL
    if len(strings) == 1:
        return strings[0]
    if not strings:
        raise CorpusError(
            f"expected a column of text in `{path}`, got {_listed(columns)}, none of strings",
            hint="write the text to a column `text`",
        )
    raise CorpusError(
        f"expected a column `text` or one column of strings in `{path}`, got {_listed(strings)}",
        hint=f"name the column that holds the text: {_example(path, strings)}",
    )


def string_columns(rows: Iterable[Mapping[str, object]]) -> tuple[list[str], list[str]]:
    """All columns of some rows, and those that hold nothing but strings and nulls."""
    kinds: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    strings = [name for name, held in kinds.items() if str in held and held <= {str, type(None)}]
    return list(kinds), strings


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(f"`{column}`" for column in columns[:8])
    return shown + (f" and {len(columns) - 8} more" if columns[8:] else "") or "no columns"


def _example(path: Path, columns: Sequence[str]) -> str:
    return shlex.quote(f"{path}{SEPARATOR}{columns[0]}") if columns else str(path)
