"""Weighted sums of levels on the same tokens: one number with a paired interval.

A step between neighbors is the sum with the weights -1 and 1. Other questions weigh more levels: a
text of the model's own domain against the mean of all others, or a level against a share of
another's loss. What the levels have in common leaves the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from bitloss.analysis.replicates import together
from bitloss.analysis.window_intervals import drawn_together, window_intervals
from bitloss.metrics.intervals import Interval, Series
from bitloss.metrics.multiple import SIGNIFICANT, adjust, beyond
from bitloss.metrics.paired import mean_interval
from bitloss.metrics.perplexity import window_losses
from bitloss.metrics.replicates import replicate_covariance
from bitloss.results import Estimate
from bitloss.studies.measured import Measured
from bitloss.studies.paired import same_tokens
from bitloss.types import FloatArray, TokenRecords

__all__ = [
    "Quantity",
    "contrast",
    "copies_of",
    "divergence",
    "extra_loss",
    "mean_contrast",
    "shown",
    "with_intervals",
]

Quantity = Callable[[TokenRecords], FloatArray]
"""A number per token, that is averaged over the text."""

_Key = TypeVar("_Key", bound=Hashable)


def divergence(records: TokenRecords) -> FloatArray:
    """KL(reference || level), nats."""
    return records.kl_divergence.astype(np.float64)


def extra_loss(records: TokenRecords) -> FloatArray:
    """Loss of the true token, level minus reference, nats."""
    return records.nll.astype(np.float64) - records.reference_nll


def contrast(
    measured: Measured,
    corpus: str,
    weights: Mapping[str, float],
    quantity: Quantity = divergence,
) -> Estimate | None:
    """The weighted sum of levels' means over the tokens of a corpus.

    Args:
        measured: a model's levels.
        corpus: that all of these levels were scored on.
        weights: by level.
        quantity: what is averaged.

    Returns:
        With a paired interval, over seeds as well where the recipes were made several times. None
        if a level failed, or the levels were not scored on the same tokens.

    Raises:
        StorageError: a record is missing or damaged.
    """
    if not weights or {*weights} - {level.level for level in measured.levels}:
        return None
    copies = [copies_of(measured, level) for level in weights]
    count = max(map(len, copies))
    estimates: list[Estimate] = []
    each: list[Series] = []
    for index in range(count):
        of = [
            (measured.run_of(level).records, names[index % len(names)])
            for level, names in zip(weights, copies, strict=True)
        ]
        found = same_tokens(corpus, of)
        if found is None:
            return None
        entry, records, drawn_from = found
        series = _summed(records, list(weights.values()), quantity)
        each.append(series)
        intervals = window_intervals(
            {"sum": series},
            records[0].window,
            documents=entry.facts.documents,
            drawn_from=drawn_from,
            seed=measured.seed,
        )
        estimates.append(Estimate.of(intervals["sum"]))
    if count == 1:
        return estimates[0]
    merged, block = drawn_together(
        each, records[0].window, documents=entry.facts.documents, drawn_from=drawn_from
    )
    return together(estimates, replicate_covariance([merged], block=block))


def mean_contrast(
    measured: Measured,
    weights: Mapping[str, Mapping[str, float]],
    quantity: Quantity = divergence,
) -> Estimate | None:
    """The mean over corpora of such sums, each corpus counting the same.

    Args:
        measured: a model's levels.
        weights: by corpus, then by level.
        quantity: what is averaged.

    Returns:
        Corpora are different texts, so their errors are put together as independent. None if one of
        the sums cannot be taken.
    """
    found = [contrast(measured, corpus, own, quantity) for corpus, own in weights.items()]
    known = [one for one in found if one is not None and one.value is not None]
    if not known or len(known) < len(found):
        return None
    return Estimate.of(mean_interval([_interval(one) for one in known]))


def with_intervals(measured: Measured) -> tuple[str, ...]:
    """Corpora on which every level has an interval: the others' means say nothing of their error,
    and would leave a mean over corpora without one.
    """
    return tuple(
        corpus
        for corpus in measured.corpora
        if measured.levels
        and all(
            (found := level.corpora.get(corpus, {}).get("kl_divergence")) is not None
            and found.low is not None
            for level in measured.levels
        )
    )


def shown(changes: Mapping[_Key, Estimate | None]) -> dict[_Key, bool]:
    """Which of several changes are shown not to be 0, among all of them (Holm's method).

    Args:
        changes: with their 95% intervals, each on its own; None was not measured.
    """
    tests = {
        key: test
        for key, one in changes.items()
        if one is not None and (test := beyond(one, 0.0)) is not None
    }
    adjusted = adjust(tests)
    return {key: adjusted.get(key, 1.0) < SIGNIFICANT for key in changes}


def copies_of(measured: Measured, level: str) -> tuple[str, ...]:
    """Names of a level's variants: its replicates, or the one that there is."""
    run = measured.run_of(level)
    recipe = next(one.recipe for one in run.levels if one.name == level)
    return run.records.replicates.get(recipe, (recipe,))


def _summed(
    records: Sequence[TokenRecords], weights: Sequence[float], quantity: Quantity
) -> Series:
    total: FloatArray = np.zeros(len(records[0].window))
    for one, weight in zip(records, weights, strict=True):
        total = total + weight * quantity(one)
    return Series(*window_losses(total, records[0].window, "tokens"))


def _interval(found: Estimate) -> Interval:
    value, low, high = (math.nan if x is None else x for x in (found.value, found.low, found.high))
    return Interval(value, low, high)
