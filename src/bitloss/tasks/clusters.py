"""Which items of a task belong together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from bitloss.tasks.base import Item

__all__ = ["with_clusters"]


def with_clusters(items: Sequence[Item], shared: Sequence[Hashable]) -> tuple[Item, ...]:
    """The items, each with its cluster, which is named after the first item in it.

    Args:
        items: of a task.
        shared: of each, what it has in common with others; None where it stands alone.
    """
    first: dict[Hashable, str] = {}
    return tuple(
        item if key is None else replace(item, cluster=first.setdefault(key, item.id))
        for item, key in zip(items, shared, strict=True)
    )
