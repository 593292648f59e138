"""Where the names in a chart go: beside their dots or lines, covering nothing.

Vega-Lite does not avoid collisions, and a chart of eight variants needs it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

__all__ = [
    "LETTER",
    "SIZE",
    "Box",
    "Spot",
    "freest_place",
    "place_below",
    "place_beside",
    "place_labels",
    "text_box",
]

SIZE = 12
"""Of the type, pixels."""
LETTER = 6.8
"""Mean width of a character at this size, pixels."""

Spot = tuple[float, float]
"""Pixels from the left and from the top."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, pixels."""
_Candidate = tuple[float, float, str]

_GAP = 9.0
_DOT = 5.0  # half the width of a dot, with a little air
_PASSES = 4
# Beside the dot is best. Further away it is less clear whose name it is, which costs as much as so
# many square pixels of something covered.
_RINGS = ((0.0, 0.0), (11.0, 12.0), (24.0, 40.0))
_OUTSIDE = 20.0  # a pixel outside of the chart, in square pixels covered


def place_beside(
    points: Sequence[Spot],
    texts: Sequence[str],
    size: tuple[float, float],
    line: Sequence[Spot] = (),
) -> list[_Candidate]:
    """Where the name of each point goes.

    Args:
        points: of the dots.
        texts: their names.
        size: of the chart, pixels across and down.
        line: through these points one is drawn, which no name should cover.

    Returns:
        For each point offsets to the right and downwards, and the text's alignment.
    """
    return place_labels(points, texts, size, [line])


def place_labels(
    points: Sequence[Spot],
    texts: Sequence[str],
    size: tuple[float, float],
    lines: Iterable[Sequence[Spot]] = (),
    blocked: Iterable[Box] = (),
    further: Sequence[float] = (),
) -> list[_Candidate]:
    """As `place_beside`, among several lines and other things that no name should cover; each name
    so many pixels further away.

    Each name in turn takes the best place beside the others, a few times over: what was taken first
    may then move away again.
    """
    candidates = [_candidates(more) for more in (further or [0.0] * len(points))]
    fixed = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in points]
    fixed += [(x - 2, y - 2, x + 2, y + 2) for line in lines for x, y in _along(line)]
    fixed += blocked
    boxes = [
        [text_box(x, y, text, place) for place, _ in own]
        for (x, y), text, own in zip(points, texts, candidates, strict=True)
    ]
    alone = [
        [dearness + _cost(box, fixed, size) for box, (_, dearness) in zip(row, own, strict=True)]
        for row, own in zip(boxes, candidates, strict=True)
    ]
    chosen: list[int | None] = [None] * len(points)
    for _ in range(_PASSES):
        before = list(chosen)
        for index, row in enumerate(boxes):
            others = [
                boxes[other][place]
                for other, place in enumerate(chosen)
                if place is not None and other != index
            ]
            costs = [
                own + _covered(box, others) for own, box in zip(alone[index], row, strict=True)
            ]
            chosen[index] = costs.index(min(costs))
        if chosen == before:
            break
    return [own[place or 0][0] for own, place in zip(candidates, chosen, strict=True)]


def freest_place(
    text: str,
    height: float,
    size: tuple[float, float],
    lines: Iterable[Sequence[Spot]],
    blocked: Iterable[Box] = (),
) -> tuple[float, float, str]:
    """Where a text along a line across goes: at its right or left end or in the middle, above
    it or below.

    Args:
        text: what is said of the line.
        height: of the line, pixels from the top.
        size: of the chart, pixels across and down.
        lines: what is drawn.
        blocked: where other texts are.

    Returns:
        Pixels from the left, the offset downwards, and the text's alignment.
    """
    taken = [(x - 3, y - 3, x + 3, y + 3) for line in lines for x, y in (*line, *_along(line))]
    taken += blocked
    away = SIZE / 2 + 3
    places = [
        (x, dy, align)
        for x, align in ((size[0], "right"), (0.0, "left"), (size[0] / 2, "center"))
        for dy in (-away, away)
    ]
    boxes = {place: text_box(place[0], height, text, (0.0, *place[1:])) for place in places}
    # Below the chart are the numbers of its axis.
    inside = [place for place in places if boxes[place][1] >= 0 and boxes[place][3] <= size[1]]
    return min(inside or places, key=lambda place: _cost(boxes[place], taken, size))


def text_box(x: float, y: float, text: str, place: _Candidate) -> Box:
    """What a text beside a point covers."""
    right, down, align = place
    wide = len(text) * LETTER
    left = x + right - {"left": 0.0, "center": wide / 2, "right": wide}[align]
    return left, y + down - SIZE / 2, left + wide, y + down + SIZE / 2


def _candidates(more: float) -> list[tuple[_Candidate, float]]:
    places: list[tuple[_Candidate, float]] = []
    for ring, dearness in _RINGS:
        further = ring + more
        side, above = _GAP + further, 2 * _GAP + further
        slanted = _GAP + 4 + further
        places += [
            (place, dearness)
            for place in (
                (side, 0.0, "left"), (-side, 0.0, "right"), (0.0, -above, "center"),
                (0.0, above, "center"), (_GAP, -slanted, "left"), (_GAP, slanted, "left"),
                (-_GAP, -slanted, "right"), (-_GAP, slanted, "right"),
            )
        ]  # fmt: skip
    return places


def _along(line: Sequence[Spot]) -> list[Spot]:
    """Points every few pixels."""
    points = []
    for (x, y), (right, below) in itertools.pairwise(line):
        steps = max(1, int(math.hypot(right - x, below - y) / 4))
        points += [
            (x + (right - x) * step / steps, y + (below - y) * step / steps)
            for step in range(1, steps)
        ]
    return points


def _cost(box: Box, taken: Iterable[Box], size: tuple[float, float]) -> float:
    """Area that is covered already, and what hangs out of the chart."""
    left, top, right, bottom = box
    width, height = size
    outside = max(0.0, -left) + max(0.0, right - width)
    outside += max(0.0, -top) + max(0.0, bottom - height)
    return _covered(box, taken) + _OUTSIDE * outside


def _covered(box: Box, taken: Iterable[Box]) -> float:
    left, top, right, bottom = box
    return sum(
        max(0.0, min(right, r) - max(left, x)) * max(0.0, min(bottom, b) - max(top, y))
        for x, y, r, b in taken
    )


def place_below(wanted: Sequence[float], least: float = SIZE + 2) -> list[float]:
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
