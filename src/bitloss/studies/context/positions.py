"""What the study of context concludes of divergence by position.

Positions are put into ranges that double in length. A range is held against all positions before it
in the same windows; those that are shown to be worse are named, corrected for all levels and ranges
(Holm's method). The reference changes along a window too, being surer the more it has read; the
divergence is between both at each position.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitloss import wording
from bitloss.analysis.window_intervals import window_intervals
from bitloss.metrics.intervals import Series
from bitloss.results import Estimate
from bitloss.studies.contrast import shown
from bitloss.studies.findings import (
    Chart,
    ChartPoint,
    Finding,
    FindingColumn,
    FindingRow,
    FindingTable,
)
from bitloss.studies.measured import Measured
from bitloss.studies.paired import same_tokens
from bitloss.types import FloatArray, IntArray, TokenRecords

__all__ = ["Positions", "place_of", "position_finding", "positions_of", "ranges"]

_FIRST = 64


@dataclass(frozen=True, slots=True)
class _Ranges:
    """A level's divergence by range of positions, and how much more than before each range."""

    mean: dict[tuple[int, int], Estimate]
    more: dict[tuple[int, int], Estimate]


def ranges(length: int) -> list[tuple[int, int]]:
    """Ranges of positions that double: ``[1, 64), [64, 128), [128, 256) ...``."""
    edges = [1, _FIRST]
    while edges[-1] * 2 < length:
        edges.append(edges[-1] * 2)
    edges.append(length)
    return list(itertools.pairwise(edges))


def place_of(window: IntArray) -> IntArray:
    """The position of each scored token in its window, if all but the first are scored."""
    starts = np.flatnonzero(np.r_[True, window[1:] != window[:-1]])
    counts = np.diff(np.r_[starts, len(window)])
    return (np.arange(len(window)) - np.repeat(starts, counts) + 1).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Positions:
    """Levels on one corpus.

    Attributes:
        corpus: its name.
        places: ranges of positions.
        levels: by name.
        worse: level and range, where it is shown to diverge more than before.
    """

    corpus: str
    places: Sequence[tuple[int, int]]
    levels: Mapping[str, _Ranges]
    worse: frozenset[tuple[str, tuple[int, int]]]

    def first_worse(self, level: str) -> tuple[int, int] | None:
        """The first range at which a level is shown to diverge more than before."""
        return next((place for place in self.places if (level, place) in self.worse), None)

    def is_known(self, level: str) -> bool:
        """Whether all of its ranges have intervals."""
        return all(one.low is not None for one in self.levels[level].more.values())


def positions_of(measured: Measured, corpus: str) -> Positions | None:
    """Divergence by position on a corpus; None where no level was scored at all positions."""
    parameters = measured.result.corpora[corpus].protocol.parameters
    length, stride = parameters.get("max_length"), parameters.get("stride")
    if not isinstance(length, int) or stride != length:
        return None  # of windows that overlap, the first positions are not scored
    places = ranges(length)
    found = {
        level.level: one
        for level in measured.levels
        if (one := _by_range(measured, corpus, level.level, places)) is not None
    }
    if not found:
        return None
    changes = {
        (level, place): one for level, own in found.items() for place, one in own.more.items()
    }
    worse = {key for key, on in shown(changes).items() if on and (changes[key].value or 0.0) > 0}
    return Positions(corpus, places, found, frozenset(worse))


def position_finding(model: str, found: Positions) -> Finding:
    """Sentences, the table and the chart."""
    return Finding(
        name=f"by position, {found.corpus}",
        sentences=tuple(_sentence(found, level) for level in found.levels),
        tables=(_table(model, found),),
        charts=(_chart(found.corpus, found.levels),),
    )


def _by_range(
    measured: Measured, corpus: str, level: str, places: list[tuple[int, int]]
) -> _Ranges | None:
    run = measured.run_of(level)
    recipe = next(one.recipe for one in run.levels if one.name == level)
    taken = same_tokens(corpus, [(run.records, recipe)])
    if taken is None:
        return None
    entry, (records,), drawn_from = taken
    series: dict[str, Series] = {}
    windows = _whole(records, places[-1][1])
    if not windows.any():
        return None
    kept = records.window[windows]
    for start, end in places:
        own = _means(records, windows, start, end)
        series[f"{start}"] = Series(own, np.ones(len(own)))
        if start > 1:
            before = _means(records, windows, 1, start)
            series[f"more {start}"] = Series(own - before, np.ones(len(own)))
    intervals = window_intervals(
        series, kept, documents=entry.facts.documents, drawn_from=drawn_from, seed=measured.seed
    )
    return _Ranges(
        {place: Estimate.of(intervals[f"{place[0]}"]) for place in places},
        {place: Estimate.of(intervals[f"more {place[0]}"]) for place in places if place[0] > 1},
    )


def _whole(records: TokenRecords, length: int) -> NDArray[np.bool_]:
    """Which tokens are of windows with every position; the last window of a text is shorter."""
    _, index, counts = np.unique(records.window, return_inverse=True, return_counts=True)
    return np.asarray(counts[index] == length - 1)


def _means(records: TokenRecords, kept: NDArray[np.bool_], start: int, end: int) -> FloatArray:
    """Mean divergence of each window at the positions of a range."""
    place = place_of(records.window)
    within = kept & (place >= start) & (place < end)
    _, index = np.unique(records.window[within], return_inverse=True)
    sums = np.bincount(index, weights=records.kl_divergence[within].astype(np.float64))
    return np.asarray(sums / np.bincount(index))


def _label(place: tuple[int, int]) -> str:
    return f"{place[0]}-{place[1] - 1}"


def _sentence(found: Positions, level: str) -> str:
    broken = found.first_worse(level)
    if broken is None:
        if not found.is_known(level):
            return f"{level} on {found.corpus}: too few windows to tell."
        return (
            f"{level} on {found.corpus}: at no range of positions up to "
            f"{wording.count(found.places[-1][1] - 1)} is it shown to diverge more than before it."
        )
    more = wording.divergence_interval(found.levels[level].more[broken])
    return (
        f"{level} on {found.corpus} diverges {more} nats per token more at positions "
        f"{_label(broken)} than before them, and at none earlier is more shown."
    )


def _table(model: str, found: Positions) -> FindingTable:
    return FindingTable(
        title=f"{model} on {found.corpus}: KLD by position, nats per token",
        head="positions",
        columns=tuple(FindingColumn(title=level, unit="nats") for level in found.levels),
        rows=tuple(
            FindingRow(
                name=_label(place),
                cells=tuple(own.mean[place] for own in found.levels.values()),
            )
            for place in found.places
        ),
        notes=(
            "windows as long as the context, without overlap; documents follow each other in them",
            "shown to be more than at all positions before (Holm's method): "
            + (
                ", ".join(f"{level} at {_label(place)}" for level, place in sorted(found.worse))
                or "none"
            ),
        ),
    )


def _chart(corpus: str, found: Mapping[str, _Ranges]) -> Chart:
    points = [
        ChartPoint(
            name=level if place == list(own.mean)[-1] else "",
            x=(place[0] * place[1]) ** 0.5,
            y=one,
            series=level,
        )
        for level, own in found.items()
        for place, one in own.mean.items()
    ]
    return Chart(
        title=f"KL divergence by position, {corpus}",
        caption="Each spot is a range of positions; bars are 95% intervals over windows.",
        across="position in the window",
        up="nats per token",
        unit="nats",
        points=tuple(points),
        log_x=True,
        log_y=True,
    )
