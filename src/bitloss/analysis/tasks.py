"""From the records of a task's items to the results of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.endings import analyse_endings
from bitloss.analysis.expected_scores import (
    expected_difference,
    expected_scores,
    has_expected_scores,
    stands_for_score,
)
from bitloss.analysis.flips import right_or_wrong, score_flips
from bitloss.analysis.gold_losses import loss_series, own_losses
from bitloss.analysis.looks import at_every_look
from bitloss.analysis.score_losses import TaskChanges, as_interval
from bitloss.analysis.task_items import Floats, TaskItems
from bitloss.metrics.clusters import Clusters, clusters_of, joined, strata_of
from bitloss.metrics.intervals import Interval, Series, bootstrap
from bitloss.metrics.paired import (
    Change,
    change,
    clustered_change,
    clustered_share,
    count_flips,
    mean_change,
    mean_interval,
    share,
)
from bitloss.metrics.unseen import with_unseen
from bitloss.results.tasks import (
    CapabilityResult,
    ReferenceTask,
    SubjectScore,
    VariantTask,
)
from bitloss.results.values import Estimate

__all__ = [
    "analyse_capabilities",
    "analyse_reference_task",
    "analyse_task",
    "score_difference",
    "task_changes",
]

# More items than these are drawn in groups of neighbours: the interval is as good,
# and a whole MMLU takes a second instead of twenty.
ITEMS_DRAWN = 1000


def analyse_reference_task(items: TaskItems, *, seed: int) -> ReferenceTask:
    """A model's own results on a task.

    Args:
        items: its records.
        seed: of the bootstrap.
    """
    scores = _score_intervals(items, seed)
    gold = _intervals(own_losses(items), seed, clusters_of(items.gold_names))
    return at_every_look(ReferenceTask(**_own(items, items, scores, gold)), items.widening)


def analyse_task(items: TaskItems, reference: TaskItems, *, seed: int) -> VariantTask:
    """A variant's results on a task, beside the reference's on the same items.

    Args:
        items: the variant's records.
        reference: the reference's, of the same items.
        seed: of the bootstrap.
    """
    first = items.metrics[0]
    scores = _score_intervals(items, seed)
    changes = _change_intervals(items, reference, seed)
    losses = own_losses(items) | loss_series(items, reference)
    gold = _intervals(losses, seed, clusters_of(items.gold_names))
    found = VariantTask(
        **_own(items, reference, scores, gold),
        reference_score=_mean(reference.score(first), reference.weight(first)),
        difference=changes[first],
        differences=changes,
        expected_difference=_expected(items, reference),
        flips=score_flips([(reference, items)]),
        endings=analyse_endings(items, reference),
        answer_change=gold.get("answer_change"),
        kl_divergence=gold.get("kl_divergence"),
        gold_nll_difference=gold.get("gold_nll_difference"),
    )
    return at_every_look(found, items.widening)


def analyse_capabilities(
    tasks: Mapping[str, tuple[TaskItems, TaskItems]], *, seed: int
) -> dict[str, CapabilityResult]:
    """What a variant's tasks say by capability, tasks of one capability counting the same.

    Without p-values: those are of a page (`bitloss.analysis.families`).

    Args:
        tasks: by name, the variant's records and the reference's.
        seed: of the bootstrap.
    """
    by_capability: dict[str, list[str]] = {}
    for name, (items, _) in tasks.items():
        by_capability.setdefault(items.entry.capability, []).append(name)
    return {
        capability: _capability({name: tasks[name] for name in names}, seed=seed)
        for capability, names in by_capability.items()
    }


def analyse_losses(
    tasks: Mapping[str, tuple[TaskItems, TaskItems]], *, seed: int
) -> dict[str, CapabilityResult]:
    """No more of `analyse_capabilities` than verdicts are made of, in a fraction of the time."""
    by_capability: dict[str, list[tuple[TaskItems, TaskItems]]] = {}
    for pair in tasks.values():
        by_capability.setdefault(pair[0].entry.capability, []).append(pair)
    return {name: _losses(pairs, seed) for name, pairs in by_capability.items()}


def _losses(pairs: Sequence[tuple[TaskItems, TaskItems]], seed: int) -> CapabilityResult:
    found = CapabilityResult(
        tasks=tuple(items.entry.capability for items, _ in pairs),
        n_scored=sum(int(items.asked.sum()) for items, _ in pairs),
        score=None,
        reference_score=None,
        difference=_mean_difference(pairs, seed),
        expected_difference=_mean_expected(pairs, seed),
    )
    return at_every_look(found, max(items.widening for items, _ in pairs))


def _capability(tasks: Mapping[str, tuple[TaskItems, TaskItems]], *, seed: int) -> CapabilityResult:
    scores, references = [], []
    losses: list[dict[str, Series]] = []
    names: list[NDArray[Any]] = []
    for items, reference in tasks.values():
        metric = items.metrics[0]
        scores.append(_mean(items.score(metric), items.weight(metric)))
        references.append(_mean(reference.score(metric), items.weight(metric)))
        if items.has_gold.any():
            losses.append(loss_series(items, reference))
            names.append(items.gold_names)
    gold = _intervals(
        {name: joined([loss[name] for loss in losses]) for name in (losses[0] if losses else ())},
        seed,
        clusters_of(np.concatenate(names)) if names else None,
    )
    found = CapabilityResult(
        tasks=tuple(tasks),
        n_scored=sum(int(items.asked.sum()) for items, _ in tasks.values()),
        score=_average(scores),
        reference_score=_average(references),
        difference=_mean_difference(list(tasks.values()), seed),
        expected_difference=_mean_expected(list(tasks.values()), seed),
        flips=score_flips([(reference, items) for items, reference in tasks.values()]),
        answer_change=gold.get("answer_change"),
        kl_divergence=gold.get("kl_divergence"),
        gold_nll_difference=gold.get("gold_nll_difference"),
    )
    return at_every_look(found, max(items.widening for items, _ in tasks.values()))


def _score_intervals(items: TaskItems, seed: int) -> dict[str, Estimate]:
    """Of every metric: Wilson's where items are right or wrong, else by the bootstrap."""
    clusters = clusters_of(items.names)
    binary = {
        metric: Estimate.of(_share(items.score(metric), clusters))
        for metric in items.metrics
        if items.binary(metric)
    }
    others = {
        metric: Series(items.score(metric), items.weight(metric), bounds=(0.0, 1.0))
        for metric in items.metrics
        if metric not in binary
    }
    return binary | _intervals(others, seed, clusters)


def _share(scores: Floats, clusters: Clusters | None) -> Interval:
    if clusters is None:
        return share(float(scores.sum()), len(scores))
    return clustered_share(scores, clusters)


def _change_intervals(items: TaskItems, reference: TaskItems, seed: int) -> dict[str, Estimate]:
    """Of every metric's difference, in the same way; exactly nothing between equal models."""
    if items.same_as(reference):
        return {metric: Estimate(value=0.0, low=0.0, high=0.0) for metric in items.metrics}
    clusters = clusters_of(items.names)
    binary = {
        metric: Estimate.of(
            mean_change(
                [_change(items, reference, metric, clusters)],
                bounds=_possible([_difference(items, reference, metric)]),
            )
        )
        for metric in items.metrics
        if items.binary(metric) and reference.binary(metric)
    }
    others = {
        metric: _difference(items, reference, metric)
        for metric in items.metrics
        if metric not in binary
    }
    return binary | _intervals(others, seed, clusters)


def _possible(differences: Sequence[Series]) -> tuple[float, float]:
    """The range of the mean of the tasks' differences: a score is 0 to 1."""
    low, high = (float(np.mean([one.bounds[end] for one in differences])) for end in (0, 1))
    return low, high


def _change(
    items: TaskItems, reference: TaskItems, metric: str, clusters: Clusters | None
) -> Change:
    if items.same_as(reference):
        return Change(0.0, 0.0, 0.0)
    before, after = reference.score(metric), items.score(metric)
    lost, gained = count_flips(before, after)
    if clusters is None:
        return change(lost, gained, len(after))
    return clustered_change(after - before, clusters)


def score_difference(items: TaskItems, reference: TaskItems) -> Series:
    """What the variant scored more than the reference, item by item, by the task's own metric."""
    return _difference(items, reference, items.metrics[0])


def task_changes(variants: Mapping[str, TaskItems], reference: TaskItems) -> TaskChanges:
    """What every item changed by: its expected score where that stands for the score, and is known
    of all variants.

    Args:
        variants: each one's records of a task.
        reference: the reference's.
    """
    known_of_all = all(has_expected_scores(one) for one in variants.values())
    if not stands_for_score(reference) or not known_of_all:
        differences = {name: score_difference(one, reference) for name, one in variants.items()}
        return TaskChanges(differences, expected=False)
    before = expected_scores(reference)
    known, counts_once = float(before.mean()), np.ones(len(before))
    return TaskChanges(
        {
            name: Series(expected_scores(one) - before, counts_once, bounds=(-known, 1.0 - known))
            for name, one in variants.items()
        },
        expected=True,
    )


def _difference(items: TaskItems, reference: TaskItems, metric: str) -> Series:
    before, weight = reference.score(metric), items.weight(metric)
    known = _mean(before, weight)
    bounds = (-1.0, 1.0) if known is None else (-known, 1.0 - known)
    return Series(items.score(metric) - before, weight, bounds=bounds)


def _intervals(
    series: Mapping[str, Series], seed: int, clusters: Clusters | None
) -> dict[str, Estimate]:
    """Of statistics of the same items, which have nothing to do with their neighbours."""
    if not series:
        return {}
    if clusters is not None:
        series = {name: clusters.merge(one) for name, one in series.items()}
    n = len(next(iter(series.values())).means)
    found = bootstrap(series, seed=seed, block=-(-n // ITEMS_DRAWN))
    if "answer_change" in found:
        found["answer_change"] = with_unseen(found["answer_change"], series["answer_change"])
    return {name: Estimate.of(interval) for name, interval in found.items()}


def _mean_difference(pairs: Sequence[tuple[TaskItems, TaskItems]], seed: int) -> Estimate:
    """The mean of the tasks' differences."""
    differences = [score_difference(one, ref) for one, ref in pairs]
    bounds = _possible(differences)
    names = [one.names for one, _ in pairs]
    if all(right_or_wrong(*pair) for pair in pairs):
        changes = [
            _change(one, ref, one.metrics[0], clusters)
            for (one, ref), clusters in zip(pairs, strata_of(names), strict=True)
        ]
        return Estimate.of(mean_change(changes, bounds=bounds))
    series = replace(joined(differences), bounds=bounds)
    clusters = clusters_of(np.concatenate(names))
    return _intervals({"difference": series}, seed, clusters)["difference"]


def _expected(items: TaskItems, reference: TaskItems) -> Estimate | None:
    found = expected_difference(items, reference)
    return None if found is None else Estimate.of(found)


def _mean_expected(pairs: Sequence[tuple[TaskItems, TaskItems]], seed: int) -> Estimate | None:
    """The mean of the tasks' expected differences, or differences; None if all are the latter."""
    expected = [_expected(*pair) for pair in pairs]
    if all(one is None for one in expected):
        return None
    each = [
        one or _change_intervals(*pair, seed)[pair[0].metrics[0]]
        for one, pair in zip(expected, pairs, strict=True)
    ]
    names = np.concatenate([np.unique(one.names) for one, _ in pairs])
    dependent = clusters_of(names) is not None  # tasks about the same items
    return Estimate.of(mean_interval([as_interval(one) for one in each], dependent=dependent))


def _own(
    items: TaskItems,
    reference: TaskItems,
    scores: Mapping[str, Estimate],
    gold: Mapping[str, Estimate],
) -> dict[str, Any]:
    """The results that a model has without another one beside it."""
    entry = items.entry
    first = items.metrics[0]
    subjects = _by(items, first, items.columns["subject"][items.asked])
    names = [entry.groups.get(subject, "") for subject in items.columns["subject"][items.asked]]
    return {
        "capability": entry.capability,
        "metric": first,
        "score": scores[first],
        "scores": {metric: scores[metric] for metric in items.metrics},
        "totals": dict(items.totals) or None,
        "macro": _average([s.score for s in subjects.values()]) if subjects else None,
        "subjects": subjects,
        "groups": _by(items, first, np.array(names, dtype=object)) if entry.groups else {},
        "chance": entry.chance,
        "expected_score": (
            float(expected_scores(items).mean())
            if stands_for_score(reference) and has_expected_scores(items)
            else None
        ),
        "n_scored": int(items.asked.sum()),
        "n_items": entry.n_items,
        "n_total": entry.n_total,
        "samples": entry.samples,
        "shots": entry.shots,
        "split": entry.split or None,
        "gold": entry.gold,
        "chat": entry.chat,
        "writing": items.writing(),
        "gold_nll": gold.get("gold_nll"),
        "gold_tokens": int(items.columns["gold_tokens"].sum()),
        "dtype": entry.dtype,
        "noise_floor": None if entry.noise_floor is None else entry.noise_floor.as_result,
        "digest": entry.digest,
        "identity": entry.identity,
        "license": entry.license,
        "source": entry.source,
        "notes": entry.notes,
    }


def _by(items: TaskItems, metric: str, names: NDArray[Any]) -> dict[str, SubjectScore]:
    """Scores by the names of subjects or groups; items without a name are in none."""
    score, weight = items.score(metric), items.weight(metric)
    return {
        name: SubjectScore(
            score=_mean(score[names == name], weight[names == name]),
            n_scored=int((names == name).sum()),
        )
        for name in dict.fromkeys(names.tolist())
        if name
    }


def _mean(values: Floats, weights: Floats) -> float | None:
    return float(np.average(values, weights=weights)) if weights.sum() > 0 else None


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
