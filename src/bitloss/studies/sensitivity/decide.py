"""Shares of the loss, and when the ranking that matters is decided.

A part's *share* is its loss over the loss of the variant, on the same windows: a ratio of sums,
whose interval knows that both belong together. Of a division two things matter: which part is the
*worst*, and which parts are *cheap* (their share is below half of an equal one). Intervals in
tables are 95% each; statements are corrected for all of their family (Bonferroni over the shares
and all pairs of parts), and if the text is looked at several times, they hold at every look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bitloss.analysis.window_intervals import window_intervals
from bitloss.metrics.intervals import LEVEL, Interval, Series
from bitloss.metrics.multiple import SIGNIFICANT, beyond
from bitloss.metrics.sequential import sequential
from bitloss.studies.sensitivity.measure import Scored
from bitloss.types import FloatArray, IntArray, ScoredCorpus

__all__ = [
    "CHEAP",
    "Judge",
    "PartStanding",
    "Ranking",
    "Standing",
    "n_statements",
    "rank",
    "ratio",
    "sum_series",
]

CHEAP = 0.5
"""A part is cheap if its share is below this much of an equal one."""

_INDIFFERENT = 0.25
"""Of an equal share: what is known that well is not worth scoring on for."""

_ALIKE = 0.2
"""Of the leader's loss: two parts whose difference is known that well, and is not shown to be
different from 0, are as good as equal."""

Standing = Literal["worst", "cheap", "dear", "open"]
"""``worst``: more than each other part; ``cheap`` and ``dear``: below and above `CHEAP` of an
equal share; ``open``: neither is shown."""


@dataclass(frozen=True, slots=True)
class Judge:
    """How intervals are made.

    Attributes:
        facts: of the text.
        places: of all windows that may be drawn, ascending.
        looks: whether the text is looked at several times.
        statements: how many a family has.
        seed: of the bootstrap.
        drawn_from: windows of the text that those scored were drawn from; None asks `facts`.
    """

    facts: ScoredCorpus
    places: IntArray
    looks: bool
    statements: int
    seed: int
    drawn_from: int | None = None

    def interval(self, series: Series, window: IntArray, level: float = LEVEL) -> Interval:
        """The interval of a statistic; its bounds are NaN where there are too few windows."""
        if self.looks:
            blocks = np.arange(len(self.places))
            own = np.searchsorted(self.places, window).astype(np.int32)
            return sequential({"one": series}, own, blocks, level=level)["one"]
        drawn = self.drawn_from or self.facts.drawn_from
        return window_intervals(
            {"one": series}, window, documents=self.facts.documents, drawn_from=drawn,
            seed=self.seed,
        )["one"]  # fmt: skip

    def statement(self, series: Series, window: IntArray, line: float) -> tuple[int, float]:
        """Whether a statistic is shown to be above a line (1), below it (-1), or neither (0).

        Returns:
            That, and the half-width of the plain 95% interval: whether more is worth scoring is no
            statement, and is not corrected.
        """
        plain = self.interval(series, window)
        if math.isnan(plain.low):
            return 0, math.inf
        half = (plain.high - plain.low) / 2
        if self.looks:
            found = self.interval(series, window, 1 - SIGNIFICANT / self.statements)
            return (found.low > line) - (found.high < line), half
        test = beyond(plain, line)
        if test is None or test.p_value * self.statements >= SIGNIFICANT:
            return 0, half
        return (1 if plain.value > line else -1), half


@dataclass(frozen=True, slots=True)
class PartStanding:
    """What is known of a part.

    Attributes:
        share: of the variant's loss.
        standing: see `Standing`.
        settled: whether nothing that matters is open.
    """

    share: Interval
    standing: Standing
    settled: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """What is known of a division.

    Attributes:
        parts: by name, in the order given.
        total: the sum of the parts over the loss of the variant, on windows that all were scored
            on: 1 if losses add up.
        total_windows: how many those are.
    """

    parts: Mapping[str, PartStanding]
    total: Interval
    total_windows: int


def n_statements(parts: Sequence[int]) -> int:
    """Statements of a family: of each division's parts, a share each and all pairs."""
    return max(1, sum(n + n * (n - 1) // 2 for n in parts))


def rank(parts: Mapping[str, Scored], whole: Scored, judge: Judge) -> Ranking:
    """Rank the parts of a division.

    Args:
        parts: by name; those that were decided early have fewer windows.
        whole: of the variant, on all windows that any part has.
        judge: makes intervals.
    """
    fair = 1 / len(parts)
    shares = {name: _share(one, whole) for name, one in parts.items()}
    beaten, worst, tied = _worst(parts, whole, judge, fair)
    standings: dict[str, PartStanding] = {}
    for name, one in parts.items():
        side, half = judge.statement(shares[name], one.window, CHEAP * fair)
        standing: Standing = "open" if side == 0 else "cheap" if side < 0 else "dear"
        known = side != 0 or half <= _INDIFFERENT * fair
        if name == worst:
            standing = "worst"
        settled = known and (name in beaten or name == worst or name in tied)
        standings[name] = PartStanding(judge.interval(shares[name], one.window), standing, settled)
    total, window = sum_series(list(parts.values()), whole)
    return Ranking(standings, judge.interval(total, window), len(window))


def _worst(
    parts: Mapping[str, Scored], whole: Scored, judge: Judge, fair: float
) -> tuple[set[str], str | None, set[str]]:
    """Parts that another one is shown to exceed, the part that exceeds all others, and parts that
    hardly differ from the leader.
    """
    order = sorted(parts, key=lambda name: -_mean(parts[name], whole))
    alike = max(_INDIFFERENT * fair, _ALIKE * _mean(parts[order[0]], whole))
    beaten: set[str] = set()
    tied: set[str] = set()
    for place, name in enumerate(order):
        for other in order[:place]:
            series, window = _difference(parts[other], parts[name], whole)
            side, half = judge.statement(series, window, 0.0)
            if side > 0:
                beaten.add(name)
                break
            if other == order[0] and half <= alike:
                tied |= {name, other}
    leader = order[0]
    alone = all(
        judge.statement(*_difference(parts[leader], parts[name], whole), 0.0)[0] > 0
        for name in order[1:]
    )
    return beaten, leader if alone else None, tied


def _mean(part: Scored, whole: Scored) -> float:
    return float(part.loss.sum() / max(whole.on(part.window).loss.sum(), 1e-300))


def ratio(values: FloatArray, whole: FloatArray) -> Series:
    """The sum of values over the sum of the variant's losses, window by window."""
    above = np.maximum(whole, 0.0)
    kept = above > 0  # rounding can make the loss of a window 0 or less: it has no weight
    means = np.divide(values, above, out=np.zeros(len(above)), where=kept)
    return Series(means, above)


def _share(part: Scored, whole: Scored) -> Series:
    return ratio(part.loss, whole.on(part.window).loss)


def _difference(one: Scored, other: Scored, whole: Scored) -> tuple[Series, IntArray]:
    window = np.intersect1d(one.window, other.window)
    difference = one.on(window).loss - other.on(window).loss
    return ratio(difference, whole.on(window).loss), window


def sum_series(parts: Sequence[Scored], whole: Scored) -> tuple[Series, IntArray]:
    """All parts together over the whole, on the windows that they have in common."""
    window = whole.window
    for part in parts:
        window = np.intersect1d(window, part.window)
    total = np.sum([part.on(window).loss for part in parts], axis=0)
    return ratio(total, whole.on(window).loss), window
