"""Whether a variant's texts are cut off, or end in loops, more often than the reference's.

The same items are compared, so what is tested is how many texts changed: by McNemar's exact test if
each item has one text, of whole clusters where items belong together; by the interval of the mean
difference if items have several. P-values of a page are corrected together
(`bitloss.analysis.families`).
"""

from __future__ import annotations

import numpy as np

from bitloss.analysis.flips import tested_flips
from bitloss.analysis.task_items import Floats, TaskItems
from bitloss.metrics.clusters import Clusters, clusters_of
from bitloss.metrics.paired import change, clustered_change, mean_change, mean_shift
from bitloss.results.tasks import ENDINGS, EndingChange
from bitloss.results.values import Estimate

__all__ = ["analyse_endings"]


def analyse_endings(items: TaskItems, reference: TaskItems) -> dict[str, EndingChange] | None:
    """By way of ending (`ENDINGS`), how the share of a task's texts changed; None where nothing was
    generated, or no text of either model ended so.

    Args:
        items: the variant's records of the task.
        reference: the reference's, of the same items.
    """
    if items.writing() is None or reference.writing() is None:
        return None
    found = {}
    for name in ENDINGS:
        before, after = _shares(reference, name), _shares(items, name)
        if before.any() or after.any():
            found[name] = _change(before, after, clusters_of(items.names))
    return found or None


def _shares(items: TaskItems, name: str) -> Floats:
    return items.columns[name][items.asked].astype(np.float64)


def _change(before: Floats, after: Floats, clusters: Clusters | None) -> EndingChange:
    if np.array_equal(before, after):
        return EndingChange(difference=Estimate(value=0.0, low=0.0, high=0.0))
    known = float(before.mean())
    bounds = (-known, 1.0 - known)
    if not (np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all()):
        return EndingChange(
            difference=Estimate.of(mean_shift(after - before, clusters, bounds=bounds))
        )
    fewer, more, p_value = tested_flips(before, after, clusters)
    if clusters is None:
        changed = change(fewer, more, len(after))
    else:
        changed = clustered_change(after - before, clusters)
    return EndingChange(
        difference=Estimate.of(mean_change([changed], bounds=bounds)),
        more=more, fewer=fewer, p_value_alone=p_value,
    )  # fmt: skip
