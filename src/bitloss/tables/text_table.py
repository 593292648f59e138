"""A table whose cells are texts already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["TextTable"]


@dataclass(frozen=True, slots=True)
class TextTable:
    """Rows of text, and how they may be squeezed.

    Attributes:
        title: what the figures were measured on, and how.
        columns: headings by key, in order.
        rows: texts by column; a column that a row lacks is empty.
        notes: what a reader of these figures should know.
        left: columns of words, aligned left; the others are numbers.
        with_limits: columns whose confidence limits may go below the value.
        wrapped: columns whose words may go below each other.
        dropped_first: what goes first where there is no room.
    """

    title: str
    columns: Mapping[str, str]
    rows: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...] = ()
    left: tuple[str, ...] = ("model",)
    with_limits: tuple[str, ...] = ()
    wrapped: tuple[str, ...] = ()
    dropped_first: tuple[str, ...] = ()
