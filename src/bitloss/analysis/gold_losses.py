"""What a model loses on the gold answers of a task, item by item."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bitloss.analysis.task_items import TaskItems
from bitloss.metrics.intervals import Series

__all__ = ["loss_series", "own_losses"]


def own_losses(items: TaskItems) -> dict[str, Series]:
    """A model's own losses on the gold answers; nothing without any."""
    if not items.has_gold.any():
        return {}
    return {"gold_nll": replace(items.gold("gold_nll"), bounds=(0.0, math.inf))}


def loss_series(items: TaskItems, reference: TaskItems) -> dict[str, Series]:
    """What is between the two models on the gold answers, item by item; nothing without any, and
    of a model whose likely tokens alone are known, its losses.
    """
    if not items.has_gold.any():
        return {}
    nll, base = items.gold("gold_nll"), reference.gold("gold_nll")
    known = float(np.average(base.means, weights=base.weights))
    found = {}
    if items.has_divergence:
        # Rounding may leave a divergence a trifle below zero, and then that is what was measured.
        divergence = items.gold("gold_kl")
        least = min(0.0, float(np.average(divergence.means, weights=divergence.weights)))
        found["kl_divergence"] = replace(divergence, bounds=(least, math.inf))
    if items.has_answer_change:
        found["answer_change"] = items.answer_change
    found["gold_nll_difference"] = Series(
        nll.means - base.means, nll.weights, bounds=(-known, math.inf)
    )
    return found
