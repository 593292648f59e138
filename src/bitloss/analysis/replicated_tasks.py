"""A recipe's replicates on tasks, put together: task by task, and by capability."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from bitloss.analysis.expected_scores import expected_scores, stands_for_score
from bitloss.analysis.gold_losses import loss_series
from bitloss.analysis.replicates import mean, spread_of, together
from bitloss.analysis.task_items import TaskItems
from bitloss.analysis.tasks import score_difference
from bitloss.metrics.clusters import clusters_of
from bitloss.metrics.intervals import Series
from bitloss.metrics.replicates import replicate_covariance
from bitloss.results.replicates import Spread
from bitloss.results.tasks import CapabilityResult, SubjectScore, VariantTask, Writing
from bitloss.results.values import Estimate

__all__ = ["Answered", "combine_capabilities", "combine_tasks", "mean_series"]

_BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "difference": (-1.0, 1.0),
        "expected_difference": (-1.0, 1.0),
        "answer_change": (0.0, 1.0),
        "kl_divergence": (0.0, math.inf),
        "gold_nll_difference": (-math.inf, math.inf),
    }
)
_SPREADS = ("difference", "expected_difference", "answer_change")


class Answered(NamedTuple):
    """One task as a recipe's replicates answered it.

    Attributes:
        replicates: their items, in the order of the seeds.
        reference: the reference's.
    """

    replicates: tuple[TaskItems, ...]
    reference: TaskItems

    def series(self, of: Callable[[TaskItems], Series], *, gold: bool = False) -> list[Series]:
        """A series of every replicate, items that belong together put together.

        Args:
            of: what is taken of each item.
            gold: of those that have a gold answer only.
        """
        clusters = clusters_of(self.reference.gold_names if gold else self.reference.names)
        found = [of(items) for items in self.replicates]
        return found if clusters is None else [clusters.merge(one) for one in found]

    def of(self, field: str) -> list[Series] | None:
        """What lies behind a field of a result, of every replicate; None if there is nothing."""
        reference = self.reference
        if field == "difference" or (
            field == "expected_difference" and not stands_for_score(reference)
        ):
            return self.series(lambda items: score_difference(items, reference))
        if field == "expected_difference":
            before = expected_scores(reference)
            return self.series(lambda items: _plain(expected_scores(items) - before))
        if not all(field in loss_series(items, reference) for items in self.replicates):
            return None
        return self.series(lambda items: loss_series(items, reference)[field], gold=True)


def combine_tasks(
    results: Sequence[VariantTask], answered: Answered
) -> tuple[VariantTask, dict[str, Spread]]:
    """The replicates' mean results on a task, and what each of them has.

    Args:
        results: of the replicates (`bitloss.analysis.tasks.analyse_task`).
        answered: the items behind them.
    """
    first = results[0]

    def by_metric(field: str, bounds: tuple[float, float]) -> dict[str, Estimate]:
        found = {}
        for metric in first.scores:
            series = answered.series(lambda items, m=metric: _scored(items, m))  # type: ignore[misc]
            estimates = [getattr(one, field)[metric] for one in results]
            found[metric] = together(estimates, replicate_covariance([series]), bounds=bounds)
        return found

    scores, differences = by_metric("scores", (0.0, 1.0)), by_metric("differences", (-1.0, 1.0))
    measured = _measured(results, [answered])
    nll = None
    if all(one.gold_nll is not None for one in results):
        own = answered.series(lambda items: items.gold("gold_nll"), gold=True)
        estimates = [one.gold_nll for one in results if one.gold_nll is not None]
        nll = together(estimates, replicate_covariance([own]))
    result = first.model_copy(
        update={
            **measured,
            "score": scores[first.metric],
            "scores": scores,
            "totals": None,  # of no model alone
            "macro": mean([one.macro for one in results]),
            "subjects": _mean_scores([one.subjects for one in results]),
            "groups": _mean_scores([one.groups for one in results]),
            "expected_score": mean([one.expected_score for one in results]),
            "n_scored": min(one.n_scored for one in results),
            "writing": _mean_writing([one.writing for one in results]),
            "endings": None,
            "gold_nll": nll,
            "difference": differences[first.metric],
            "differences": differences,
            "flips": None,
        }
    )
    return result, _spreads(results)


def combine_capabilities(
    results: Sequence[Mapping[str, CapabilityResult]], tasks: Mapping[str, Answered]
) -> tuple[dict[str, CapabilityResult], dict[str, dict[str, Spread]]]:
    """The replicates' mean results by capability, and what each of them has.

    A mean over replicates has no flips: an item that some of them get right is neither right nor
    wrong. Its p-value is that of the interval over items and seeds (`bitloss.analysis.families`).

    Args:
        results: by capability, of the replicates.
        tasks: by name, the items behind them.
    """
    combined: dict[str, CapabilityResult] = {}
    spreads: dict[str, dict[str, Spread]] = {}
    for name, first in results[0].items():
        ones = [one[name] for one in results]
        own = [tasks[task] for task in first.tasks]
        combined[name] = first.model_copy(
            update={
                **_measured(ones, own),
                "n_scored": min(one.n_scored for one in ones),
                "score": mean([one.score for one in ones]),
                "flips": None,
                "p_value": None,
            }
        )
        spreads[name] = _spreads(ones)
    return combined, spreads


def mean_series(replicates: Sequence[Series]) -> Series:
    """Item by item, the mean over replicates of one recipe."""
    first = replicates[0]
    means = np.mean([one.means for one in replicates], axis=0)
    return Series(means, first.weights, first.scale, first.bounds)


def _measured(
    results: Sequence[VariantTask] | Sequence[CapabilityResult], tasks: Sequence[Answered]
) -> dict[str, Estimate | None]:
    """By field, what the replicates have together; None where one of them has nothing.

    Args:
        results: of a task, or of a capability.
        tasks: the items behind them, task by task.
    """
    found: dict[str, Estimate | None] = {}
    for field, bounds in _BOUNDS.items():
        estimates = [getattr(one, field) for one in results]
        found[field] = None
        if any(one is None for one in estimates):
            continue
        strata = [series for one in tasks if (series := one.of(field)) is not None]
        found[field] = together(estimates, replicate_covariance(strata), bounds=bounds)
    return found


def _spreads(results: Sequence[Any]) -> dict[str, Spread]:
    found = {field: [getattr(one, field) for one in results] for field in _SPREADS}
    return {
        field: spread_of(estimates)
        for field, estimates in found.items()
        if any(one is not None for one in estimates)
    }


def _mean_scores(replicates: Sequence[Mapping[str, SubjectScore]]) -> dict[str, SubjectScore]:
    """By subject or group."""
    return {
        name: SubjectScore(
            score=mean([one[name].score if name in one else None for one in replicates]),
            n_scored=min(one[name].n_scored if name in one else 0 for one in replicates),
        )
        for name in replicates[0]
    }


def _mean_writing(replicates: Sequence[Writing | None]) -> Writing | None:
    """None where one of them wrote nothing."""
    known = [one for one in replicates if one is not None]
    if len(known) < len(replicates):
        return None
    means: dict[str, float | None] = {}
    for name in Writing.model_fields:
        values = [value for one in known if (value := getattr(one, name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return Writing(**means)  # type: ignore[arg-type]


def _scored(items: TaskItems, metric: str) -> Series:
    return Series(items.score(metric), items.weight(metric))


def _plain(values: Any) -> Series:
    return Series(values, np.ones(len(values)))
