"""Numbers as markup that says where in ``comparison.json`` each of them stands.

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
from bitloss.wording import IntervalText

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
    "expected_range",
    "figure",
    "join",
    "limited",
    "lost",
    "marked",
    "points",
    "ratio",
    "row",
    "share",
    "shares",
    "stacked",
    "table",
]

_PLAIN = re.compile(r'[^."]+')
_DIGITS = 16  # of a digest: enough to tell files apart; all of it is in the document


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
        title: the caption, and the label for screen readers.
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
        unit: ``points``, ``share`` ... if the document has another one.
    """
    if text == fmt.MISSING:
        return Markup('<span class="none">-</span>')
    if unit:
        return Markup('<span data-path="{}" data-unit="{}">{}</span>').format(path, unit, text)
    return Markup('<span data-path="{}">{}</span>').format(path, text)


def limited(text: IntervalText, path: str, *, value_key: str = "value", unit: str = "") -> Markup:
    """A number with its bounds, ``0.031 [0.029, 0.033]``: each says where it stands.

    Args:
        text: number and bounds.
        path: of the estimate.
        value_key: of the number in it.
        unit: see `figure`.
    """
    shown = figure(text.value, join(path, value_key), unit)
    if text.limits is None:
        return shown
    low, high = text.limits
    return Markup('{} <span class="limits">[{}, {}]</span>').format(
        shown, figure(low, join(path, "low"), unit), figure(high, join(path, "high"), unit)
    )


def ratio(estimate: Estimate, path: str) -> Markup:
    """A relative perplexity."""
    return limited(fmt.ratio_interval(estimate), path)


def divergences(divergence: KLDivergence, path: str, *, near: bool = False) -> Markup:
    """The mean divergence over a corpus; `near` the noise floor it has the mark of that."""
    text = fmt.divergence_interval(divergence.estimate)
    return marked(limited(text, path, value_key="mean"), near=near)


def divergence(estimate: Estimate | None, path: str, *, near: bool = False) -> Markup:
    """A divergence on gold answers, or a difference of losses in nats; `near` as above."""
    if estimate is None:
        return figure(fmt.MISSING, path)
    return marked(limited(fmt.divergence_interval(estimate), path), near=near)


def marked(shown: Markup, *, near: bool) -> Markup:
    """A number with the mark of one near the noise floor."""
    if not near:
        return shown
    title = fmt.near_floor_note(exact=True).partition(": ")[2]
    return Markup('<span class="near" title="{}">{}</span>{}').format(title, fmt.NEAR_FLOOR, shown)


def points(estimate: Estimate, path: str) -> Markup:
    """A difference of shares in percentage points."""
    return limited(fmt.points_interval(estimate), path, unit="points")


def lost(estimate: Estimate | None, path: str) -> Markup:
    """A loss in percentage points: a loss has no sign."""
    if estimate is None:
        return figure(fmt.MISSING, path)
    return limited(fmt.unsigned_points_interval(estimate), path, unit="points")


def expected_range(low: float, high: float | None, path: str) -> Markup:
    """A range of expected relative perplexities."""
    start = figure(fmt.bound(low), join(path, "low"))
    end = None if high is None else figure(fmt.bound(high), join(path, "high"))
    return Markup(fmt.expected_range(start, end))


def shares(estimate: Estimate | None, path: str) -> Markup:
    """A share that may be small, with its bounds."""
    if estimate is None:
        return figure(fmt.MISSING, path)
    return limited(fmt.small_share_interval(estimate), path, unit="share")


def share(value: float | None, path: str) -> Markup:
    """A share in percent."""
    return figure(fmt.share(value), path, "share")


def count(value: int | None, path: str) -> Markup:
    """A whole number."""
    return figure(fmt.count(value), path)


def digest(value: str | None, path: str) -> Markup:
    """The first digits of a fingerprint; all of them on hover."""
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
