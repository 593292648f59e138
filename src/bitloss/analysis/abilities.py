"""Which capabilities the reference has at all; of the others no loss can be measured.

A model that guesses scores what guessing scores, quantized or not: its variants "lose nothing",
"keep their score", or suffer most, by chance alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitloss.analysis.task_items import TaskItems
from bitloss.metrics.ability import TaskScores, guessing_p_value
from bitloss.metrics.clusters import clusters_of
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
    by_capability: dict[str, list[TaskScores]] = {}
    for items in tasks.values():
        first = items.metrics[0]
        scores, weights = items.score(first), items.weight(first)
        if weights.sum() > 0:
            by_capability.setdefault(items.entry.capability, []).append(
                TaskScores(scores, weights, items.entry.chance or 0.0, clusters_of(items.names))
            )
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
