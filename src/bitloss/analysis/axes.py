"""A variant's results on texts, axis by axis: which level each has, and which one decides.

docs/verdicts.md has the rule and where the levels come from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bitloss.analysis.near_floor import near_floor
from bitloss.expectations import AXES, LEVELS, AxisName, Expectations, LevelRange
from bitloss.expectations.axes import better_of, worst_of
from bitloss.results.corpora import CorpusComparison
from bitloss.results.values import Estimate, existing
from bitloss.results.verdicts import AxisVerdict

__all__ = ["AxisLevels", "judge_axes"]


@dataclass(frozen=True, slots=True)
class AxisLevels:
    """What all axes come to.

    Attributes:
        axes: by name.
        levels: of all of them together.
        decided_by: the axis with that level; the first without a level where one has none.
    """

    axes: dict[AxisName, AxisVerdict]
    levels: LevelRange
    decided_by: AxisName


def judge_axes(corpora: Mapping[str, CorpusComparison], table: Expectations) -> AxisLevels:
    """Every axis on its worst corpus, and the worst axis.

    Args:
        corpora: at least one.
        table: the levels.
    """
    by_corpus = {name: _ranges(corpus, table) for name, corpus in corpora.items()}
    axes: dict[AxisName, AxisVerdict] = {}
    every: dict[AxisName, LevelRange] = {}
    for axis in AXES:
        ranges = {name: own[axis] for name, own in by_corpus.items()}
        worst = max(corpora, key=lambda name: _badness(corpora[name], axis, ranges[name]))
        every[axis] = worst_of(ranges.values())
        axes[axis] = AxisVerdict(
            estimate=_estimate(corpora[worst], axis),
            level=every[axis].worst,
            settled=every[axis].settled,
            corpus=worst,
            near_floor=_counts_floor(corpora[worst], axis) or None,
        )
    levels = worst_of(every.values())
    decided_by = next(axis for axis in AXES if every[axis].worst == levels.worst)
    return AxisLevels(axes, levels, decided_by)


def _ranges(corpus: CorpusComparison, table: Expectations) -> dict[AxisName, LevelRange]:
    """The levels of one corpus.

    Near the noise floor, rounding is a good part of what was measured: the floor is taken off the
    divergence, and agreement and overlap, whose own floors are not measured, are no worse than it.
    """
    ranges = {}
    for axis in AXES:
        found = _estimate(corpus, axis)
        ranges[axis] = table.level_range(axis, found.low, found.high)
    if (floor := near_floor(corpus)) is not None:
        found = corpus.kl_divergence.estimate
        ends = (None if x is None else max(0.0, x - floor) for x in (found.low, found.high))
        ranges["kl_divergence"] = table.level_range("kl_divergence", *ends)
        for axis in ("top1_agreement", "overlap"):
            if ranges[axis].worst is not None:
                ranges[axis] = better_of(ranges[axis], ranges["kl_divergence"])
    return ranges


def _estimate(corpus: CorpusComparison, axis: AxisName) -> Estimate:
    if axis == "kl_divergence":
        return corpus.kl_divergence.estimate
    found: Estimate = getattr(corpus, axis)
    return found


def _badness(corpus: CorpusComparison, axis: AxisName, levels: LevelRange) -> tuple[int, float]:
    """For comparing corpora: one without a level may be anything, so it is the worst."""
    if levels.worst is None:
        return len(LEVELS), math.inf
    found = _estimate(corpus, axis)
    bound = existing(found.high if AXES[axis].at_most else found.low)
    assert bound is not None
    return LEVELS.index(levels.worst), bound if AXES[axis].at_most else -bound


def _counts_floor(corpus: CorpusComparison, axis: AxisName) -> bool:
    """Whether the noise floor had a say in an axis."""
    return axis != "relative_perplexity" and bool(near_floor(corpus))
