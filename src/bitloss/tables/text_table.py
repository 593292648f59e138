"""A table whose cells are written out already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bitloss.wording import IntervalText

__all__ = ["Cell", "TextTable"]

Cell = str | IntervalText
"""A text, or a number whose bounds may go below it."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """Rows of text, and how they may be squeezed.

    Attributes:
        title: what was measured, and how.
        columns: headings by key, in order.
        rows: cells by column; a column that a row lacks is empty.
        notes: what a reader of these numbers should know.
        left: columns of words, aligned left; the others are numbers.
        wrapped: columns whose words may go below each other.
        dropped_first: columns, if they are there, that go into a second block first if there is no
            room; columns that belong together as a tuple.
        muted: indices of rows that are no model's, a noise floor.
    """

    title: str
    columns: Mapping[str, str]
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...] = ()
    left: tuple[str, ...] = ("model",)
    wrapped: tuple[str, ...] = ()
    dropped_first: tuple[str | tuple[str, ...], ...] = ()
    muted: frozenset[int] = frozenset()

    @property
    def dropped(self) -> tuple[tuple[str, ...], ...]:
        """The columns of `dropped_first` that are there, each with those that go with it."""
        groups = [(one,) if isinstance(one, str) else one for one in self.dropped_first]
        return tuple(tuple(key for key in group if key in self.columns) for group in groups)

    def text(self, row: Mapping[str, Cell], key: str) -> str:
        """A cell of one of the rows on one line; empty if the row lacks the column."""
        return str(row.get(key, ""))
