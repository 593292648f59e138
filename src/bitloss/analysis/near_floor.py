"""Which divergences lie near the noise floor: the one rule for verdicts, gates and every table.

Within `NEAR_FLOOR` floors of zero, rounding in the measurement makes a tenth or more of what was
measured. Such a number is shown with a mark (`bitloss.wording.near_floor`). A divergence of exactly
zero has none: nothing is rounded to it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bitloss.metrics.divergence import NEAR_FLOOR
from bitloss.results.corpora import CorpusComparison
from bitloss.results.models import VariantResult
from bitloss.results.served import ServedCorpus
from bitloss.results.tasks import VariantTask
from bitloss.results.values import Estimate

__all__ = [
    "added_near_floor",
    "answers_near_floor",
    "capability_near_floor",
    "is_near_floor",
    "near_floor",
]


def near_floor(result: CorpusComparison | VariantTask) -> float | None:
    """The noise floor, where a divergence is within ten floors of zero; else None.

    Args:
        result: on a corpus, or on the gold answers of a task.

    Returns:
        That of the arithmetic in which the divergence was measured, nats per token.
    """
    floor, dtype = result.noise_floor, result.dtype
    if isinstance(result, CorpusComparison):
        mean = result.kl_divergence.mean
        dtype = dtype if result.rescored is None else result.rescored.dtype
    else:
        mean = None if result.kl_divergence is None else result.kl_divergence.value
    if floor is None or floor.kl_divergence is None or mean is None or floor.dtype != dtype:
        return None
    return floor.kl_divergence if mean < NEAR_FLOOR * floor.kl_divergence else None


def is_near_floor(result: CorpusComparison | VariantTask) -> bool:
    """Whether a divergence is to be marked: near the floor, and not exactly zero."""
    mean = (
        result.kl_divergence.mean
        if isinstance(result, CorpusComparison)
        else result.kl_divergence and result.kl_divergence.value
    )
    return bool(mean) and near_floor(result) is not None


def added_near_floor(found: ServedCorpus) -> bool:
    """Whether what a way adds to a divergence is to be marked: within ten of its floors."""
    floor = None if found.result is None else found.result.noise_floor
    added = None if found.added is None else found.added.kl_divergence
    if floor is None or floor.kl_divergence is None or added is None or not added.value:
        return False
    return abs(added.value) < NEAR_FLOOR * floor.kl_divergence


def capability_near_floor(variant: VariantResult, capability: str) -> bool:
    """Whether the divergence on a capability's gold answers is to be marked.

    Both it and its floor are means over the capability's tasks.
    """
    found = (variant.capabilities or {}).get(capability)
    tasks = _tasks(variant, capability)
    floors = [task.noise_floor.kl_divergence for task in tasks if task.noise_floor is not None]
    return found is not None and _within(found.kl_divergence, floors, len(tasks))


def answers_near_floor(task: VariantTask) -> bool:
    """Whether the share of a task's gold answers that changed is to be marked."""
    floor = task.noise_floor
    return _within(task.answer_change, [None if floor is None else floor.answer_change], 1)


def _tasks(variant: VariantResult, capability: str) -> list[VariantTask]:
    return [task for task in (variant.tasks or {}).values() if task.capability == capability]


def _within(estimate: Estimate | None, floors: Iterable[float | None], n_tasks: int) -> bool:
    """Whether a mean over tasks is within ten floors; a task without a floor counts as zero."""
    if estimate is None or not estimate.value or n_tasks == 0:
        return False
    return estimate.value < NEAR_FLOOR * sum(floor or 0.0 for floor in floors) / n_tasks
