"""Tables of a study as markup, with the place of each number in the document."""

from __future__ import annotations

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.reports.page.cells import Cell, Column, Row, Table, figure, join, limited, row
from bitloss.results.values import Estimate
from bitloss.studies.finding_tables import write_cell
from bitloss.studies.findings import FindingCell, FindingTable, Unit
from bitloss.tables.text_table import TextTable
from bitloss.wording import IntervalText

__all__ = ["cell", "finding_table", "written_table"]

_UNITS = {"points": "points", "share": "share"}


def cell(content: FindingCell, unit: Unit, path: str) -> str | Markup:
    """A number with its interval, and where it stands in the document.

    Args:
        content: the number, words, or nothing.
        unit: how it is written.
        path: of it in the document.
    """
    written = write_cell(content, unit)
    if isinstance(written, IntervalText):
        if not isinstance(content, Estimate):
            return figure(written.value, path, _UNITS.get(unit, ""))
        return limited(written, path, unit=_UNITS.get(unit, ""))
    if written == fmt.MISSING:
        return figure(written, path)
    return written


def finding_table(content: FindingTable, path: str) -> Table:
    """A table of a finding."""
    columns = (
        Column(content.head, number=False),
        *(Column(one.title, number=one.unit != "text") for one in content.columns),
    )
    rows = [
        row(
            one.name,
            *(
                cell(value, column.unit, join(path, "rows", index, "cells", place))
                for place, (value, column) in enumerate(
                    zip(one.cells, content.columns, strict=True)
                )
            ),
        )
        for index, one in enumerate(content.rows)
    ]
    notes = [*content.notes, *(f"{one.name}: {one.note}" for one in content.rows if one.note)]
    return Table(content.title, columns, tuple(rows), tuple(notes))


def written_table(content: TextTable) -> Table:
    """A table whose cells are written already."""
    rows = tuple(
        Row(tuple(Cell(_shown(one.get(key, ""))) for key in content.columns))
        for one in content.rows
    )
    columns = tuple(
        Column(title, number=key not in content.left) for key, title in content.columns.items()
    )
    return Table(content.title, columns, rows, content.notes)


def _shown(text: str | IntervalText) -> str | Markup:
    if not isinstance(text, IntervalText):
        return text
    if text.limits is None:
        return text.value
    return Markup('{} <span class="limits">[{}, {}]</span>').format(text.value, *text.limits)
