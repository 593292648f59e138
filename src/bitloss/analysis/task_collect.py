"""The item records of a run's tasks, read and analysed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bitloss.analysis.abilities import analyse_abilities
from bitloss.analysis.loss_ranking import ItemLosses
from bitloss.analysis.score_losses import TaskChanges
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.analysis.tasks import (
    analyse_capabilities,
    analyse_reference_task,
    analyse_task,
    task_changes,
)
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

    def losses(self, names: Sequence[str]) -> ItemLosses | None:
        """What variants lost, item by item; None if no variant answered every task.

        Args:
            names: of variants; those that did not answer every task are left out.
        """
        entries = self._entries.values()
        variants = [name for name in names if all(name in entry.items for entry in entries)]
        if not variants or not self._entries:
            return None
        by_capability: dict[str, list[TaskChanges]] = {}
        for task, entry in self._entries.items():
            items = {name: self._items(task, name) for name in variants}
            by_capability.setdefault(entry.capability, []).append(
                task_changes(items, self._reference[task])
            )
        return ItemLosses(by_capability, self._seed)

    def _items(self, task: str, model: str) -> TaskItems:
        key = (task, model)
        if key not in self._read:
            self._read[key] = read_items(self._store, self._entries[task], model)
        return self._read[key]
