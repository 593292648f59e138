"""What is kept of a model's answers to a task: a row an item, in the order of the questions.

item, subject    which item
asked            whether it fitted the context; all below is empty where not
detail           the chosen option, the extracted answer, why a program failed
answer           in words: the likeliest option, or the first text that was generated
score:<metric>   0 to 1
weight:<metric>  how often the item counts
gold_tokens      tokens of the right option or gold answer; 0 where it could not be scored
gold_nll         their summed negative log-likelihood, nats
gold_kl          their summed divergence from the reference, nats; 0 for the reference itself
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.tasks.base import Grade

__all__ = [
    "WindowScores",
    "empty_columns",
    "grade_columns",
    "item_columns",
    "read_grades",
    "window_scores",
]


@dataclass(frozen=True, slots=True)
class WindowScores:
    """Sums over each window's scored tokens; arrays of shape ``[windows]``.

    Attributes:
        logprob: natural log of the probability of all of them.
        greedy: whether each is the model's most likely token.
        tokens: how many.
        divergence: summed KL divergence from the reference.
    """

    logprob: NDArray[np.float64]
    greedy: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    divergence: NDArray[np.float64]

    def between(self, start: int, stop: int) -> WindowScores:
        """Those of some neighbouring windows."""
        part = slice(start, stop)
        return WindowScores(
            self.logprob[part], self.greedy[part], self.tokens[part], self.divergence[part]
        )


def window_scores(columns: Mapping[str, NDArray[Any]], windows: int) -> WindowScores:
    """Sum token records by window.

    Args:
        columns: ``window``, ``nll``, ``greedy`` and, but for the reference, ``kl_divergence``.
        windows: how many there are.
    """
    index = columns["window"]
    divergence = columns.get("kl_divergence", np.zeros(len(index), dtype=np.float32))

    def sums(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(index, weights=values, minlength=windows).astype(np.float64)

    return WindowScores(
        logprob=-sums(columns["nll"]),
        greedy=sums(~columns["greedy"]) == 0,
        tokens=np.bincount(index, minlength=windows).astype(np.int64),
        divergence=sums(divergence),
    )


def empty_columns(names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Token records of nothing."""
    kinds = {"window": np.int32, "greedy": np.bool_}
    return {name: np.zeros(0, dtype=kinds.get(name, np.float32)) for name in names}


def item_columns(
    planned: PlannedTask,
    grades: Sequence[Grade | None],
    gold: Sequence[int | None],
    scores: WindowScores,
    answers: Sequence[str],
) -> dict[str, list[Any]]:
    """The columns of a task's records for one model.

    Args:
        planned: the task.
        grades: one a question; None where it was not asked.
        gold: index of each question's gold window among `scores`; None where there is none.
        scores: of the task's windows.
        answers: one a question, in words.
    """
    nan = math.nan
    return {
        "item": [question.item.id for question in planned.questions],
        "subject": [question.item.subject for question in planned.questions],
        "gold_tokens": [0 if at is None else int(scores.tokens[at]) for at in gold],
        "gold_nll": [nan if at is None else -float(scores.logprob[at]) for at in gold],
        "gold_kl": [nan if at is None else float(scores.divergence[at]) for at in gold],
        **grade_columns(planned, grades),
        "answer": list(answers),
    }


def grade_columns(planned: PlannedTask, grades: Sequence[Grade | None]) -> dict[str, list[Any]]:
    """The columns that tell of grades alone; None is a question that was not asked."""
    columns: dict[str, list[Any]] = {
        "asked": [grade is not None for grade in grades],
        "detail": ["" if grade is None else grade.detail for grade in grades],
    }
    for metric in planned.task.facts.metrics:
        columns[f"score:{metric}"] = [
            math.nan if grade is None else float(grade.scores[metric]) for grade in grades
        ]
        columns[f"weight:{metric}"] = [
            0.0 if grade is None else float(grade.weights.get(metric, 1.0)) for grade in grades
        ]
    return columns


def read_grades(store: RunStore, key: str, planned: PlannedTask) -> dict[int, Grade]:
    """By question, the grades kept as `grade_columns`.

    Raises:
        StorageError: the file is damaged.
    """
    metrics = planned.task.facts.metrics
    names = [f"{part}:{metric}" for part in ("score", "weight") for metric in metrics]
    columns = store.read_records([key], ("asked", "detail", *names))
    return {
        index: Grade(
            scores={metric: float(columns[f"score:{metric}"][index]) for metric in metrics},
            weights={metric: float(columns[f"weight:{metric}"][index]) for metric in metrics},
            detail=str(columns["detail"][index]),
        )
        for index in range(len(planned.questions))
        if columns["asked"][index]
    }
