"""What all charts share: sizes, colors, type and round axes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitloss.errors import MissingDependency
from bitloss.reports.labels import SIZE, place_below, place_beside, place_labels

__all__ = [
    "ACCENT",
    "HALF",
    "HEIGHT",
    "INK",
    "LEAD",
    "MUTED",
    "NARROW",
    "SERIES",
    "WHOLE",
    "WIDTH",
    "Axis",
    "Frame",
    "altair",
    "channel",
    "config",
    "described",
    "fitting",
    "linear_axis",
    "log_axis",
    "place_below",
    "place_beside",
    "place_labels",
]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a chart's axes are, pixels; names, titles and room for them come on top.

    A page shows a chart at the width that it was drawn for, so that its type has the size of the
    text around it.
    """

    width: int
    height: int


NARROW = Frame(262, 240)
"""On a phone."""
HALF = Frame(410, 250)
"""Two of them side by side on a desk."""
LEAD = Frame(560, 350)
"""Beside the answer."""
WHOLE = Frame(940, 300)
"""Alone in a row."""
# Of charts that are in none of these places.
WIDTH, HEIGHT = 330, 230
# The page's style sheet gives each of these its counterpart for dark surroundings.
INK, MUTED, GRID, ACCENT = "#1d2126", "#5c636c", "#e3e6ea", "#0b6e5f"
SERIES = (
    "#0b6e5f", "#b3541e", "#3d5a98", "#8a3f6b", "#6b7000", "#7a4fbf", "#a83232", "#4f5965",
)  # fmt: skip
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def config() -> dict[str, Any]:
    """Vega-Lite's configuration."""
    text = {"font": _FONT, "fontSize": SIZE}
    axis = {
        "labelFont": _FONT, "labelFontSize": SIZE, "labelColor": MUTED, "labelPadding": 6,
        "titleFont": _FONT, "titleFontSize": SIZE, "titleFontWeight": "normal",
        "titleColor": MUTED, "titlePadding": 8, "grid": True, "gridColor": GRID,
        "domain": False, "ticks": False,
    }  # fmt: skip
    upright = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleY": -12}
    return {
        "background": "transparent",
        "font": _FONT,
        # Who looks at a chart may have wider letters than who drew it.
        "padding": {"left": 4, "top": 4, "right": 24, "bottom": 4},
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False, "domain": True, "domainColor": GRID},
        "axisY": upright,
        "text": {**text, "color": INK},
        "title": {"font": _FONT, "fontSize": 14, "color": INK, "anchor": "start", "offset": 14},
    }


def fitting(names: Mapping[str, str], most: int = 22) -> dict[str, str]:
    """Names with their middles left out where they are long and it stays clear which is meant.

    Args:
        names: by full name.
        most: characters of one.
    """
    ahead = (most - 1) // 2
    short = {
        full: name if len(name) <= most else f"{name[:ahead]}…{name[ahead + 1 - most :]}"
        for full, name in names.items()
    }
    shared = {name for name, times in Counter(short.values()).items() if times > 1}
    return {full: names[full] if name in shared else name for full, name in short.items()}


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale with round ends.

    Attributes:
        low: smallest value shown.
        high: largest.
        ticks: where a label stands.
        kind: Vega's word.
        length: pixels.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    kind: str
    length: float

    def at(self, value: float) -> float:
        """Pixels from the low end."""
        if self.kind == "log":
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return share * self.length

    def value(self, pixels: float) -> float:
        """What is so many pixels from the low end."""
        share = pixels / self.length
        if self.kind == "log":
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def clip(self, value: float | None) -> float | None:
        """The value, or the end that it lies beyond."""
        return None if value is None else min(max(value, self.low), self.high)


def log_axis(values: Iterable[float], length: float) -> Axis:
    """From the round number below the least positive value to the one above the largest.

    Args:
        values: to be shown; what is not above 0 is left out of account.
        length: pixels.
    """
    positive = [value for value in values if value > 0] or [1.0]
    first, last = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    steps = sorted(
        step * 10.0**exponent
        for exponent in range(first, last + 1)
        for step in (1, 2, 5)
    )  # fmt: skip
    low = max(step for step in steps if step <= min(positive) * (1 + 1e-9))
    above = [step for step in steps if step >= max(positive) and step > low]
    high = above[0] if above else 2 * low
    decades = math.log10(high / low)
    wanted = (1, 2, 5) if decades <= 2 else (1,)
    ticks = tuple(
        step for step in steps
        if low <= step <= high and round(step / 10 ** math.floor(math.log10(step) + 1e-9)) in wanted
    )  # fmt: skip
    return Axis(low, high, _thinned(ticks, 6), "log", length)


def linear_axis(values: Iterable[float], length: float, *, around: float) -> Axis:
    """Round ends that hold all values and the one that they are compared with.

    Args:
        values: to be shown.
        length: pixels.
        around: what no loss is.
    """
    shown = [*values, around]
    spread = max(shown) - min(shown) or abs(around) or 1.0
    step = _round_step(spread / 4)
    low, high = math.floor(min(shown) / step), math.ceil(max(shown) / step)
    if low == high:  # nothing but the value itself: put it in the middle
        low, high = low - 1, high + 1
    # Products of whole numbers, as sums of steps drift: 0.30000000000000004.
    ticks = tuple(round(index * step, 12) for index in range(low, high + 1))
    return Axis(ticks[0], ticks[-1], ticks, "linear", length)


def _round_step(least: float) -> float:
    scale = 10.0 ** math.floor(math.log10(least))
    return next(step * scale for step in (1, 2, 2.5, 5, 10) if step * scale >= least)


def _thinned(ticks: Sequence[float], most: int) -> tuple[float, ...]:
    every = -(-len(ticks) // most)
    return tuple(ticks[::every])


def altair() -> Any:
    """The library that describes charts.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import altair as library
    except ModuleNotFoundError as error:
        raise MissingDependency("altair", "drawing charts", extra="report") from error
    return library


def channel(kind: Any, column: str, axis: Axis, title: str) -> Any:
    """A channel of numbers along an axis."""
    scale = {"domain": [axis.low, axis.high], "type": axis.kind, "zero": False, "nice": False}
    return kind(
        f"{column}:Q",
        title=title,
        axis={"values": list(axis.ticks), "format": ".6~g"},
        scale=scale,
    )


def described(layers: Any, title: str, *, width: float = WIDTH, height: float = HEIGHT) -> Any:
    """The layers as a chart with its size, its style and what it shows; changes what is given.

    Altair's own `properties` and `configure` each build and check all layers again.
    """
    settings = {"width": width, "height": height, "description": title, "config": config()}
    for name, value in settings.items():
        setattr(layers, name, value)
    return layers
