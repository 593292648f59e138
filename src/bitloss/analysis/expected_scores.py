"""The expected score: how likely the right answer is, in the unit of the score and far steadier.

A score counts which option is the likeliest, and moves in steps of whole items. How likely the
right one is moves with every change of a weight, and its loss varies several times less
(``benchmarks/expected_scores.py`` has by how much, and where the two agree). So it shows a small
loss, and that there is none, with far fewer items.

It is not the score: a flatter distribution loses expected score and no item. Nor does it exist
everywhere: where an answer is written in words, the likelihood of one wording says little of being
right in any. `stands_for_score` says where it is used.
"""

from __future__ import annotations

import numpy as np

from bitloss.analysis.task_items import Floats, TaskItems
from bitloss.metrics.clusters import clusters_of
from bitloss.metrics.intervals import Interval
from bitloss.metrics.paired import mean_shift

__all__ = [
    "LIKELY", "expected_difference", "expected_scores", "has_expected_scores", "stands_for_score",
]  # fmt: skip

LIKELY = 0.6
"""The share of its score that a written gold answer's mean likelihood has to reach."""


def expected_scores(items: TaskItems) -> Floats:
    """The probability of the right answer to each item that was asked, 0 to 1: of the right one
    among the options, or of all of the gold answer where none are scored.
    """
    chosen = items.columns["right"][items.asked].astype(np.float64)
    written = np.exp(-items.columns["gold_nll"][items.asked].astype(np.float64))
    return np.where(np.isnan(chosen), written, chosen)


def has_expected_scores(items: TaskItems) -> bool:
    """Whether a model's expected scores are known: a server need not give the log-probabilities of
    a gold answer.
    """
    return bool(np.isfinite(expected_scores(items)).all())


def stands_for_score(reference: TaskItems) -> bool:
    """Whether the expected score of a task may be used in place of its score.

    Every item is right or wrong and has a gold answer of the data. That is an option, or an answer
    so short and certain that the reference's mean likelihood of it is at least `LIKELY` of its
    score: then there is hardly another wording that is right.

    Args:
        reference: the reference's records of the task.
    """
    first = reference.metrics[0]
    asked = reference.asked
    if reference.entry.gold == "reference" or not asked.any() or not reference.binary(first):
        return False
    if not reference.has_gold[asked].all():
        return False
    if not np.isnan(reference.columns["right"][asked].astype(np.float64)).any():
        return True
    return bool(expected_scores(reference).mean() >= LIKELY * reference.score(first).mean() > 0)


def expected_difference(items: TaskItems, reference: TaskItems) -> Interval | None:
    """The variant's expected score less the reference's; None where it does not stand for the
    score or is not known, and exactly nothing between equal models.
    """
    if not stands_for_score(reference) or not has_expected_scores(items):
        return None
    if items.same_as(reference):
        return Interval(0.0, 0.0, 0.0)
    before = expected_scores(reference)
    known = float(before.mean())
    return mean_shift(
        expected_scores(items) - before, clusters_of(items.names), bounds=(-known, 1.0 - known)
    )
