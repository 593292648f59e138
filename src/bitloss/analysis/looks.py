"""Results of tasks evaluated in looks: intervals that hold at every look, and no other test.

Whoever stops where the answer pleases is wrong more often than an interval for one look says. All
intervals of such a task are as many times wider as `bitloss.metrics.item_looks` has it. Exact tests
of flips are for one look, so there are none; statements are tested by the intervals
(`bitloss.analysis.families`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from bitloss.results.tasks import EndingChange, Flips
from bitloss.results.values import Estimate, Frozen

__all__ = ["at_every_look"]

_Result = TypeVar("_Result", bound=Frozen)

# What a quantity can be; others have no limits but those that their values set.
_RANGES: Mapping[str, tuple[float, float]] = {
    "score": (0.0, 1.0),
    "scores": (0.0, 1.0),
    "answer_change": (0.0, 1.0),
    "difference": (-1.0, 1.0),
    "differences": (-1.0, 1.0),
    "expected_difference": (-1.0, 1.0),
    "kl_divergence": (0.0, math.inf),
    "gold_nll": (0.0, math.inf),
}


def at_every_look(result: _Result, factor: float) -> _Result:
    """The result with intervals so many times as wide about their values, and without exact tests.

    Args:
        result: of a task (`ReferenceTask`, `VariantTask`), or of a capability (`CapabilityResult`).
        factor: 1 for what was evaluated once, which is returned as it is.
    """
    if factor == 1.0:
        return result
    changed: dict[str, Any] = {
        name: _changed(name, getattr(result, name), factor) for name in type(result).model_fields
    }
    return result.model_copy(update=changed)


def _changed(name: str, value: Any, factor: float) -> Any:
    if isinstance(value, Estimate):
        return _widened(value, factor, *_RANGES.get(name, (-math.inf, math.inf)))
    if isinstance(value, Flips):
        return value.model_copy(update={"p_value": None})
    if isinstance(value, EndingChange):
        difference = _widened(value.difference, factor, -1.0, 1.0)
        return value.model_copy(update={"difference": difference, "p_value_alone": None})
    if isinstance(value, Mapping):
        return {key: _changed(name, one, factor) for key, one in value.items()}
    return value


def _widened(estimate: Estimate, factor: float, least: float, most: float) -> Estimate:
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None:
        return estimate
    return Estimate(
        value=value,
        low=None if low is None else max(min(value, least), value - factor * (value - low)),
        high=None if high is None else min(max(value, most), value + factor * (high - value)),
    )
