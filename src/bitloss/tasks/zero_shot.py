"""Items of a published table without solved examples: one item per row."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

from bitloss.datasets.published import PublishedTable, load_published
from bitloss.datasets.tables import Table
from bitloss.tasks.base import Item, TaskItems
from bitloss.tasks.clusters import with_clusters
from bitloss.tasks.shots import require_shots, resolve_shots

__all__ = ["ZeroShot"]


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """A `bitloss.tasks.base.Load` of a task that has no shots.

    Attributes:
        task: its name, for errors.
        table: its data.
        item: makes the item of a row, by its index from 0.
        shared: what an item has in common with others, by its row (`Item.cluster`); None where
            every item stands alone.
    """

    task: str
    table: PublishedTable
    item: Callable[[Table, int], Item]
    shared: Callable[[Table, int], Hashable] | None = None

    def __call__(self, data: Path | None, *, shots: int | None = None) -> TaskItems:
        """Read the items; see `bitloss.tasks.base.Load`."""
        require_shots(self.task, resolve_shots(self.task, shots), 0)
        table, notes = load_published(data, self.table)
        items = tuple(self.item(table, index) for index in range(len(table.rows)))
        if self.shared is not None:
            items = with_clusters(items, [self.shared(table, row) for row in range(len(items))])
        published = not table.from_hub and table.digest == self.table.digest
        places = () if published else tuple(map(table.place, range(len(items))))
        return TaskItems(items, table.digest, table.source, notes, places)
