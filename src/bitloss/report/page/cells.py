"""Figures as markup that says where in ``comparison.json`` each of them stands.

Everything that comes from a run is escaped here or by the template, never trusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.results import Estimate, KLDivergence

__all__ = [
    "Cell",
    "Column",
    "Row",
    "Table",
    "code",
    "count",
    "digest",
    "divergence",
    "divergences",
    "figure",
    "join",
    "limited",
    "lost",
    "points",
    "ratio",
    "row",
    "share",
    "stacked",
    "table",
    "times",
]

_PLAIN = re.compile(r'[^."]+')
_DIGITS = 16  # of a digest: enough to tell files apart; the whole of it is in the document


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell: text (escaped by the template) or markup, and a class of the style sheet."""

    content: str | Markup
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading, and whether there are numbers below it."""

    title: str
    number: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """The first cell is the row's heading."""

    cells: tuple[Cell, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page.

    Attributes:
        title: what a reader who does not see the page is told of it, and the caption.
        columns: of every row.
        rows: each with as many cells as there are columns.
        notes: below it.
        kind: class of the style sheet.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    kind: str = ""


def table(
    title: str,
    columns: Mapping[str, bool],
    rows: Sequence[Row],
    *,
    notes: Sequence[str] = (),
    kind: str = "",
) -> Table:
    """A table; of the columns, True are those with numbers."""
    return Table(
        title,
        tuple(Column(name, number) for name, number in columns.items()),
        tuple(rows),
        tuple(notes),
        kind,
    )


def row(*contents: str | Markup | Cell, kind: str = "") -> Row:
    """A row of cells."""
    return Row(tuple(c if isinstance(c, Cell) else Cell(c) for c in contents), kind)


def join(*parts: str | int) -> str:
    """A path into the document; a name with dots in it is put in quotation marks."""
    texts = [str(part) for part in parts if part != ""]
    return ".".join(
        text if index == 0 or _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
        for index, text in enumerate(texts)
    )


def figure(text: str, path: str, unit: str = "") -> Markup:
    """A number, and where it stands.

    Args:
        text: as it is written for people.
        path: into the document.
        unit: ``points``, ``share`` ... where the document has another one.
    """
    if text == fmt.MISSING:
        return Markup('<span class="none">-</span>')
    if unit:
        return Markup('<span data-path="{}" data-unit="{}">{}</span>').format(path, unit, text)
    return Markup('<span data-path="{}">{}</span>').format(path, text)


def limited(
    text: str, path: str, keys: tuple[str, str, str] = ("value", "low", "high"), unit: str = ""
) -> Markup:
    """A number with its limits, ``0.031 [0.029, 0.033]``: each says where it stands."""
    value, bracket, limits = text.partition(" [")
    shown = figure(value, join(path, keys[0]), unit)
    if not bracket:
        return shown
    low, high = limits.removesuffix("]").split(", ")
    return Markup('{} <span class="limits">[{}, {}]</span>').format(
        shown, figure(low, join(path, keys[1]), unit), figure(high, join(path, keys[2]), unit)
    )


def ratio(found: Estimate | None, path: str) -> Markup:
    """A relative perplexity."""
    if found is None:
        return figure(fmt.MISSING, path)
    return limited(fmt.ratio_interval(found.value, found.low, found.high), path)


def divergences(found: KLDivergence, path: str) -> Markup:
    """The mean divergence over a corpus."""
    text = fmt.divergence_interval(found.mean, found.low, found.high)
    return limited(text, path, ("mean", "low", "high"))


def divergence(found: Estimate | None, path: str) -> Markup:
    """A divergence on gold answers, or a difference of losses in nats."""
    if found is None:
        return figure(fmt.MISSING, path)
    return limited(fmt.divergence_interval(found.value, found.low, found.high), path)


def points(found: Estimate | None, path: str) -> Markup:
    """A difference of shares in percentage points."""
    if found is None:
        return figure(fmt.MISSING, path)
    return limited(fmt.points_interval(found.value, found.low, found.high), path, unit="points")


def lost(found: Estimate, path: str) -> Markup:
    """A loss in percentage points: what is lost has no sign."""
    text = fmt.points_plain(found.value, found.low, found.high)
    return limited(text, path, unit="points")


def times(found: Estimate | None, path: str) -> Markup:
    """How many times as large."""
    if found is None:
        return figure(fmt.MISSING, path)
    return limited(fmt.times_interval(found.value, found.low, found.high), path)


def share(value: float | None, path: str) -> Markup:
    """A share in per cent."""
    return figure(fmt.share(value), path, "share")


def count(value: int | None, path: str) -> Markup:
    """A whole number."""
    return figure(fmt.count(value), path)


def digest(value: str | None, path: str) -> Markup:
    """The first digits of a fingerprint; all of them for who points at it."""
    if not value:
        return figure(fmt.MISSING, path)
    return Markup('<code data-path="{}" data-unit="prefix" title="{}">{}</code>').format(
        path, value, value[:_DIGITS]
    )


def code(text: str) -> Markup:
    """A name or command as it is typed."""
    return Markup("<code>{}</code>").format(text)


def stacked(*parts: Markup) -> Markup:
    """Figures below each other."""
    return Markup("").join(Markup('<span class="line">{}</span>').format(part) for part in parts)
