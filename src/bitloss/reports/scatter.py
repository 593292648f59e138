"""Quality against size, and against speed: a dot for every variant, its name beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bitloss.reports.chart_parts import (
    ACCENT,
    HALF,
    INK,
    MUTED,
    Axis,
    Frame,
    altair,
    channel,
    described,
    fitting,
    linear_axis,
    log_axis,
)
from bitloss.reports.draw import Chart
from bitloss.reports.families import families, family_colors
from bitloss.reports.labels import Box, Spot, freest_place, place_labels, text_box
from bitloss.reports.quantities import (
    DIVERGENCE,
    NATS,
    PERPLEXITY,
    Line,
    Quantity,
    pareto,
    reference_level,
    sizes,
)
from bitloss.tables.served import column_title

if TYPE_CHECKING:
    from bitloss.results import Comparison, Estimate
    from bitloss.results.speed import ModelSpeed

__all__ = [
    "DIVERGENCE",
    "NATS",
    "PERPLEXITY",
    "Quantity",
    "by_size",
    "by_speed",
    "pareto",
    "rate_of",
]

_MARGIN = 0.06  # of an axis of sizes, beyond its first and last dot
_TIMES = 4  # ratios from which on an axis is logarithmic: one broken file would hide all others
_RING = 5.0  # further away is the name of what has a ring around it, pixels
_LINE_TEXT = 11  # type of what is said of lines


@dataclass(frozen=True, slots=True)
class _Dot:
    """A variant on a chart."""

    name: str
    x: float
    estimate: Estimate
    tip: str
    family: str = ""
    front: bool = False
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is around the dots.

    Attributes:
        title: of the chart.
        across: title of the axis of sizes.
        x: that axis.
        quantity: on the other one.
        colors: by family.
        reference: where no loss is.
        lines: thresholds.
    """

    title: str
    across: str
    x: Axis
    quantity: Quantity
    colors: dict[str, str] = field(default_factory=dict)
    reference: Line | None = None
    lines: tuple[Line, ...] = ()


def by_size(
    comparison: Comparison, corpus: str, quantity: Quantity, frame: Frame = HALF
) -> Chart | None:
    """Loss against file size; None where nothing has both.

    Args:
        comparison: the result.
        corpus: one of its corpora; "" for what is no corpus's.
        quantity: the loss.
        frame: how large.
    """
    dots = _sized(comparison, corpus, quantity)
    if not dots:
        return None
    scene = _Scene(
        title=f"{quantity.title}, {corpus}" if corpus else quantity.title,
        across=sizes(comparison).unit,
        x=_size_axis([dot.x for dot in dots], frame.width),
        quantity=quantity,
        colors=family_colors(families(comparison)),
        reference=reference_level(comparison, quantity),
        lines=quantity.lines(comparison),
    )
    return _scatter(dots, scene, frame)


def by_speed(comparison: Comparison, corpus: str, frame: Frame = HALF) -> Chart | None:
    """Divergence against tokens per second beside the reference, in every way; None where nothing
    was timed.
    """
    dots = _timed(comparison, corpus)
    if not dots:
        return None
    scene = _Scene(
        title=f"KL divergence against speed, {corpus}",
        across="tokens per second, times the reference's",
        x=log_axis([dot.x for dot in dots], frame.width),
        quantity=DIVERGENCE,
        colors=family_colors(families(comparison)),
    )
    return _scatter(dots, scene, frame)


def rate_of(speed: ModelSpeed) -> float | None:
    """Writing, or if the engine cannot write, reading, as a share of the reference's speed."""
    rate = speed.decode or speed.prefill
    return None if rate is None else rate.ratio.value


# Drawing ------------------------------------------------------------------------------------------


def _scatter(dots: Sequence[_Dot], scene: _Scene, frame: Frame) -> Chart:
    alt = altair()
    y = _loss_axis(dots, scene, frame)
    rows = [_row(dot, scene, y) for dot in dots]
    spots = [(scene.x.at(row["x"]), frame.height - y.at(row["value"])) for row in rows]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=channel(alt.X, "x", scene.x, scene.across),
        y=channel(alt.Y, "value", y, scene.quantity.axis),
        color=_colored(alt, scene),
    )
    families = {
        name: [spot for spot, dot in zip(spots, dots, strict=True) if dot.family == name]
        for name in scene.colors
    }
    drawn = [*map(sorted, families.values()), *_bars(rows, spots, y, frame)]
    held_against, covered = _held_against(alt, scene, y, frame, [*drawn, *([one] for one in spots)])
    places = place_labels(
        spots,
        [row["name"] for row in rows],
        (frame.width, frame.height),
        drawn,
        covered,
        [_RING if dot.chosen else 0.0 for dot in dots],
    )
    labels = _labels(alt, scene, y, frame, dots, rows, spots, places)
    layers = [*held_against, _intervals(alt, base), _lines(alt, base), *_marks(alt, base), *labels]
    return described(alt.layer(*layers), scene.title, width=frame.width, height=frame.height)


def _labels(
    alt: Any,
    scene: _Scene,
    y: Axis,
    frame: Frame,
    dots: Sequence[_Dot],
    rows: Sequence[dict[str, Any]],
    spots: Sequence[Spot],
    places: Sequence[tuple[float, float, str]],
) -> list[Any]:
    """Names at their places, in as few layers as there are ways to set them."""
    layers: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for dot, row, spot, (dx, dy, align) in zip(dots, rows, spots, places, strict=True):
        layers.setdefault((align, dot.chosen), []).append(
            {
                "name": row["name"],
                "family": dot.family,
                "at": scene.x.value(spot[0] + dx),
                "height": y.value(frame.height - spot[1] - dy),
            }
        )
    return [
        alt.Chart(alt.Data(values=names))
        .mark_text(
            align=align, baseline="middle", aria=False, fontWeight="bold" if chosen else "normal"
        )
        .encode(
            x=alt.X("at:Q"),
            y=alt.Y("height:Q"),
            text=alt.Text("name:N"),
            color=_colored(alt, scene),
        )
        for (align, chosen), names in layers.items()
    ]


def _colored(alt: Any, scene: _Scene) -> Any:
    domain, colors = list(scene.colors), list(scene.colors.values())
    return alt.Color("family:N", legend=None).scale(domain=domain or [""], range=colors or [ACCENT])


def _intervals(alt: Any, base: Any) -> Any:
    return base.mark_rule(strokeWidth=1.25, aria=False).encode(y=alt.Y("low:Q"), y2=alt.Y2("high"))


def _lines(alt: Any, base: Any) -> Any:
    """One through each family."""
    return base.mark_line(strokeWidth=1.25, aria=False).encode(order=alt.Order("x:Q"))


def _marks(alt: Any, base: Any) -> list[Any]:
    """Filled where nothing smaller is better, with a ring around what is recommended."""
    ring = base.transform_filter("datum.chosen").mark_point(
        size=260, filled=False, strokeWidth=1.5, aria=False
    )
    hollow = base.transform_filter("!datum.front").mark_point(
        size=60, fill="white", strokeWidth=1.75, opacity=1
    )
    full = base.transform_filter("datum.front").mark_point(size=72, filled=True, opacity=1)
    return [ring, *(one.encode(description=alt.Description("tip:N")) for one in (hollow, full))]


def _row(dot: _Dot, scene: _Scene, y: Axis) -> dict[str, Any]:
    value = dot.estimate.value or 0.0
    exact = scene.quantity.log and not value
    return {
        "name": dot.name + (" (0)" if exact else ""),
        "x": dot.x,
        "value": y.clip(value),
        "low": y.clip(dot.estimate.low),
        "high": y.clip(dot.estimate.high),
        "family": dot.family,
        "front": dot.front,
        "chosen": dot.chosen,
        "tip": dot.tip,
    }


def _bars(
    rows: Sequence[dict[str, Any]], spots: Sequence[tuple[float, float]], y: Axis, frame: Frame
) -> list[list[tuple[float, float]]]:
    """Where the intervals are drawn."""
    return [
        [(x, frame.height - y.at(row[end])) for end in ("low", "high")]
        for row, (x, _) in zip(rows, spots, strict=True)
        if row["low"] is not None and row["high"] is not None
    ]


def _held_against(
    alt: Any, scene: _Scene, y: Axis, frame: Frame, drawn: Sequence[Sequence[Spot]]
) -> tuple[list[Any], list[Box]]:
    """Lines across that values are held against, their texts, and where those are."""
    lines = [(line, [5, 4], MUTED) for line in scene.lines if y.low < line.value < y.high]
    if scene.reference is not None:
        level = Line(max(scene.reference.value, y.low), scene.reference.text)
        lines.append((level, [1, 0], INK))
    layers: list[Any] = []
    boxes: list[Box] = []
    for line, dash, color in lines:
        data = alt.Chart(alt.Data(values=[{"value": line.value, "text": line.text}]))
        height = frame.height - y.at(line.value)
        x, dy, align = freest_place(line.text, height, (frame.width, frame.height), drawn, boxes)
        layers += [
            data.mark_rule(color=color, strokeDash=dash, aria=False).encode(y=alt.Y("value:Q")),
            data.mark_text(align=align, baseline="middle", color=MUTED, dy=dy,
                           fontSize=_LINE_TEXT, aria=False)
            .encode(x=alt.XValue(x), y=alt.Y("value:Q"), text=alt.Text("text:N")),
        ]  # fmt: skip
        boxes.append(text_box(x, height, line.text, (0.0, dy, align)))
        boxes.append((0.0, height - 1, frame.width, height + 1))
    return layers, boxes


# What is drawn ------------------------------------------------------------------------------------


def _sized(comparison: Comparison, corpus: str, quantity: Quantity) -> list[_Dot]:
    names, front = fitting(comparison.short_names), pareto(comparison, corpus, quantity)
    known, family, answer = sizes(comparison), families(comparison), comparison.answer
    chosen = None if answer is None else answer.recommended or answer.least_risky
    dots = []
    for variant in comparison.variants:
        estimate = quantity.estimate(variant, corpus)
        if variant.name not in known.of or estimate is None or estimate.value is None:
            continue
        name, size = names[variant.name], known.of[variant.name]
        unit = known.unit.rpartition(", ")[2]
        dots.append(
            _Dot(
                name=name,
                x=size,
                estimate=estimate,
                tip=f"{name}: {estimate.value:.4g} at {size:.4g} {unit}",
                family=family[variant.name],
                front=variant.name in front,
                chosen=variant.name == chosen,
            )
        )
    return dots


def _timed(comparison: Comparison, corpus: str) -> list[_Dot]:
    names, first = fitting(comparison.short_names), comparison.environment.engine.name
    family = families(comparison)
    dots = []
    for variant in comparison.variants:
        own = (variant.speed, variant.corpora.get(corpus), "")
        ways = [
            (
                served.speed,
                served.corpora[corpus].result if corpus in served.corpora else None,
                f", {column_title(served.way, first)}",
            )
            for served in variant.served or ()
        ]
        for speed, result, way in (own, *ways):
            share = None if speed is None else rate_of(speed)
            if share is None or result is None or not result.kl_divergence.mean:
                continue
            found, name = result.kl_divergence.estimate, f"{names[variant.name]}{way}"
            tip = f"{name}: {found.value:.4g} at {share:.3g} times the reference's speed"
            dots.append(_Dot(name, share, found, tip, family[variant.name]))
    return dots


def _size_axis(values: Sequence[float], length: float) -> Axis:
    """Around the sizes, with room at either end: files differ by less than they are large."""
    low, high = min(values), max(values)
    room = _MARGIN * (high - low) or 0.1 * high
    ticks = linear_axis([low, high], length, around=low).ticks
    shown = tuple(tick for tick in ticks if low - room <= tick <= high + room)
    return Axis(low - room, high + room, shown, "linear", length)


def _loss_axis(dots: Sequence[_Dot], scene: _Scene, frame: Frame) -> Axis:
    estimates = [dot.estimate for dot in dots]
    limits = [
        limit
        for found in estimates
        for limit in (found.low, found.value, found.high)
        if limit is not None
    ]
    around = scene.quantity.around
    if scene.quantity.log:
        return log_axis(limits, frame.height)
    if around > 0 and max(limits) > _TIMES * around:
        return log_axis([*limits, around], frame.height)
    return linear_axis(limits, frame.height, around=around)
