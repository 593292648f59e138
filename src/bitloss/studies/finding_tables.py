"""A study's findings as plain tables: every unit written as everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from bitloss import wording
from bitloss.results.values import Estimate
from bitloss.studies.findings import Finding, FindingCell, FindingTable, Unit
from bitloss.tables.text_table import Cell, TextTable

__all__ = ["finding_tables", "text_of", "write_cell"]


def _plain(decimals: int) -> Callable[[Estimate], Cell]:
    def write(found: Estimate) -> Cell:
        texts = [wording.number(x, decimals) for x in (found.value, found.low, found.high)]
        known = found.low is not None and found.high is not None
        return wording.IntervalText(texts[0], (texts[1], texts[2]) if known else None)

    return write


def _bytes(found: Estimate) -> Cell:
    return wording.size(None if found.value is None else round(found.value))


def _count(found: Estimate) -> Cell:
    return wording.count(None if found.value is None else round(found.value))


_WRITE: Mapping[Unit, Callable[[Estimate], Cell]] = MappingProxyType(
    {
        "text": _plain(3),
        "number": _plain(3),
        "count": _count,
        "bits": _plain(2),
        "bytes": _bytes,
        "ratio": wording.ratio_interval,
        "nats": wording.divergence_interval,
        "points": wording.unsigned_points_interval,
        "share": wording.share_interval,
    }
)


def write_cell(cell: FindingCell, unit: Unit) -> Cell:
    """A cell of a table, written."""
    if cell is None:
        return wording.MISSING
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, Estimate):
        cell = Estimate(value=cell, low=None, high=None)
    return _WRITE[unit](cell)


def text_of(found: Estimate, unit: Unit) -> str:
    """A number with its interval, for a sentence."""
    return str(write_cell(found, unit))


def finding_tables(finding: Finding) -> tuple[TextTable, ...]:
    """The tables of a finding."""
    return tuple(_table(table) for table in finding.tables)


_MANY = 4
_IN_FULL = "95% intervals are in study.json and on the page"


def _table(table: FindingTable) -> TextTable:
    """Of a table with many intervals, the values alone: a terminal has no room for more."""
    numbers = sum(column.unit != "text" for column in table.columns)
    if numbers > _MANY:
        return _values_only(_in_full(table))
    return _in_full(table)


def _values_only(table: TextTable) -> TextTable:
    rows = tuple(
        {
            key: cell.value if isinstance(cell, wording.IntervalText) else cell
            for key, cell in row.items()
        }
        for row in table.rows
    )
    cells = [cell for row in table.rows for cell in row.values()]
    if not any(isinstance(cell, wording.IntervalText) and cell.limits for cell in cells):
        return table
    return replace(table, rows=rows, notes=(*table.notes, _IN_FULL))


def _in_full(table: FindingTable) -> TextTable:
    keys = [f"c{index}" for index in range(len(table.columns))]
    rows: list[dict[str, Cell]] = [
        {
            "model": row.name,
            **{
                key: write_cell(cell, column.unit)
                for key, cell, column in zip(keys, row.cells, table.columns, strict=True)
            },
        }
        for row in table.rows
    ]
    words = [key for key, column in zip(keys, table.columns, strict=True) if column.unit == "text"]
    notes = (*table.notes, *(f"{row.name}: {row.note}" for row in table.rows if row.note))
    return TextTable(
        title=table.title,
        columns={
            "model": table.head,
            **{key: column.title for key, column in zip(keys, table.columns, strict=True)},
        },
        rows=tuple(rows),
        notes=notes,
        left=("model", *words),
        wrapped=tuple(words),
        dropped_first=_dropped_first(table, keys),
    )


def _dropped_first(table: FindingTable, keys: Sequence[str]) -> tuple[str, ...]:
    """What is left out where there is no room: minor columns, then the last ones."""
    minor = [key for key, column in zip(keys, table.columns, strict=True) if column.minor]
    return (*minor, *(key for key in reversed(keys[1:]) if key not in minor))
