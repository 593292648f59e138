"""The charts of a run, for the page (SVG) and for Markdown (PNG).

Their data are numbers of the result, or of the records that the result is made of. Colors are those
of print; the page's style sheet replaces them in dark mode. Every chart's `description`
says what it shows: it is the text for those who do not see it, and the title of a PNG.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bitloss import wording as fmt
from bitloss.analysis.score_losses import deciding_loss
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
    place_below,
)
from bitloss.reports.draw import Chart, png, svg
from bitloss.reports.families import families, family_colors
from bitloss.reports.quantities import DIVERGENCE, LOSS, NATS, PERPLEXITY
from bitloss.reports.scatter import by_size, by_speed

if TYPE_CHECKING:
    from bitloss.reports.details import Details, DivergenceQuantiles, LossTrace
    from bitloss.results import CapabilityResult, Comparison

__all__ = ["Chart", "Draw", "charts", "drawings", "png", "svg"]

Draw = Callable[[Frame], "Chart | None"]
"""Draws a chart in a size; None where there is nothing to draw."""


def charts(comparison: Comparison, details: Details) -> dict[str, Chart]:
    """Every chart that the run has results for.

    Args:
        comparison: the result.
        details: of the same run.

    Returns:
        By name, per corpus ``divergence-by-size:CORPUS``, ``perplexity-by-size:CORPUS``,
        ``divergence-by-speed:CORPUS``, ``divergence-quantiles:CORPUS`` and
        ``loss-along-text:CORPUS``, and ``loss-by-size`` and ``capabilities``.

    Raises:
        MissingDependency: altair is not installed.
    """
    drawn = {name: draw(HALF) for name, draw in drawings(comparison, details).items()}
    return {name: chart for name, chart in drawn.items() if chart is not None}


def drawings(comparison: Comparison, details: Details) -> dict[str, Draw]:
    """As `charts`, each to be drawn in the size that its place has, or not at all."""
    names = fitting(comparison.short_names)
    looks = _looks(comparison, names)
    drawn: dict[str, Draw] = {}
    for corpus in comparison.reference.corpora:
        drawn[f"divergence-by-size:{corpus}"] = partial(by_size, comparison, corpus, DIVERGENCE)
        drawn[f"perplexity-by-size:{corpus}"] = partial(by_size, comparison, corpus, PERPLEXITY)
        drawn[f"divergence-by-speed:{corpus}"] = partial(by_speed, comparison, corpus)
        drawn[f"divergence-quantiles:{corpus}"] = partial(
            _quantiles, corpus, details.quantiles.get(corpus, {}), names, looks
        )
        drawn[f"loss-along-text:{corpus}"] = partial(
            _loss_along_text, corpus, details.loss_traces.get(corpus, {}), names, looks
        )
    drawn["loss-by-size"] = partial(by_size, comparison, "", LOSS)
    drawn["capabilities"] = lambda frame: _capabilities(comparison)
    return drawn


# Lines -------------------------------------------------------------------------------------

# Across, for the names at the lines' ends; they take more if need be.
_NAMES = 100
# Vega's lengths of strokes and gaps. Lines of one family have its color and differ in these.
_DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (4, 2), (12, 4), (2, 4))


@dataclass(frozen=True, slots=True)
class _Look:
    """How a variant's line is drawn in every chart."""

    color: str
    dash: tuple[int, ...]


def _looks(comparison: Comparison, names: Mapping[str, str]) -> dict[str, _Look]:
    """By shown name: the color of the variant's family, as in the charts of quality and size. If
    all are of one, a color tells more about the variant.
    """
    family = families(comparison)
    if len(set(family.values())) == 1:
        family = {name: name for name in family}
    colors = family_colors(family)
    looks: dict[str, _Look] = {}
    for variant, own in family.items():
        rank = sum(look.color == colors[own] for look in looks.values())
        looks[names[variant]] = _Look(colors[own], _DASHES[rank % len(_DASHES)])
    return looks


def _quantiles(
    corpus: str,
    quantiles: Mapping[str, DivergenceQuantiles],
    names: Mapping[str, str],
    looks: Mapping[str, _Look],
    frame: Frame,
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
    x = Axis(0.25, 4.0, (0.30103, 1.0, 2.0, 3.0, 4.0), "linear", frame.width - _NAMES)
    y = log_axis(values, frame.height)
    alt = altair()
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
    title = f"Quantiles of the KL divergence by token, {corpus}"
    return _lines(lines, looks, across, x, y, NATS, title)


def _loss_along_text(
    corpus: str,
    traces: Mapping[str, LossTrace],
    names: Mapping[str, str],
    looks: Mapping[str, _Look],
    frame: Frame,
) -> Chart | None:
    lines: dict[str, list[tuple[float, float]]] = {
        names[name]: list(zip(map(float, trace.token), trace.nats, strict=True))
        for name, trace in traces.items()
    }
    if not lines or all(len(points) < 2 for points in lines.values()):
        return None
    alt = altair()
    last = max(token for points in lines.values() for token, _ in points)
    x = Axis(0.0, last, (), "linear", frame.width - _NAMES)
    values = [nats for points in lines.values() for _, nats in points]
    y = linear_axis(values, frame.height, around=0.0)
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
    return _lines(lines, looks, across, x, y, "nats per token", title, zero=True)


def _lines(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    looks: Mapping[str, _Look],
    across: Any,
    x: Axis,
    y: Axis,
    quantity: str,
    title: str,
    *,
    zero: bool = False,
) -> Chart:
    """One line per variant, its name at the line's end."""
    alt = altair()
    rows = [
        {"name": name, "x": at, "value": y.clip(value)}
        for name, points in lines.items()
        for at, value in points
    ]
    ends = {name: points[-1] for name, points in lines.items()}
    heights = place_below([y.length - y.at(value) for _, value in ends.values()])
    own = {name: looks[name] for name in lines}
    drawn = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=1.75, aria=False)
        .encode(
            x=across,
            y=channel(alt.Y, "value", y, quantity),
            color=alt.Color("name:N", legend=None).scale(
                domain=list(own), range=[look.color for look in own.values()]
            ),
            strokeDash=alt.StrokeDash("name:N", legend=None).scale(
                domain=list(own), range=[list(look.dash) for look in own.values()]
            ),
        )
    )
    marks = [
        alt.Chart(alt.Data(values=[{"name": name}]))
        .mark_text(align="left", baseline="middle", dx=7, color=own[name].color, aria=False)
        .encode(
            x=alt.XValue(x.length * _share(x, at)), y=alt.YValue(height), text=alt.Text("name:N")
        )
        for (name, (at, _)), height in zip(ends.items(), heights, strict=True)
    ]
    if zero:
        rule = alt.Chart(alt.Data(values=[{"value": 0}]))
        marks.insert(0, rule.mark_rule(color=MUTED, aria=False).encode(y=alt.Y("value:Q")))
    return described(alt.layer(drawn, *marks), title, width=x.length, height=y.length)


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
    alt = altair()
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
        .encode(text=alt.Text("points:N"))
        for dark in (False, True)
    ]
    n_rows = len({row["variant"] for row in rows})
    n_columns = len({row["capability"] for row in rows})
    title = "Points lost by capability, of the expected score where that decides"
    return described(
        alt.layer(cells, *texts), title, width=max(240, 64 * n_columns), height=34 * n_rows
    )
