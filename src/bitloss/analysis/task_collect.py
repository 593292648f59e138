"""The item records of a run's tasks, read and analysed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.abilities import analyse_abilities
from bitloss.analysis.loss_ranking import AnswerLosses
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.analysis.tasks import (
    analyse_capabilities,
    analyse_reference_task,
    analyse_task,
    score_difference,
)
from bitloss.metrics.clusters import Clusters, joined, strata_of
from bitloss.metrics.intervals import Series
from bitloss.results.manifest import Manifest
from bitloss.results.tasks import Ability, ReferenceTask
from bitloss.runner import RunStore

__all__ = ["CollectedTasks"]


class CollectedTasks:
    """All tasks of a run.

    Args:
        store: the run directory.
        manifest: of the run.
    """

    def __init__(self, store: RunStore, manifest: Manifest) -> None:
        self._store = store
        self._entries = manifest.tasks
        self._seed = manifest.environment.seeds.bootstrap
        name = manifest.reference.name
        self._reference = {task: self._items(task, name) for task in self._entries}

    def reference(self) -> dict[str, ReferenceTask] | None:
        """The reference's own results by task; None if no task was run."""
        if not self._entries:
            return None
        return {
            task: analyse_reference_task(items, seed=self._seed)
            for task, items in self._reference.items()
        }

    def abilities(self) -> dict[str, Ability]:
        """By capability, whether the reference is shown to do better than guessing."""
        return analyse_abilities(self._reference)

    def variant(self, name: str) -> dict[str, Any]:
        """A variant's ``tasks`` and ``capabilities``; nothing where none was answered."""
        pairs = {
            task: (self._items(task, name), self._reference[task])
            for task, entry in self._entries.items()
            if name in entry.items
        }
        if not pairs:
            return {}
        return {
            "tasks": {
                task: analyse_task(items, reference, seed=self._seed)
                for task, (items, reference) in pairs.items()
            },
            "capabilities": analyse_capabilities(pairs, seed=self._seed),
        }

    def losses(self, names: Sequence[str]) -> AnswerLosses | None:
        """What variants lost, item by item; None if no task has gold answers.

        Args:
            names: of variants; those that did not answer every task are left out.
        """
        entries = self._entries.values()
        variants = [name for name in names if all(name in entry.items for entry in entries)]
        by_capability: dict[str, list[dict[str, Series]]] = {}
        names_of: dict[str, list[NDArray[Any]]] = {}
        floors: dict[str, list[float]] = {}
        for task, entry in self._entries.items():
            items = {name: self._items(task, name) for name in variants}
            if not items or not all(one.has_gold.any() for one in items.values()):
                continue
            capability, floor = entry.capability, entry.noise_floor
            by_capability.setdefault(capability, []).append(
                {name: one.answer_change for name, one in items.items()}
            )
            names_of.setdefault(capability, []).append(next(iter(items.values())).gold_names)
            known = None if floor is None else floor.answer_change
            floors.setdefault(capability, []).append(known or 0.0)
        if not by_capability:
            return None
        means = {name: sum(ones) / len(ones) for name, ones in floors.items()}
        return AnswerLosses(
            {name: _clustered(tasks, names_of[name]) for name, tasks in by_capability.items()},
            means,
            self._score_changes(variants),
            self._seed,
            self._clusters(),
        )

    def _clusters(self) -> dict[str, list[Clusters | None]]:
        """By capability, the clusters of each task's items."""
        names: dict[str, list[NDArray[Any]]] = {}
        for task, entry in self._entries.items():
            names.setdefault(entry.capability, []).append(self._reference[task].names)
        return {capability: strata_of(ones) for capability, ones in names.items()}

    def _score_changes(self, variants: Sequence[str]) -> dict[str, list[dict[str, Series]]]:
        """The scores' differences from the reference's: by capability, for each task, by variant,
        item by item.
        """
        by_capability: dict[str, list[dict[str, Series]]] = {}
        for task, entry in self._entries.items():
            reference = self._reference[task]
            by_capability.setdefault(entry.capability, []).append(
                {name: score_difference(self._items(task, name), reference) for name in variants}
            )
        return by_capability

    def _items(self, task: str, model: str) -> TaskItems:
        return read_items(self._store, self._entries[task], model)


def _clustered(
    tasks: list[dict[str, Series]], names: Sequence[NDArray[Any]]
) -> list[dict[str, Series]]:
    """Series of a capability's tasks by clusters of items; tasks about the same items become one.

    Args:
        tasks: of each, series by variant, item by item.
        names: of each, what its items belong to.
    """
    clusters = strata_of(names)
    if all(own is None for own in clusters):
        return tasks
    if len(np.unique(np.concatenate(names))) < sum(len(np.unique(own)) for own in names):
        own = Clusters.of(np.concatenate(names))
        together = {name: joined([task[name] for task in tasks]) for name in tasks[0]}
        return [{name: own.merge(one) for name, one in together.items()}]
    return [
        task if own is None else {name: own.merge(one) for name, one in task.items()}
        for task, own in zip(tasks, clusters, strict=True)
    ]
