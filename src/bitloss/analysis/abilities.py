"""Which capabilities the reference has at all; of the others no loss can be measured.

A model that guesses scores what guessing scores, quantized or not: its variants "lose nothing",
"keep their score", or suffer most, by chance alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bitloss.analysis.task_items import TaskItems
from bitloss.metrics.ability import TaskScores, guessing_p_value
from bitloss.metrics.clusters import strata_of
from bitloss.metrics.multiple import holm
from bitloss.results.tasks import Ability

__all__ = ["SHOWN", "analyse_abilities"]

SHOWN = 0.05
"""The largest p-value, adjusted by Holm's method, at which an ability is called shown."""


def analyse_abilities(tasks: Mapping[str, TaskItems]) -> dict[str, Ability]:
    """By capability, whether the reference is shown to do better than guessing.

    Args:
        tasks: the reference's records by name; a task without a graded item is left out.
    """
    answered: dict[str, list[TaskItems]] = {}
    for items in tasks.values():
        if items.weight(items.metrics[0]).sum() > 0:
            answered.setdefault(items.entry.capability, []).append(items)
    by_capability = {name: _scores(ones) for name, ones in answered.items()}
    p_values = holm([guessing_p_value(ones) for ones in by_capability.values()])
    return {
        name: Ability(
            score=sum(one.mean for one in ones) / len(ones),
            chance=sum(one.chance for one in ones) / len(ones),
            p_value=p_value,
            measurable=p_value < SHOWN,
        )
        for (name, ones), p_value in zip(by_capability.items(), p_values, strict=True)
    }


def _scores(tasks: Sequence[TaskItems]) -> list[TaskScores]:
    """Of the tasks of one capability."""
    clusters = strata_of([items.names for items in tasks])
    firsts = [items.metrics[0] for items in tasks]
    return [
        TaskScores(items.score(first), items.weight(first), items.entry.chance or 0.0, own)
        for items, first, own in zip(tasks, firsts, clusters, strict=True)
    ]
