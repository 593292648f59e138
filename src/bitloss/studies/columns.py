"""What a study can show of a level: facts of its files, and measurements with intervals.

Facts (`FACTS`) come from the variant's files or from `bitloss.expectations`. Measurements come from
the run's `Comparison`, per corpus (`CORPUS_COLUMNS`) or per capability (`CAPABILITY_COLUMNS`); each
says how a level is shown, and how the step from one level to the next is measured and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from bitloss import wording
from bitloss.analysis.task_items import TaskItems
from bitloss.analysis.tasks import score_difference
from bitloss.metrics.divergence import relative_perplexity
from bitloss.metrics.intervals import Series
from bitloss.metrics.perplexity import window_losses
from bitloss.results import CorpusComparison, Estimate
from bitloss.results.tasks import CapabilityResult
from bitloss.types import Averaging, TokenRecords

__all__ = [
    "CAPABILITY_COLUMNS",
    "COLUMNS",
    "CORPUS_COLUMNS",
    "FACTS",
    "CapabilityColumn",
    "CorpusColumn",
    "TokenPair",
]

_Show = Callable[[Estimate], wording.IntervalText]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Two levels' records of the same tokens of one corpus.

    Attributes:
        before: the records of the first level.
        after: the records of its neighbor.
        averaging: the protocol's (`bitloss.metrics.perplexity`).
        valid: see there.
        drawn_from: windows that theirs were drawn from at random; None if they are neighbors.
        documents: of every window of the text (`bitloss.types.WindowPlan`).
    """

    before: TokenRecords
    after: TokenRecords
    averaging: Averaging
    valid: tuple[int, ...]
    drawn_from: int | None = None
    documents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CorpusColumn:
    """A measurement on a corpus.

    Attributes:
        title: heading of the level's value.
        of: the value, from the run's result.
        show: value and bounds as text.
        step_title: heading of the step between neighbors.
        show_step: the step and its bounds as text.
        step: the step window by window, for a paired interval.
    """

    title: str
    of: Callable[[CorpusComparison], Estimate]
    show: _Show
    step_title: str
    show_step: _Show
    step: Callable[[TokenPair], Series]


@dataclass(frozen=True, slots=True)
class CapabilityColumn:
    """A measurement on the tasks of a capability.

    Attributes:
        title: what the value is, with its unit.
        of: the value, from the run's result, or between two levels from their paired items: then
            the first level takes the reference's place.
        show: value and bounds as text.
        step: the step item by item of one task, the later level's items first.
    """

    title: str
    of: Callable[[CapabilityResult], Estimate]
    show: _Show
    step: Callable[[TaskItems, TaskItems], Series]


def _divergence(corpus: CorpusComparison) -> Estimate:
    return corpus.kl_divergence.estimate


def _further_divergence(pair: TokenPair) -> Series:
    after = pair.after.kl_divergence.astype(np.float64)
    return Series(*window_losses(after - pair.before.kl_divergence, pair.after.window, "tokens"))


def _overlap_change(pair: TokenPair) -> Series:
    after = pair.after.overlap.astype(np.float64)
    return Series(*window_losses(after - pair.before.overlap, pair.after.window, "tokens"))


def _perplexity_ratio(pair: TokenPair) -> Series:
    before, after = pair.before, pair.after
    return relative_perplexity(before.nll, after.nll, after.window, pair.averaging, pair.valid)


FACTS: Mapping[str, str] = MappingProxyType(
    {"bits_per_weight": "bits/weight", "file_size": "size", "expected": "expected"}
)

CORPUS_COLUMNS: Mapping[str, CorpusColumn] = MappingProxyType(
    {
        "relative_perplexity": CorpusColumn(
            title="relative PPL",
            of=lambda corpus: corpus.relative_perplexity,
            show=wording.ratio_interval,
            step_title="PPL ratio",
            show_step=wording.ratio_interval,
            step=_perplexity_ratio,
        ),
        "kl_divergence": CorpusColumn(
            title="KLD (nats/token)",
            of=_divergence,
            show=wording.divergence_interval,
            step_title="KLD change (nats/token)",
            show_step=wording.divergence_interval,
            step=_further_divergence,
        ),
        "overlap": CorpusColumn(
            title="overlap",
            of=lambda corpus: corpus.overlap,
            show=wording.share_interval,
            step_title="overlap change (points)",
            show_step=wording.points_interval,
            step=_overlap_change,
        ),
    }
)

CAPABILITY_COLUMNS: Mapping[str, CapabilityColumn] = MappingProxyType(
    {
        "loss": CapabilityColumn(
            title="loss (points)",
            of=lambda capability: capability.difference.negated(),
            show=wording.unsigned_points_interval,
            step=score_difference,
        ),
    }
)

COLUMNS: tuple[str, ...] = (*FACTS, *CORPUS_COLUMNS, *CAPABILITY_COLUMNS)
