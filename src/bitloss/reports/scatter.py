"""Quality against size, and against speed: a spot for every variant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitloss.reports.chart_parts import (
    ACCENT,
    HEIGHT,
    INK,
    MUTED,
    WIDTH,
    Axis,
    altair,
    channel,
    described,
    fitting,
    linear_axis,
    log_axis,
    place_beside,
)
from bitloss.reports.draw import Chart
from bitloss.tables.served import column_title

if TYPE_CHECKING:
    from bitloss.results import Comparison, CorpusComparison, Estimate
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

NATS = "KL divergence, nats per token"


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is drawn against size or speed.

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


DIVERGENCE = Quantity(
    "KL divergence against size", NATS, lambda corpus: corpus.kl_divergence.estimate
)
PERPLEXITY = Quantity(
    "Relative perplexity against size",
    "relative perplexity",
    lambda corpus: corpus.relative_perplexity,
    around=1.0,
)


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


def by_size(comparison: Comparison, corpus: str, quantity: Quantity) -> Chart | None:
    """Loss against bits per weight; None where nothing has both."""
    rows = _sized(comparison, corpus, quantity)
    if not rows:
        return None
    x = _bits_axis([row["x"] for row in rows])
    return _scatter(rows, x, "bits per weight", quantity, f"{quantity.title}, {corpus}")


def by_speed(comparison: Comparison, corpus: str) -> Chart | None:
    """Divergence against tokens per second beside the reference, in every way; None where nothing
    was timed.
    """
    rows = _timed(comparison, corpus)
    if not rows:
        return None
    x = log_axis([row["x"] for row in rows], WIDTH)
    title = f"KL divergence against speed, {corpus}"
    return _scatter(rows, x, "tokens per second, of the reference's", DIVERGENCE, title)


def rate_of(speed: ModelSpeed) -> float | None:
    """Writing, or if the engine cannot write, reading, as a share of the reference's speed."""
    rate = speed.decode or speed.prefill
    return None if rate is None else rate.ratio.value


def _scatter(
    rows: list[dict[str, Any]], x: Axis, across: str, quantity: Quantity, title: str
) -> Chart:
    """Spots with names; those in front are joined by a line."""
    alt = altair()
    limits = [row[key] for row in rows for key in ("low", "value", "high") if row[key] is not None]
    if quantity.around is None:
        y = log_axis(limits, HEIGHT)
    else:
        y = linear_axis(limits, HEIGHT, around=quantity.around)
    for row in rows:
        row.update({key: y.clip(row[key]) for key in ("low", "value", "high")})
    spots = [(x.at(row["x"]), HEIGHT - y.at(row["value"])) for row in rows]
    line = sorted(spot for spot, row in zip(spots, rows, strict=True) if row["front"])
    places = place_beside(spots, [row["name"] for row in rows], (WIDTH, HEIGHT), line)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=channel(alt.X, "x", x, across),
        y=channel(alt.Y, "value", y, quantity.axis),
    )
    interval = base.mark_rule(color=MUTED, aria=False).encode(y="low:Q", y2="high:Q")
    front = (
        base.transform_filter("datum.front")
        .mark_line(color=ACCENT, strokeWidth=1.25, aria=False)
        .encode(order="x:Q")
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
        .encode(x="x:Q", y="value:Q", text="name:N")
        for row, (dx, dy, align) in zip(rows, places, strict=True)
    ]
    return described(alt.layer(interval, front, *dots, *labels), title)


def _sized(comparison: Comparison, corpus: str, quantity: Quantity) -> list[dict[str, Any]]:
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
                "x": variant.bits_per_weight,
                "value": value,
                "low": estimate.low,
                "high": estimate.high,
                "front": variant.name in front,
                "tip": f"{names[variant.name]}: {value:.4g} at {variant.bits_per_weight:.2f} bits",
            }
        )
    return rows


def _timed(comparison: Comparison, corpus: str) -> list[dict[str, Any]]:
    names, first = fitting(comparison.short_names), comparison.environment.engine.name
    rows: list[dict[str, Any]] = []
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
            found = result.kl_divergence.estimate
            name = f"{names[variant.name]}{way}"
            tip = f"{name}: {found.value:.4g} at {share:.3g} times the reference's speed"
            rows.append(
                {
                    "name": name, "x": share, "value": found.value, "low": found.low,
                    "high": found.high, "front": False, "tip": tip,
                }
            )  # fmt: skip
    return rows


def _bits_axis(bits: Sequence[float]) -> Axis:
    """From a whole number below to one above, a little room at either end."""
    low, high = math.floor(min(bits) - 0.3), math.ceil(max(bits) + 0.3)
    step = max(1, round((high - low) / 6))
    ticks = tuple(float(tick) for tick in range(low, high + 1, step))
    return Axis(float(low), float(high), ticks, "linear", WIDTH)
