"""Tables as Markdown (GitHub's flavour), for pull requests, model cards and documentation."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bitloss.tables.text_table import TextTable

__all__ = ["bullets", "escaped", "markdown_table", "rows_of_cells"]

# What would be taken for markup; signs that are safe where they stand are left as they are, so that
# `gguf-q4_k_m`, `<= 2` and `[0.99, 1.01]` can still be read in the source.
_MARKUP = re.compile(
    r"[\\`*|$]|(?<![^\W_])_|_(?![^\W_])|<(?=[\w/!?])|\](?=[(\[:])|~(?=~)|&(?=[#\w])"
)


# A name between backticks, as messages have it, is code here too.
_CODE = re.compile(r"(?<!`)(`[^`|\\]+`)(?!`)")


def escaped(text: str) -> str:
    """Text on one line that Markdown shows as it is, names between backticks as code."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    parts = _CODE.split(" ".join(printable.split()))
    return "".join(
        part if number % 2 else _MARKUP.sub(lambda match: "\\" + match.group(), part)
        for number, part in enumerate(parts)
    )


def rows_of_cells(table: TextTable) -> list[list[str]]:
    """The escaped cells of each row, in the order of the columns."""
    return [[escaped(table.text(row, key)) for key in table.columns] for row in table.rows]


def markdown_table(table: TextTable) -> str:
    """The table and its notes, without the title; one final newline."""
    heads = [escaped(name) for name in table.columns.values()]
    rules = ["---" if key in table.left else "---:" for key in table.columns]
    lines = [_line(heads), _line(rules), *(_line(cells) for cells in rows_of_cells(table))]
    return "\n".join([*lines, *bullets(table.notes)]) + "\n"


def bullets(notes: Sequence[str]) -> list[str]:
    """Lines of a list, an empty one before them; none without notes."""
    return ["", *(f"- {escaped(note)}" for note in notes)] if notes else []


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
