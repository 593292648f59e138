"""Items that changed from one side to the other, and the test of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitloss.analysis.task_items import Floats, TaskItems
from bitloss.metrics.clusters import Clusters, clusters_of, sign_flip
from bitloss.metrics.paired import count_flips, mcnemar
from bitloss.results.tasks import Flips

__all__ = ["right_or_wrong", "score_flips", "tested_flips"]


def right_or_wrong(one: TaskItems, other: TaskItems) -> bool:
    """Whether both models get every item right or wrong, by the task's own metric."""
    return one.binary(one.metrics[0]) and other.binary(other.metrics[0])


def score_flips(pairs: Sequence[tuple[TaskItems, TaskItems]]) -> Flips | None:
    """Over the pairs of reference and variant whose items are right or wrong; None without any."""
    pairs = [pair for pair in pairs if right_or_wrong(*pair)]
    if not pairs:
        return None
    lost, gained, p_value = tested_flips(
        np.concatenate([one.score(one.metrics[0]) for one, _ in pairs]),
        np.concatenate([other.score(other.metrics[0]) for _, other in pairs]),
        clusters_of(np.concatenate([one.names for one, _ in pairs])),
    )
    return Flips(right_to_wrong=lost, wrong_to_right=gained, p_value=p_value)


def tested_flips(
    before: Floats, after: Floats, clusters: Clusters | None
) -> tuple[int, int, float]:
    """How many items fell from 1 to 0 and rose from 0 to 1, and the p-value that both are equally
    likely: McNemar's, or where items belong together that of whole clusters.

    Args:
        before: the reference's, 0 or 1, shape ``[items]``.
        after: the variant's, of the same items.
        clusters: of the items; None takes each for itself.
    """
    lost, gained = count_flips(before, after)
    if clusters is None:
        return lost, gained, mcnemar(lost, gained)
    return lost, gained, sign_flip(clusters.sums(after - before).round().astype(np.int64))
