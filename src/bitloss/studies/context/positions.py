"""What the study of context concludes: divergence by position, and how far a level holds up.

Positions are put into ranges that double in length. A range is held against all positions before it
in the same windows. A level holds up to the end of the last range before the first one that is
shown to be worse. The reference changes along a window too, being surer the more it has read; the
divergence is between both at each position.
"""

from __future__ import annotations

import itertools
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

__all__ = ["conclude", "place_of", "ranges"]

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


def conclude(measured: Measured) -> tuple[Finding, ...]:
    """The findings of one model; see `bitloss.studies.base.Study.conclude`."""
    return tuple(
        found for corpus in measured.corpora if (found := _of_corpus(measured, corpus)) is not None
    )


def _of_corpus(measured: Measured, corpus: str) -> Finding | None:
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
    is_shown = shown(changes)
    worse = {key for key, on in is_shown.items() if on and (changes[key].value or 0.0) > 0}
    sentences = [_sentence(corpus, level, places, worse, own) for level, own in found.items()]
    return Finding(
        name=f"by position, {corpus}",
        sentences=tuple(sentences),
        tables=(_table(measured, corpus, found, places, worse),),
        charts=(_chart(corpus, found),),
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


def _sentence(
    corpus: str,
    level: str,
    places: list[tuple[int, int]],
    worse: set[tuple[str, tuple[int, int]]],
    own: _Ranges,
) -> str:
    broken = next((place for place in places if (level, place) in worse), None)
    if broken is None:
        if any(one.low is None for one in own.more.values()):
            return f"{level} on {corpus}: too few windows to tell."
        return (
            f"{level} on {corpus} holds up to {wording.count(places[-1][1] - 1)} tokens: at no "
            "range of positions is it shown to diverge more than before it."
        )
    more = wording.divergence_interval(own.more[broken])
    return (
        f"{level} on {corpus} holds up to {wording.count(broken[0] - 1)} tokens: at positions "
        f"{_label(broken)} it diverges {more} nats per token more than before them."
    )


def _table(
    measured: Measured,
    corpus: str,
    found: dict[str, _Ranges],
    places: list[tuple[int, int]],
    worse: set[tuple[str, tuple[int, int]]],
) -> FindingTable:
    return FindingTable(
        title=f"{measured.result.name} on {corpus}: KLD by position, nats per token",
        head="positions",
        columns=tuple(FindingColumn(title=level, unit="nats") for level in found),
        rows=tuple(
            FindingRow(
                name=_label(place),
                cells=tuple(own.mean[place] for own in found.values()),
            )
            for place in places
        ),
        notes=(
            "windows as long as the context, without overlap; documents follow each other in them",
            "shown to be more than at all positions before (Holm's method): "
            + (
                ", ".join(f"{level} at {_label(place)}" for level, place in sorted(worse)) or "none"
            ),
        ),
    )


def _chart(corpus: str, found: dict[str, _Ranges]) -> Chart:
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
