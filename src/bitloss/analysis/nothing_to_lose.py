"""Comparisons of nothing with nothing: both models score 0%, so no loss could show."""

from __future__ import annotations

from bitloss.results.tasks import VariantTask

__all__ = ["both_score_nothing"]


def both_score_nothing(task: VariantTask) -> bool:
    """Whether neither the reference nor the variant has an item right: a difference of 0 points
    that is no evidence of anything kept.
    """
    return task.score.value == 0 and task.reference_score == 0
