"""What a study concludes: sentences, and the tables and charts behind them, as plain values.

They stand in ``study.json``, so that tables and page are drawn from the document alone. A study
makes `Finding` values and never prints or draws.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bitloss.results.values import OMIT_NULL, Estimate, Frozen

__all__ = [
    "Chart",
    "ChartCell",
    "ChartPoint",
    "ChartRow",
    "Finding",
    "FindingCell",
    "FindingColumn",
    "FindingRow",
    "FindingTable",
    "Unit",
]

Unit = Literal["text", "number", "count", "bits", "bytes", "ratio", "nats", "points", "share"]
"""How a number is written: ``points`` and ``share`` are shares of 1, shown in percent points and in
percent; ``nats`` three significant digits."""

FindingCell = Estimate | float | str | None
"""A number with its interval, a number, words, or nothing."""


class FindingColumn(Frozen):
    """A column.

    Attributes:
        title: its heading.
        unit: how what is below it is written.
        minor: whether it is the first to be left out where there is no room.
    """

    title: str
    unit: Unit = "number"
    minor: Annotated[bool | None, OMIT_NULL] = None


class FindingRow(Frozen):
    """A row: its name, and a cell per column. `note` marks a cell that is missing, and why."""

    name: str
    cells: tuple[FindingCell, ...]
    note: Annotated[str | None, OMIT_NULL] = None


class FindingTable(Frozen):
    """A table.

    Attributes:
        title: what was measured.
        head: heading of the rows' names.
        columns: of every row.
        rows: each with as many cells as there are columns.
        notes: what a reader should know of the numbers.
    """

    title: str
    head: str = "level"
    columns: tuple[FindingColumn, ...]
    rows: tuple[FindingRow, ...]
    notes: tuple[str, ...] = ()


class ChartPoint(Frozen):
    """A spot: where it is across, what was measured, and of which line it is part."""

    name: str
    x: float
    y: Estimate
    series: str = ""


class ChartRow(Frozen):
    """A row of a ranking: what was measured of what `name` says; `series` gives it a color."""

    name: str
    value: Estimate
    series: str = ""


class ChartCell(Frozen):
    """A cell of a matrix."""

    row: str
    column: str
    value: Estimate


class Chart(Frozen):
    """What is drawn: spots joined by lines of equal `series`, a matrix, or a ranking.

    Attributes:
        title: what is drawn.
        caption: what is to be seen, in a sentence.
        across: title of the axis, or what the columns of a matrix are.
        up: the same of the other axis; for a matrix, what its rows are.
        unit: of the values.
        points: of a chart with axes.
        cells: of a matrix.
        rows: of a ranking, from above, whose numbers are `across`; absent from other charts.
        log_x: whether the axis across is logarithmic.
        log_y: whether the other one is.
        around: a value of no loss, that the upward axis has to show; null for none.
    """

    title: str
    caption: str
    across: str
    up: str
    unit: Unit = "number"
    points: tuple[ChartPoint, ...] = ()
    cells: tuple[ChartCell, ...] = ()
    rows: Annotated[tuple[ChartRow, ...] | None, OMIT_NULL] = None
    log_x: bool = False
    log_y: bool = False
    around: float | None = None


class Finding(Frozen):
    """One conclusion of a study.

    Attributes:
        name: what it is about, in a few words; its heading.
        sentences: what was found, with the numbers that carry it. Of the first finding, the first
            sentence is the study's answer.
        tables: behind it.
        charts: behind it.
    """

    name: str
    sentences: tuple[str, ...] = Field(default=())
    tables: tuple[FindingTable, ...] = ()
    charts: tuple[Chart, ...] = ()
