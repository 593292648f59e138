"""What all charts share: colors, type, round axes, and labels that do not cover each other."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitloss.errors import MissingDependency

__all__ = [
    "ACCENT",
    "HEIGHT",
    "INK",
    "SERIES",
    "WIDTH",
    "Axis",
    "altair",
    "channel",
    "config",
    "described",
    "fitting",
    "linear_axis",
    "log_axis",
    "place_below",
    "place_beside",
]

# Two charts side by side on a desk, one on a phone without getting too small to read.
WIDTH, HEIGHT = 330, 230
# The page's style sheet gives each of these its counterpart for dark surroundings.
INK, MUTED, GRID, ACCENT = "#1d2126", "#5c636c", "#e3e6ea", "#0b6e5f"
SERIES = (
    "#0b6e5f", "#b3541e", "#3d5a98", "#8a3f6b", "#6b7000", "#7a4fbf", "#a83232", "#4f5965",
)  # fmt: skip
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
_SIZE = 12
_CHARACTER = 6.8  # mean width of one at this size, in pixels


def config() -> dict[str, Any]:
    """Vega-Lite's configuration."""
    text = {"font": _FONT, "fontSize": _SIZE}
    axis = {
        "labelFont": _FONT, "labelFontSize": _SIZE, "labelColor": MUTED, "labelPadding": 6,
        "titleFont": _FONT, "titleFontSize": _SIZE, "titleFontWeight": "normal",
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


def place_beside(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    size: tuple[float, float],
    line: Sequence[tuple[float, float]] = (),
) -> list[tuple[float, float, str]]:
    """Where the name of each point goes.

    Args:
        points: pixels from the left and from the top.
        texts: their names.
        size: of the chart, pixels across and down.
        line: through these points one is drawn, which no name should cover.

    Returns:
        For each point offsets to the right and downwards, and the text's alignment.
    """
    gap = 9.0
    candidates = (
        (gap, 0.0, "left"), (-gap, 0.0, "right"), (0.0, -2 * gap, "center"),
        (0.0, 2 * gap, "center"), (gap, -gap - 4, "left"), (gap, gap + 4, "left"),
        (-gap, -gap - 4, "right"), (-gap, gap + 4, "right"),
    )  # fmt: skip
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    taken += [(x - 2, y - 2, x + 2, y + 2) for x, y in _along(line)]
    placed = []
    for (x, y), text in zip(points, texts, strict=True):
        boxes = [_box(x, y, text, candidate) for candidate in candidates]
        costs = [_cost(box, taken, size) for box in boxes]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        placed.append(candidates[best])
    return placed


def _along(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points every few pixels."""
    points = []
    for (x, y), (right, below) in itertools.pairwise(line):
        steps = max(1, int(math.hypot(right - x, below - y) / 4))
        points += [
            (x + (right - x) * step / steps, y + (below - y) * step / steps)
            for step in range(1, steps)
        ]
    return points


def _box(
    x: float, y: float, text: str, candidate: tuple[float, float, str]
) -> tuple[float, float, float, float]:
    right, down, align = candidate
    wide = len(text) * _CHARACTER
    left = x + right - {"left": 0.0, "center": wide / 2, "right": wide}[align]
    return left, y + down - _SIZE / 2, left + wide, y + down + _SIZE / 2


def _cost(
    box: tuple[float, float, float, float],
    taken: Iterable[tuple[float, float, float, float]],
    size: tuple[float, float],
) -> float:
    """Area that is covered already, and what hangs out of the chart."""
    left, top, right, bottom = box
    covered = sum(
        max(0.0, min(right, r) - max(left, x)) * max(0.0, min(bottom, b) - max(top, y))
        for x, y, r, b in taken
    )
    width, height = size
    outside = max(0.0, -left) + max(0.0, right - width) + max(0.0, bottom - height)
    return covered + 20 * outside


def place_below(wanted: Sequence[float], least: float = _SIZE + 2) -> list[float]:
    """Heights near the wanted ones, none closer than `least` to another; pixels from the top."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        # A group that overlaps the one above it joins it, around the mean of both.
        while len(groups) > 1 and _top(groups[-1], wanted, least) < (
            _top(groups[-2], wanted, least) + len(groups[-2]) * least
        ):
            last = groups.pop()
            groups[-1].extend(last)
    placed = [0.0] * len(wanted)
    for group in groups:
        top = _top(group, wanted, least)
        for rank, index in enumerate(group):
            placed[index] = top + (rank + 0.5) * least
    return placed


def _top(group: Sequence[int], wanted: Sequence[float], least: float) -> float:
    middle = sum(wanted[index] for index in group) / len(group)
    return middle - len(group) * least / 2


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
        axis={"values": list(axis.ticks), "format": "~g"},
        scale=scale,
    )


def described(layers: Any, title: str, *, width: int = WIDTH, height: int = HEIGHT) -> Any:
    """The layers as a chart with its size, its style and what it shows."""
    described = layers.properties(width=width, height=height, description=title)
    return described.configure(**config())
