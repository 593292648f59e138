"""Whether scores are better than guessing: what a model cannot do, no variant of it can lose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitloss.metrics.clusters import Clusters
from bitloss.types import FloatArray

__all__ = ["TaskScores", "guessing_p_value"]


@dataclass(frozen=True, slots=True)
class TaskScores:
    """A model's scores on the items of one task.

    Attributes:
        scores: 0 to 1, shape ``[items]``, one item or more.
        weights: how often each counts, shape ``[items]``.
        chance: the mean score of a guess.
        clusters: of items that belong together, in this task or in another of the same capability;
            None takes each for itself.
    """

    scores: NDArray[np.float64]
    weights: NDArray[np.float64]
    chance: float
    clusters: Clusters | None = None

    @property
    def mean(self) -> float:
        """The weighted mean."""
        return float(np.average(self.scores, weights=self.weights))

    @property
    def counted(self) -> bool:
        """Whether every item is right or wrong, and counts once."""
        return bool(np.isin(self.scores, (0.0, 1.0)).all() and (self.weights == 1).all())

    @property
    def dependence(self) -> float:
        """By how much items that belong together raise the variance of the mean, at least 1.

        Infinite where there are too few clusters to know.
        """
        if self.clusters is None:
            return 1.0
        if self.clusters.too_few:
            return math.inf
        return _ratio(self.clusters.sums(self.off), self.off)

    @property
    def off(self) -> FloatArray:
        """What each item adds to the error of the mean, shape ``[items]``."""
        return self.weights * (self.scores - self.mean) / float(self.weights.sum())

    @property
    def error(self) -> float:
        """Standard error of the mean of a model whose true score is `chance` or a little above.

        With one item added that is right and one that is wrong, so that a few equal items are not
        taken for certainty.
        """
        scores = np.append(self.scores, (0.0, 1.0))
        weights = np.append(self.weights, [self.weights.mean()] * 2)
        mean = np.average(scores, weights=weights)
        spread = np.average((scores - mean) ** 2, weights=weights)
        spread = max(float(spread), self.chance * (1 - self.chance))
        variance = spread * float((weights**2).sum()) * self.dependence
        return math.sqrt(variance) / float(weights.sum())


def guessing_p_value(tasks: Sequence[TaskScores]) -> float:
    """The probability that guessing scores as much as the model does, one-sided.

    Exact (the binomial's upper tail) for one task whose items are right or wrong and stand alone; a
    normal approximation for the mean over several tasks, each counting the same, for scores
    between, and for clusters.
    Where a guess gets nothing, one right answer shows that the model does more than guess.

    Args:
        tasks: one or more.
    """
    if all(task.chance == 0 and task.counted for task in tasks):
        return 0.0 if any(task.scores.any() for task in tasks) else 1.0
    if len(tasks) == 1 and tasks[0].counted and tasks[0].clusters is None:
        scores = tasks[0].scores
        return _binomial_tail(int(scores.sum()), len(scores), tasks[0].chance)
    excess = sum(task.mean - task.chance for task in tasks)
    error = math.sqrt(sum(task.error**2 for task in tasks) * _in_common(tasks))
    return 0.5 * math.erfc(excess / error / math.sqrt(2))


def _in_common(tasks: Sequence[TaskScores]) -> float:
    """By how much clusters that have items of several tasks raise the variance of the sum of the
    tasks' means, at least 1.
    """
    single = [(one.clusters.names, one.clusters.sums(one.off)) for one in tasks if one.clusters]
    if len(single) < 2:
        return 1.0
    names = Clusters.of(np.concatenate([names for names, _ in single]))
    return _ratio(names.sums(np.concatenate([sums for _, sums in single])), *(s for _, s in single))


def _ratio(together: FloatArray, *single: FloatArray) -> float:
    """How many times the squares of the others go into those of the first, at least 1."""
    apart = math.fsum(float((one**2).sum()) for one in single)
    return max(1.0, float((together**2).sum()) / apart) if apart else 1.0


def _binomial_tail(right: int, items: int, chance: float) -> float:
    """P(X >= right) of `items` draws; sums logarithms, so that no term overflows."""
    if right == 0:
        return 1.0
    log_p, log_q = math.log(chance), math.log1p(-chance)
    factorials = math.lgamma(items + 1)
    terms = [
        factorials
        - math.lgamma(k + 1)
        - math.lgamma(items - k + 1)
        + k * log_p
        + (items - k) * log_q
        for k in range(right, items + 1)
    ]
    return min(1.0, math.fsum(math.exp(term) for term in terms))
