"""The charts of a run, for the page (SVG) and for Markdown (PNG).

Their data are numbers of the result, or of the records that the result is made of. Colors are those
of print; the page's style sheet replaces them in dark mode. Every chart's `description`
says what it shows: it is the text for those who do not see it, and the title of a PNG.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitloss import wording as fmt
from bitloss.analysis.score_losses import deciding_loss
from bitloss.errors import MissingDependency
from bitloss.reports.chart_parts import (
    ACCENT,
    HEIGHT,
    INK,
    MUTED,
    SERIES,
    WIDTH,
    Axis,
    config,
    fitting,
    linear_axis,
    log_axis,
    place_below,
    place_beside,
)
from bitloss.reports.draw import Chart, png, svg

if TYPE_CHECKING:
    from bitloss.reports.details import Details, DivergenceQuantiles, LossTrace
    from bitloss.results import CapabilityResult, Comparison, CorpusComparison, Estimate

__all__ = ["Chart", "charts", "pareto", "png", "svg"]


def charts(comparison: Comparison, details: Details) -> dict[str, Chart]:
    """Every chart that the run has results for.

    Args:
        comparison: the result.
        details: of the same run.

    Returns:
        By name, per corpus ``divergence-by-size:CORPUS``, ``perplexity-by-size:CORPUS``,
        ``divergence-quantiles:CORPUS`` and ``loss-along-text:CORPUS``, and ``capabilities``.

    Raises:
        MissingDependency: altair is not installed.
    """
    names = fitting(comparison.short_names)
    drawn: dict[str, Chart] = {}
    for corpus in comparison.reference.corpora:
        drawn[f"divergence-by-size:{corpus}"] = _by_size(comparison, corpus, _DIVERGENCE)
        drawn[f"perplexity-by-size:{corpus}"] = _by_size(comparison, corpus, _PERPLEXITY)
        drawn[f"divergence-quantiles:{corpus}"] = _quantiles(
            corpus, details.quantiles.get(corpus, {}), names
        )
        drawn[f"loss-along-text:{corpus}"] = _loss_along_text(
            corpus, details.loss_traces.get(corpus, {}), names
        )
    drawn["capabilities"] = _capabilities(comparison)
    return {name: chart for name, chart in drawn.items() if chart is not None}


def pareto(comparison: Comparison, corpus: str) -> tuple[str, ...]:
    """Variants that no other beats: none is as small or smaller and diverges less.

    Args:
        comparison: the result.
        corpus: one of its corpora.

    Returns:
        Names, the smallest variant first.
    """
    points = sorted(
        (variant.bits_per_weight, mean, variant.name)
        for variant in comparison.variants
        if variant.bits_per_weight is not None and corpus in variant.corpora
        for mean in (variant.corpora[corpus].kl_divergence.mean,)
        if mean is not None
    )
    front: list[str] = []
    best = math.inf
    for _, mean, name in points:
        if mean < best:
            best = mean
            front.append(name)
    return tuple(front)


def _altair() -> Any:
    try:
        import altair
    except ModuleNotFoundError as error:
        raise MissingDependency("altair", "drawing charts", extra="report") from error
    return altair


# Quality against size ----------------------------------------------------------------------

_NATS = "KL divergence, nats per token"


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What is drawn against size.

    Attributes:
        title: of the chart.
        axis: of the axis, with the unit.
        estimate: of a variant on a corpus.
        around: what no loss is; None for a logarithmic axis, on which it has no place.
    """

    title: str
    axis: str
    estimate: Callable[[CorpusComparison], Estimate]
    around: float | None = None


_DIVERGENCE = _Quantity(
    "KL divergence against size", _NATS, lambda corpus: corpus.kl_divergence.estimate
)
_PERPLEXITY = _Quantity(
    "Relative perplexity against size",
    "relative perplexity",
    lambda corpus: corpus.relative_perplexity,
    around=1.0,
)


def _by_size(comparison: Comparison, corpus: str, quantity: _Quantity) -> Chart | None:
    alt = _altair()
    rows = _sized(comparison, corpus, quantity)
    if not rows:
        return None
    limits = [row[key] for row in rows for key in ("low", "value", "high") if row[key] is not None]
    if quantity.around is None:
        y = log_axis(limits, HEIGHT)
    else:
        y = linear_axis(limits, HEIGHT, around=quantity.around)
    x = _bits_axis([row["bits"] for row in rows])
    for row in rows:
        row.update({key: y.clip(row[key]) for key in ("low", "value", "high")})
    spots = [(x.at(row["bits"]), HEIGHT - y.at(row["value"])) for row in rows]
    line = sorted(spot for spot, row in zip(spots, rows, strict=True) if row["front"])
    places = place_beside(spots, [row["name"] for row in rows], (WIDTH, HEIGHT), line)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_channel(alt.X, "bits", x, "bits per weight"),
        y=_channel(alt.Y, "value", y, quantity.axis),
    )
    interval = base.mark_rule(color=MUTED, aria=False).encode(y="low:Q", y2="high:Q")
    front = (
        base.transform_filter("datum.front")
        .mark_line(color=ACCENT, strokeWidth=1.25, aria=False)
        .encode(order="bits:Q")
    )
    dots = [
        base.transform_filter(f"datum.front == {str(on).lower()}")
        .mark_point(size=56, filled=on, fill=ACCENT if on else "white", stroke=ACCENT,
                    strokeWidth=1.5, opacity=1)
        .encode(description="tip:N")
        for on in (False, True)
    ]  # fmt: skip
    labels = [
        alt.Chart(alt.Data(values=[row]))
        .mark_text(dx=dx, dy=dy, align=align, baseline="middle", color=INK, aria=False)
        .encode(x="bits:Q", y="value:Q", text="name:N")
        for row, (dx, dy, align) in zip(rows, places, strict=True)
    ]
    title = f"{quantity.title}, {corpus}"
    return _described(alt.layer(interval, front, *dots, *labels), title)


def _sized(comparison: Comparison, corpus: str, quantity: _Quantity) -> list[dict[str, Any]]:
    names, front = fitting(comparison.short_names), pareto(comparison, corpus)
    rows = []
    for variant in comparison.variants:
        results = variant.corpora.get(corpus)
        if results is None or variant.bits_per_weight is None:
            continue
        estimate = quantity.estimate(results)
        value = estimate.value
        if value is None:
            continue
        exact = quantity.around is None and not value
        rows.append(
            {
                "name": names[variant.name] + (" (0)" if exact else ""),
                "bits": variant.bits_per_weight,
                "value": value,
                "low": estimate.low,
                "high": estimate.high,
                "front": variant.name in front,
                "tip": f"{names[variant.name]}: {value:.4g} at {variant.bits_per_weight:.2f} bits",
            }
        )
    return rows


def _bits_axis(bits: Sequence[float]) -> Axis:
    """From a whole number below to one above, a little room at either end."""
    low, high = math.floor(min(bits) - 0.3), math.ceil(max(bits) + 0.3)
    step = max(1, round((high - low) / 6))
    ticks = tuple(float(tick) for tick in range(low, high + 1, step))
    return Axis(float(low), float(high), ticks, "linear", WIDTH)


def _channel(kind: Any, column: str, axis: Axis, title: str) -> Any:
    scale = {"domain": [axis.low, axis.high], "type": axis.kind, "zero": False, "nice": False}
    return kind(
        f"{column}:Q",
        title=title,
        axis={"values": list(axis.ticks), "format": "~g"},
        scale=scale,
    )


def _described(layers: Chart, title: str, *, width: int = WIDTH, height: int = HEIGHT) -> Chart:
    described = layers.properties(width=width, height=height, description=title)
    return described.configure(**config())


# Lines -------------------------------------------------------------------------------------

# Of a line's part of the chart; the names at the lines' ends take the rest, and more if need be.
_LINES = 234


def _quantiles(
    corpus: str, quantiles: Mapping[str, DivergenceQuantiles], names: Mapping[str, str]
) -> Chart | None:
    lines = {
        names[name]: [
            (-math.log10(1 - share), nats)
            for share, nats in zip(one.share, one.nats, strict=True)
            if nats > 1e-9  # exact tokens have no place on a logarithmic axis
        ]
        for name, one in quantiles.items()
    }
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None
    values = [nats for points in lines.values() for _, nats in points]
    x = Axis(0.25, 4.0, (0.30103, 1.0, 2.0, 3.0, 4.0), "linear", _LINES)
    y = log_axis(values, HEIGHT)
    alt = _altair()
    labels = {
        "values": list(x.ticks),
        "labelFlush": False,
        "labelExpr": "format(datum.value < 0.5 ? 50 : 100 - pow(10, 2 - datum.value), '~g') + '%'",
    }
    across = alt.X(
        "x:Q",
        title="share of the tokens that diverge less",
        axis=labels,
        scale={"domain": [x.low, x.high], "nice": False},
    )
    return _lines(lines, across, x, y, _NATS, f"Quantiles of the KL divergence by token, {corpus}")


def _loss_along_text(
    corpus: str, traces: Mapping[str, LossTrace], names: Mapping[str, str]
) -> Chart | None:
    lines: dict[str, list[tuple[float, float]]] = {
        names[name]: list(zip(map(float, trace.token), trace.nats, strict=True))
        for name, trace in traces.items()
    }
    if not lines or all(len(points) < 2 for points in lines.values()):
        return None
    alt = _altair()
    last = max(token for points in lines.values() for token, _ in points)
    x = Axis(0.0, last, (), "linear", _LINES)
    y = linear_axis([nats for points in lines.values() for _, nats in points], HEIGHT, around=0.0)
    across = alt.X(
        "x:Q",
        title="scored tokens",
        axis={
            "tickCount": 4,
            "labelFlush": False,
            "labelExpr": "datum.value == 0 ? '0' : format(datum.value, '~s')",
        },
        scale={"domain": [x.low, x.high], "nice": False},
    )
    title = f"Loss along the text, variant minus reference, {corpus}"
    return _lines(lines, across, x, y, "nats per token", title, zero=True)


def _lines(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    across: Any,
    x: Axis,
    y: Axis,
    quantity: str,
    title: str,
    *,
    zero: bool = False,
) -> Chart:
    """One line per variant, its name at the line's end."""
    alt = _altair()
    rows = [
        {"name": name, "x": at, "value": y.clip(value)}
        for name, points in lines.items()
        for at, value in points
    ]
    ends = {name: points[-1] for name, points in lines.items()}
    heights = place_below([y.length - y.at(value) for _, value in ends.values()])
    colors = dict(zip(lines, SERIES * (len(lines) // len(SERIES) + 1), strict=False))
    drawn = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=1.75, aria=False)
        .encode(
            x=across,
            y=_channel(alt.Y, "value", y, quantity),
            color=alt.Color("name:N", legend=None).scale(
                domain=list(colors), range=list(colors.values())
            ),
        )
    )
    marks = [
        alt.Chart(alt.Data(values=[{"name": name}]))
        .mark_text(align="left", baseline="middle", dx=7, color=colors[name], aria=False)
        .encode(x=alt.value(x.length * _share(x, at)), y=alt.value(height), text="name:N")
        for (name, (at, _)), height in zip(ends.items(), heights, strict=True)
    ]
    if zero:
        rule = alt.Chart(alt.Data(values=[{"value": 0}]))
        marks.insert(0, rule.mark_rule(color=MUTED, aria=False).encode(y="value:Q"))
    return _described(alt.layer(drawn, *marks), title, width=_LINES)


def _share(axis: Axis, value: float) -> float:
    return (value - axis.low) / (axis.high - axis.low)


# Capabilities ------------------------------------------------------------------------------


def _loss(result: CapabilityResult, *, told: bool) -> dict[str, Any]:
    """A cell's shade and text; no shade where the reference had nothing to lose."""
    if not told:
        return {"lost": None, "points": "n.m."}
    loss = deciding_loss(result).value
    return {
        "lost": None if loss is None else max(100 * loss, 0.0),
        "points": fmt.points(None if loss is None else -loss),
    }


def _capabilities(comparison: Comparison) -> Chart | None:
    """Variants by capabilities: points lost, the number and the shade."""
    names = fitting(comparison.short_names)
    rows: list[dict[str, Any]] = [
        {
            "variant": names[variant.name],
            "capability": capability,
            **_loss(result, told=capability not in variant.not_measurable),
        }
        for variant in comparison.variants
        for capability, result in (variant.capabilities or {}).items()
    ]  # fmt: skip
    if not rows:
        return None
    alt = _altair()
    high = max([2.0, *(row["lost"] or 0.0 for row in rows)])  # small losses are to look small
    for row in rows:
        row["dark"] = (row["lost"] or 0.0) > 0.55 * high
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("capability:N", sort=None, title=None, axis={"labelAngle": -35, "domain": False}),
        y=alt.Y("variant:N", sort=None, title=None),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=2, aria=False).encode(
        color=alt.Color(
            "lost:Q",
            title="points lost",
            scale={"domain": [0, high], "range": ["#eef5f3", ACCENT]},
            legend={"orient": "top", "format": "~g", "gradientLength": 220,
                    "titleFontWeight": "normal"},
        )
    )  # fmt: skip
    texts = [
        base.transform_filter(f"datum.dark == {str(dark).lower()}")
        .mark_text(color="white" if dark else INK, aria=False)
        .encode(text="points:N")
        for dark in (False, True)
    ]
    n_rows = len({row["variant"] for row in rows})
    n_columns = len({row["capability"] for row in rows})
    title = "Points lost by capability, of the expected score where that decides"
    return _described(
        alt.layer(cells, *texts), title, width=max(240, 64 * n_columns), height=34 * n_rows
    )
