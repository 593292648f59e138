"""The item records of a run's tasks, read and analysed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.abilities import analyse_abilities
from bitloss.analysis.loss_ranking import ItemLosses
from bitloss.analysis.replicated_losses import over_replicates
from bitloss.analysis.replicated_tasks import Answered, combine_capabilities, combine_tasks
from bitloss.analysis.score_losses import TaskChanges
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.analysis.tasks import (
    analyse_capabilities,
    analyse_losses,
    analyse_reference_task,
    analyse_task,
    task_changes,
)
from bitloss.metrics.clusters import strata_of
from bitloss.results.manifest import Manifest
from bitloss.results.served import ServedTask
from bitloss.results.tasks import Ability, CapabilityResult, ReferenceTask
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
        self._replicates = manifest.replicates
        self._read: dict[tuple[str, str], TaskItems] = {}  # three kinds of results need the same
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

    def capabilities_below(self, count: int) -> set[str]:
        """The capabilities with fewer evaluated items of the reference than so many, and not all
        that there are.
        """
        asked: dict[str, int] = {}
        whole: dict[str, bool] = {}
        for task, items in self._reference.items():
            name = self._entries[task].capability
            asked[name] = asked.get(name, 0) + int(items.drawn.sum())
            whole[name] = whole.get(name, True) and bool(items.drawn.all())
        return {name for name, n in asked.items() if n < count and not whole[name]}

    def variant(self, name: str) -> dict[str, Any]:
        """A variant's ``tasks`` and ``capabilities``; nothing where none was answered."""
        pairs = self._pairs(name)
        if not pairs:
            return {}
        return {
            "tasks": {
                task: analyse_task(items, reference, seed=self._seed).model_copy(
                    update={"stopped": (items.entry.stopped or {}).get(name)}
                )
                for task, (items, reference) in pairs.items()
            },
            "capabilities": analyse_capabilities(pairs, seed=self._seed),
        }

    def losses_of(self, name: str) -> dict[str, CapabilityResult]:
        """By capability, no more of a variant's results than what its verdict is made of."""
        return analyse_losses(self._pairs(name), seed=self._seed)

    def _pairs(self, name: str) -> dict[str, tuple[TaskItems, TaskItems]]:
        """By task that a variant answered, its records and the reference's of the same items."""
        pairs = {}
        for task, entry in self._entries.items():
            if name in entry.items:
                items = self._items(task, name)
                pairs[task] = items, self._reference[task].only(items.drawn)
        return pairs

    def served(self, name: str, before: str | None) -> dict[str, ServedTask] | None:
        """A variant's results in a further way; None where none was answered.

        Args:
            name: of the variant in this way.
            before: of the variant in the way that it is held beside; None if that has no results.
        """
        found = {}
        for task, entry in self._entries.items():
            if name not in entry.items:
                continue
            items = self._items(task, name)
            own = analyse_task(items, self._reference[task], seed=self._seed)
            added = None
            if before is not None and before in entry.items:
                other = self._items(task, before)
                added = analyse_task(items.beside(other), other, seed=self._seed)
            found[task] = ServedTask(
                score=own.score,
                difference=own.difference,
                expected_difference=own.expected_difference,
                added=None if added is None else added.difference,
                expected_added=None if added is None else added.expected_difference,
            )
        return found or None

    def not_measured(self, name: str) -> dict[str, str] | None:
        """By task that a variant's engine cannot score, why; None if there is none."""
        found = {
            task: entry.absent[name]
            for task, entry in self._entries.items()
            if name in entry.absent
        }
        return found or None

    def replicated(self, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The ``tasks`` and ``capabilities`` of a recipe's replicates together, and what each of
        them has, under the same names; of the tasks that all of them answered.

        Args:
            names: of the replicates.
        """
        answered = {
            task: Answered(tuple(self._items(task, name) for name in names), self._reference[task])
            for task, entry in self._entries.items()
            if all(name in entry.items for name in names)
        }
        if not answered:
            return {}, {}
        tasks = {
            task: combine_tasks(
                [analyse_task(items, of.reference, seed=self._seed) for items in of.replicates], of
            )
            for task, of in answered.items()
        }
        each = [
            analyse_capabilities(
                {task: (of.replicates[index], of.reference) for task, of in answered.items()},
                seed=self._seed,
            )
            for index in range(len(names))
        ]
        capabilities, spreads = combine_capabilities(each, answered)
        return (
            {"tasks": {task: one for task, (one, _) in tasks.items()},
             "capabilities": capabilities},
            {"tasks": {task: spread for task, (_, spread) in tasks.items()},
             "capabilities": spreads},
        )  # fmt: skip

    def losses(self, names: Sequence[str]) -> ItemLosses | None:
        """What variants lost, item by item; None if no variant answered every task.

        Args:
            names: of variants; those that did not answer every task are left out. Of a recipe that
                was made several times, items are means over its replicates.
        """
        entries = self._entries.values()
        variants = [
            name
            for name in names
            if all(one in entry.items for entry in entries for one in self._replicates[name])
        ]
        if not variants or not self._entries:
            return None
        by_capability: dict[str, list[TaskChanges]] = {}
        names_of: dict[str, list[NDArray[Any]]] = {}
        for task, entry in self._entries.items():
            replicates = {name: self._replicates[name] for name in variants}
            items = {one: self._items(task, one) for of in replicates.values() for one in of}
            # Of one order of items each has as many as its verdict took.
            common = np.all([one.drawn for one in items.values()], axis=0)
            items = {one: of.only(common) for one, of in items.items()}
            reference = self._reference[task].only(common)
            changes = task_changes(items, reference)
            by_capability.setdefault(entry.capability, []).append(
                over_replicates(changes, replicates)
            )
            names_of.setdefault(entry.capability, []).append(reference.names)
        return ItemLosses(
            {
                name: [
                    replace(one, clusters=own)
                    for one, own in zip(tasks, strata_of(names_of[name]), strict=True)
                ]
                for name, tasks in by_capability.items()
            },
            self._seed,
        )

    def _items(self, task: str, model: str) -> TaskItems:
        key = (task, model)
        if key not in self._read:
            self._read[key] = read_items(self._store, self._entries[task], model)
        return self._read[key]
