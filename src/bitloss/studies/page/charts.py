"""The charts of a study: lines of loss, rankings, and matrices."""

from __future__ import annotations

from typing import Any

from bitloss.reports.chart_parts import (
    ACCENT,
    HEIGHT,
    INK,
    MUTED,
    SERIES,
    WIDTH,
    Axis,
    altair,
    channel,
    described,
    fitting,
    linear_axis,
    log_axis,
    place_below,
    place_labels,
)
from bitloss.reports.draw import Chart as Drawn
from bitloss.results.values import Estimate
from bitloss.studies.finding_tables import write_cell
from bitloss.studies.findings import Chart, ChartPoint, ChartRow, Unit
from bitloss.wording import IntervalText

__all__ = ["draw"]

_CELL = 76
_LEAST = 240
_TALL = 34
_ROW = 22
_BESIDE = 9  # from the end of a line to its name
_LETTER = 8.0  # of a row's name, at most: a reader's letters may be wider than the drawer's


def draw(chart: Chart) -> Drawn | None:
    """A chart as the page and a picture show it; None where there is nothing to draw."""
    if chart.cells:
        return _matrix(chart)
    if chart.rows is not None:
        ranked = [row for row in chart.rows if row.value.value is not None]
        return _ranking(chart, ranked) if ranked else None
    points = [point for point in chart.points if point.y.value is not None]
    return _lines(chart, points) if points else None


# Lines ------------------------------------------------------------------------------------------


def _lines(chart: Chart, points: list[ChartPoint]) -> Drawn:
    alt = altair()
    x, y = _across(chart, points), _up(chart, points)
    names = fitting({point.name: point.name for point in points})
    rows = [_row(point, names[point.name], y) for point in points]
    series = list(dict.fromkeys(point.series for point in points))
    colors = dict(zip(series, SERIES * (len(series) // len(SERIES) + 1), strict=False))
    color = alt.Color("series:N", legend=None).scale(domain=series, range=list(colors.values()))
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_channel(alt.X, "x", x, chart.across), y=_channel(alt.Y, "value", y, chart.up)
    )
    layers = [
        base.mark_rule(color=MUTED, aria=False).encode(y=alt.Y("low:Q"), y2=alt.Y2("high")),
        base.mark_line(strokeWidth=1.5, aria=False).encode(color=color, order=alt.Order("x:Q")),
        base.mark_point(size=52, filled=True, opacity=1).encode(
            color=color, description=alt.Description("tip:N")
        ),
        *(_names_at_ends(rows, x, y, colors) if _are_ends(points) else _names_beside(rows, x, y)),
    ]
    if chart.around is not None and not chart.log_y:
        rule = alt.Chart(alt.Data(values=[{"value": chart.around}]))
        layers.insert(0, rule.mark_rule(color=MUTED, aria=False).encode(y=alt.Y("value:Q")))
    return described(alt.layer(*layers), chart.title)


def _are_ends(points: list[ChartPoint]) -> bool:
    """Whether names are of lines: each stands at the last spot of one, and all of those are below
    each other.
    """
    last = max(point.x for point in points)
    named = [point for point in points if point.name]
    lines = {point.series for point in points}
    return len(named) == len(lines) < len(points) and all(point.x == last for point in named)


def _names_at_ends(
    rows: list[dict[str, Any]], x: Axis, y: Axis, colors: dict[str, str]
) -> list[Any]:
    """Names to the right of the lines, where nothing is drawn, in the order of their ends."""
    alt = altair()
    named = [row for row in rows if row["name"]]
    heights = place_below([HEIGHT - y.at(row["value"]) for row in named])
    return [
        alt.Chart(alt.Data(values=[{"name": row["name"]}]))
        .mark_text(align="left", baseline="middle", color=colors[row["series"]], aria=False)
        .encode(
            x=alt.XValue(x.at(row["x"]) + _BESIDE), y=alt.YValue(height), text=alt.Text("name:N")
        )
        for row, height in zip(named, heights, strict=True)
    ]


def _names_beside(rows: list[dict[str, Any]], x: Axis, y: Axis) -> list[Any]:
    """Each name beside its spot, off the other spots, names and lines."""
    alt = altair()
    spots = [(x.at(row["x"]), HEIGHT - y.at(row["value"])) for row in rows]
    lines: dict[str, list[tuple[float, float]]] = {}
    for row, spot in zip(rows, spots, strict=True):
        lines.setdefault(row["series"], []).append(spot)
    places = place_labels(
        spots, [row["name"] for row in rows], (WIDTH, HEIGHT), map(sorted, lines.values())
    )
    return [
        alt.Chart(alt.Data(values=[row]))
        .mark_text(dx=dx, dy=dy, align=align, baseline="middle", color=INK, aria=False)
        .encode(x=alt.X("x:Q"), y=alt.Y("value:Q"), text=alt.Text("name:N"))
        for row, (dx, dy, align) in zip(rows, places, strict=True)
    ]


def _channel(kind: Any, column: str, axis: Axis, title: str) -> Any:
    """A channel whose round numbers are written in full: 20, not 2e+1."""
    made = channel(kind, column, axis, title)
    return made if axis.kind == "log" else made.axis(values=list(axis.ticks), format="~r")


def _row(point: ChartPoint, name: str, y: Axis) -> dict[str, Any]:
    found = point.y
    return {
        "name": name,
        "x": point.x,
        "value": y.clip(found.value),
        "low": y.clip(found.low),
        "high": y.clip(found.high),
        "series": point.series,
        "tip": f"{name}: {found.value:.4g}",
    }


def _across(chart: Chart, points: list[ChartPoint]) -> Axis:
    values = [point.x for point in points]
    if chart.log_x and min(values) > 0:
        return log_axis(values, WIDTH)
    middle = sorted(values)[len(values) // 2]
    return linear_axis(values, WIDTH, around=middle)


def _up(chart: Chart, points: list[ChartPoint]) -> Axis:
    values = [
        value
        for point in points
        for value in (point.y.low, point.y.value, point.y.high)
        if value is not None
    ]
    if chart.log_y and max(values) > 0:
        return log_axis(values, HEIGHT)
    return linear_axis(values, HEIGHT, around=values[0] if chart.around is None else chart.around)


# Rankings ---------------------------------------------------------------------------------------


def _ranking(chart: Chart, ranked: list[ChartRow]) -> Drawn:
    """A spot with its interval per row. Rows of several series differ in color and name."""
    alt = altair()
    values = [
        value
        for row in ranked
        for value in (row.value.low, row.value.value, row.value.high)
        if value is not None
    ]
    scale = _scale(chart.unit)
    x = linear_axis(
        [scale * value for value in values],
        WIDTH,
        around=scale * (values[0] if chart.around is None else chart.around),
    )
    series = list(dict.fromkeys(row.series for row in ranked))
    colors = dict(zip(series, SERIES * (len(series) // len(SERIES) + 1), strict=False))
    names = fitting({row.name: row.name for row in ranked})
    room = _LETTER * max(map(len, names.values()))
    rows = [
        {
            "name": names[row.name],
            "value": scale * (row.value.value or 0.0),
            "low": None if row.value.low is None else scale * row.value.low,
            "high": None if row.value.high is None else scale * row.value.high,
            "series": row.series,
            "tip": f"{row.name}: {_written(row.value, chart.unit)}",
        }
        for row in ranked
    ]
    color = alt.Color("series:N", legend=None).scale(domain=series, range=list(colors.values()))
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_channel(alt.X, "value", x, chart.across),
        y=alt.Y("name:N", sort=None, title=None, axis={"grid": False, "minExtent": room}),
    )
    layers = [
        base.mark_rule(color=MUTED, aria=False).encode(x="low:Q", x2="high:Q"),
        base.mark_point(size=52, filled=True, opacity=1).encode(color=color, description="tip:N"),
    ]
    if chart.around is not None:
        rule = alt.Chart(alt.Data(values=[{"value": scale * chart.around}]))
        layers.insert(0, rule.mark_rule(color=MUTED, aria=False).encode(x="value:Q"))
    height = max(_TALL, _ROW * len(ranked))
    return described(alt.layer(*layers), chart.title, height=height)


def _scale(unit: Unit) -> float:
    return 100.0 if unit in ("share", "points") else 1.0


def _written(value: Estimate, unit: Unit) -> str:
    text = write_cell(value, unit)
    return text.value if isinstance(text, IntervalText) else text


# Matrices ---------------------------------------------------------------------------------------


def _matrix(chart: Chart) -> Drawn:
    """Shades compare within a column: what is evaluated differs in difficulty."""
    alt = altair()
    largest = {
        column: max(
            (cell.value.value or 0.0 for cell in chart.cells if cell.column == column), default=0.0
        )
        for column in {cell.column for cell in chart.cells}
    }
    smallest = {
        column: min(
            (cell.value.value or 0.0 for cell in chart.cells if cell.column == column), default=0.0
        )
        for column in largest
    }
    rows = []
    for cell in chart.cells:
        low, high = smallest[cell.column], largest[cell.column]
        share = ((cell.value.value or 0.0) - low) / (high - low) if high > low else 0.0
        rows.append(
            {
                "row": cell.row,
                "column": cell.column,
                "share": share,
                "dark": share > 0.55,
                "text": _written(cell.value, chart.unit),
            }
        )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("column:N", sort=None, title=chart.across, axis={"labelAngle": 0, "domain": False}),
        y=alt.Y("row:N", sort=None, title=chart.up),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=2, aria=False).encode(
        color=alt.Color(
            "share:Q", scale={"domain": [0, 1], "range": ["#eef5f3", ACCENT]}, legend=None
        )
    )
    texts = [
        base.transform_filter(f"datum.dark == {str(dark).lower()}")
        .mark_text(color="white" if dark else INK, aria=False)
        .encode(text=alt.Text("text:N"))
        for dark in (False, True)
    ]
    width = max(_LEAST, _CELL * len(largest))
    height = _TALL * len({cell.row for cell in chart.cells})
    return described(alt.layer(cells, *texts), chart.title, width=width, height=height)
