"""Sequential scoring: a text in looks; variants of which enough is known are scored no further.

A look is a list of pieces that includes those of the look before. What is decided after it depends
on the records alone, so a run that was killed decides the same again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bitloss.engines.base import PairScorer, Piece
from bitloss.expectations import AXES, AxisName, Expectations
from bitloss.expectations.axes import worst_of
from bitloss.metrics.agreement import mean_overlap, top1_agreement
from bitloss.metrics.divergence import mean_divergence, relative_perplexity
from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.sequential import look_sizes, sequential
from bitloss.results.manifest import MeasuredFloor, RandomOrder
from bitloss.runner.draw import shuffled
from bitloss.runner.noise import (
    floor_effects,
    growing_looks,
    is_near_floor,
    settled_divergence,
)
from bitloss.runner.store import RunStore
from bitloss.types import ScoredCorpus, Window

__all__ = [
    "RandomText",
    "Reason",
    "Schedule",
    "Stopped",
    "Stopping",
    "WholeText",
    "random_looks",
]

Reason = Literal["decided", "precision", "not needed", "end"]


@dataclass(frozen=True, slots=True)
class Stopping:
    """When enough of a variant is known.

    Attributes:
        expectations: whose levels are decided; None decides nothing.
        precision: half-width of the relative perplexity's interval that is enough; None is none.
        acceptance: whether it is enough to know if a variant's level is acceptable: what a run with
            tasks recommends does not hang on the rest.
    """

    expectations: Expectations | None
    precision: float | None
    acceptance: bool = False

    def reason(self, intervals: Mapping[AxisName, Interval]) -> Reason | None:
        """Why enough is known of a variant on a corpus; None if it is not.

        Args:
            intervals: of every axis; of the relative perplexity alone if nothing is decided.
        """
        relative = intervals["relative_perplexity"]
        if math.isnan(relative.low):
            return None
        if self.expectations is not None:
            ranges = (
                self.expectations.level_range(axis, intervals[axis].low, intervals[axis].high)
                for axis in AXES
            )
            levels = worst_of(ranges)
            if levels.settled or (self.acceptance and levels.settles_acceptance):
                return "decided"
        if self.precision is not None and relative.high - relative.low <= 2 * self.precision:
            return "precision"
        return None


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was scored of a variant.

    Attributes:
        records: fingerprints, one per piece, in the order of the text.
        n_windows: windows of them.
        reason: why no more was; None while more is.
    """

    records: tuple[str, ...]
    n_windows: int
    reason: Reason | None


class Schedule(Protocol):
    """Looks at a text, and when they are enough."""

    @property
    def random_order(self) -> RandomOrder | None:
        """For the manifest: what intervals have to know of the looks; None for one look."""

    def looks(self, scorer: PairScorer) -> Sequence[Sequence[Piece]]:
        """Pieces of each look, in the order of the text, those of the look before included."""

    def stop_reason(self, records: Sequence[str]) -> Reason | None:
        """Why these records of a variant are enough; None if they are not."""

    def needs_exact(self, records: Sequence[str], floor: MeasuredFloor | None) -> bool:
        """Whether a variant with these records has to be scored again in exact arithmetic.

        Args:
            records: of the variant.
            floor: the noise floor of its way; None if it is not known.
        """

    def exact_looks(self, scorer: PairScorer) -> Sequence[Sequence[Piece]]:
        """The looks at which a variant near the noise floor is scored again."""

    def exact_stop_reason(self, records: Sequence[str]) -> Reason | None:
        """Why records of such a variant are enough; None if they are not."""

    def reported_stop_reason(self, stopped: Stopped) -> Reason | None:
        """Why a variant was scored no further, if a reader should know."""


@dataclass(frozen=True, slots=True)
class WholeText:
    """All windows, in the order of the plan; as many are scored again as a divergence needs.

    Those are drawn at random, as a limit draws: neighbors do not show what the text is like
    elsewhere. Windows that a limit has left are in the order of its draw already.

    Attributes:
        store: the run directory.
        facts: of the corpus.
        windows: of the text.
        seed: of the draw.
    """

    store: RunStore
    facts: ScoredCorpus
    windows: Sequence[Window]
    seed: int

    @property
    def random_order(self) -> None:
        """See `Schedule.random_order`."""

    def looks(self, scorer: PairScorer) -> list[Sequence[Piece]]:
        """See `Schedule.looks`."""
        return [scorer.pieces(self.windows)]

    def stop_reason(self, records: Sequence[str]) -> None:
        """See `Schedule.stop_reason`."""

    def needs_exact(self, records: Sequence[str], floor: MeasuredFloor | None) -> bool:
        """See `Schedule.needs_exact`: near the floor, figures are mostly the floor's."""
        return is_near_floor(self.store, records, floor)

    def exact_looks(self, scorer: PairScorer) -> list[Sequence[Piece]]:
        """See `Schedule.exact_looks`."""
        if self.facts.draw_seed is not None:
            return growing_looks(scorer, self.windows)
        order = shuffled(self.windows, text=self.facts.digest, seed=self.seed)
        return growing_looks(scorer, order)

    def exact_stop_reason(self, records: Sequence[str]) -> Reason | None:
        """See `Schedule.exact_stop_reason`."""
        settled = settled_divergence(self.store, records, self.facts.n_windows_total)
        return "precision" if settled else None

    def reported_stop_reason(self, stopped: Stopped) -> None:
        """See `Schedule.reported_stop_reason`."""


@dataclass(frozen=True, slots=True)
class RandomText:
    """Pieces in random order, in looks, until a variant's verdict or its perplexity is known.

    Attributes:
        store: the run directory.
        facts: of the corpus.
        pieces: its smallest pieces, in the order of the text.
        stopping: when it is known.
        seed: of the random order.
    """

    store: RunStore
    facts: ScoredCorpus
    pieces: Sequence[Piece]
    stopping: Stopping
    seed: int

    @property
    def random_order(self) -> RandomOrder:
        """See `Schedule.random_order`."""
        return RandomOrder(blocks=self._blocks())

    def _blocks(self) -> tuple[int, ...]:
        """The place in the text of the first window of each piece."""
        return tuple(int(piece.window_index()[0]) for piece in self.pieces)

    def looks(self, scorer: PairScorer) -> list[list[Piece]]:
        """See `Schedule.looks`."""
        del scorer  # the smallest pieces are pieces of their own, whatever the store has
        return random_looks(self.pieces, self.seed)

    def stop_reason(self, records: Sequence[str]) -> Reason | None:
        """See `Schedule.stop_reason`."""
        return self.stopping.reason(self._intervals(records))

    def _intervals(self, records: Sequence[str]) -> dict[AxisName, Interval]:
        names = ["window", "reference_nll", "nll"]
        if self.stopping.expectations is not None:
            names += ["same_top1", "overlap", "kl_divergence"]
        columns = self.store.read_records(records, tuple(names))
        windows = np.unique(columns["window"])
        intervals = sequential(self._series(columns), windows, self._blocks())
        return {axis: intervals[axis] for axis in AXES if axis in intervals}

    def _series(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, Series]:
        """Every axis whose columns were read, window by window."""
        window = columns["window"]
        series = {
            "relative_perplexity": relative_perplexity(
                columns["reference_nll"],
                columns["nll"],
                window,
                self.facts.averaging,
                self.facts.valid,
            )
        }
        if "overlap" in columns:
            series["top1_agreement"] = top1_agreement(columns["same_top1"], window)
            series["overlap"] = mean_overlap(columns["overlap"], window)
            series["kl_divergence"] = mean_divergence(columns["kl_divergence"], window)
        return series

    def needs_exact(self, records: Sequence[str], floor: MeasuredFloor | None) -> bool:
        """See `Schedule.needs_exact`: what is decided whatever the floor may be is decided."""
        if not is_near_floor(self.store, records, floor):
            return False
        if floor is None or self.stopping.expectations is None:
            return True
        effects = floor_effects(self.store, floor)
        intervals = {
            axis: _widened(found, effects[axis]) for axis, found in self._intervals(records).items()
        }
        return self.stopping.reason(intervals) != "decided"

    def exact_looks(self, scorer: PairScorer) -> list[list[Piece]]:
        """See `Schedule.exact_looks`."""
        return self.looks(scorer)

    def exact_stop_reason(self, records: Sequence[str]) -> Reason | None:
        """See `Schedule.exact_stop_reason`: the verdict has to be known, nothing else."""
        return self.stop_reason(records)

    def reported_stop_reason(self, stopped: Stopped) -> Reason | None:
        """See `Schedule.reported_stop_reason`."""
        return stopped.reason


def _widened(interval: Interval, by: float) -> Interval:
    return replace(interval, low=interval.low - by, high=interval.high + by)


def random_looks(pieces: Sequence[Piece], seed: int) -> list[list[Piece]]:
    """Looks at more and more pieces, drawn at random without replacement.

    Args:
        pieces: all of them, in the order of the text.
        seed: of the order.
    """
    order = np.random.default_rng(seed).permutation(len(pieces))
    return [[pieces[i] for i in np.sort(order[:size])] for size in look_sizes(len(pieces))]
