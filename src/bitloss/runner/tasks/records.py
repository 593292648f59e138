"""What is kept of a model's answers to a task: a row an item, in the order of the questions.

item, subject    which item
cluster          name of what it shares with others; its own where it stands alone
asked            whether it fitted the context; all below is empty where not
detail           the chosen option, the extracted answer, why a program failed
answer           in words: the option that the score takes, or the first text that was generated
answer_tokens    tokens of its answers, their ends included; this and the next four are means over
                 its texts, and empty where nothing was generated
thinking_tokens  tokens of thinking before them
cut_off          share of its texts that ended because their tokens were spent
unanswered       share whose thinking did not end
loops            share that was cut off while it repeated itself
score:<metric>   0 to 1
weight:<metric>  how often the item counts
gold_tokens      tokens of the right option or gold answer; 0 where it could not be scored
gold_nll         their summed negative log-likelihood, nats
gold_kl          their summed divergence from the reference, nats; 0 for the reference itself; this
                 and the next two are NaN where only likely tokens of the model are known
gold_overlap     probability that the whole gold answer comes out of both models alike: the product
                 of its tokens' overlaps; 1 for the reference itself
gold_affinity    likewise the product of 1 - hellinger
right            probability of the right options among the options; empty where none are scored.
                 Where the score takes log-probabilities per character, so does this, times the
                 options' mean length
same_option      probability that both models choose the same option: the overlap of their
                 distributions over the options; 1 for the reference itself
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.metrics.repetition import ends_in_loop
from bitloss.requests import Generated
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.tasks.base import Grade, Item

__all__ = [
    "LIKELY_SCORES",
    "PAIR_SCORES",
    "REFERENCE_SCORES",
    "WRITING",
    "WindowScores",
    "empty_columns",
    "grade_columns",
    "is_normalized",
    "item_columns",
    "option_scale",
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
        overlap: product of the tokens' overlaps with the reference.
        affinity: product of 1 - hellinger.
        reference_logprob: the reference's `logprob`.
    """

    logprob: NDArray[np.float64]
    greedy: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    divergence: NDArray[np.float64]
    overlap: NDArray[np.float64]
    affinity: NDArray[np.float64]
    reference_logprob: NDArray[np.float64]

    def between(self, start: int, stop: int) -> WindowScores:
        """Those of some neighbouring windows."""
        return WindowScores(*(getattr(self, name)[start:stop] for name in self.__slots__))


REFERENCE_SCORES = ("window", "nll", "greedy")
LIKELY_SCORES = (*REFERENCE_SCORES, "reference_nll")
PAIR_SCORES = (*LIKELY_SCORES, "kl_divergence", "overlap", "hellinger")


def window_scores(columns: Mapping[str, NDArray[Any]], windows: int) -> WindowScores:
    """Sum token records by window.

    Args:
        columns: `REFERENCE_SCORES` of the reference, which is equal to itself; else `PAIR_SCORES`,
            or `LIKELY_SCORES` where what is between the two is not known.
        windows: how many there are.
    """
    index = columns["window"]
    is_reference = "reference_nll" not in columns
    nothing = np.full(len(index), 0.0 if is_reference else math.nan, dtype=np.float32)

    def sums(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(index, weights=values, minlength=windows).astype(np.float64)

    def product(values: NDArray[np.float32]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):  # two distributions may have nothing in common
            return np.exp(sums(np.log(np.clip(values, 0, 1, dtype=np.float64))))

    return WindowScores(
        logprob=-sums(columns["nll"]),
        greedy=sums(~columns["greedy"]) == 0,
        tokens=np.bincount(index, minlength=windows).astype(np.int64),
        divergence=sums(columns.get("kl_divergence", nothing)),
        overlap=product(columns.get("overlap", nothing + 1)),
        affinity=product(1 - columns.get("hellinger", nothing)),
        reference_logprob=-sums(columns.get("reference_nll", columns["nll"])),
    )


def empty_columns(names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Token records of nothing."""
    kinds = {"window": np.int32, "greedy": np.bool_}
    return {name: np.zeros(0, dtype=kinds.get(name, np.float32)) for name in names}


def item_columns(
    planned: PlannedTask,
    grades: Sequence[Grade | None],
    gold: Sequence[range],
    scores: WindowScores,
    options: Sequence[range],
    answers: Sequence[str],
    texts: Sequence[Sequence[Generated]] = (),
) -> dict[str, list[Any]]:
    """The columns of a task's records for one model.

    Args:
        planned: the task.
        grades: one a question; None where it was not asked.
        gold: by question, indices of the windows of its gold answer among `scores`; empty ranges
            where there is none.
        scores: of the task's windows.
        options: by question, indices of its options' windows among `scores`; empty ranges where no
            options are scored.
        answers: one a question, in words.
        texts: one a question, what was generated; empty where options are scored.
    """
    return {
        "item": [question.item.id for question in planned.questions],
        "subject": [question.item.subject for question in planned.questions],
        "cluster": [question.item.belongs_to for question in planned.questions],
        "gold_tokens": [int(scores.tokens[at.start : at.stop].sum()) for at in gold],
        "gold_nll": [-_over(np.sum, scores.logprob, at) for at in gold],
        "gold_kl": [_over(np.sum, scores.divergence, at) for at in gold],
        "gold_overlap": [_over(np.prod, scores.overlap, at) for at in gold],
        "gold_affinity": [_over(np.prod, scores.affinity, at) for at in gold],
        **_choice_columns(planned, scores, options),
        **grade_columns(planned, grades),
        "answer": list(answers),
        **_writing_columns(texts or [()] * len(planned.questions)),
    }


def _over(
    put_together: Callable[[NDArray[np.float64]], Any], values: NDArray[np.float64], at: range
) -> float:
    """Over the windows of one answer; NaN where there are none."""
    return float(put_together(values[at.start : at.stop])) if at else math.nan


WRITING = ("answer_tokens", "thinking_tokens", "cut_off", "unanswered", "loops")
"""The columns that tell of generated texts."""


def _writing_columns(texts: Sequence[Sequence[Generated]]) -> dict[str, list[float]]:
    rows = [
        [
            (
                float(text.n_tokens - text.n_thinking),
                float(text.n_thinking),
                float(text.reason == "length"),
                float(not text.answered),
                float(text.reason == "length" and ends_in_loop(text.text or text.thinking)),
            )
            for text in own
        ]
        for own in texts
    ]
    means = [np.mean(own, axis=0) if own else np.full(len(WRITING), math.nan) for own in rows]
    return {name: [float(mean[at]) for mean in means] for at, name in enumerate(WRITING)}


def _choice_columns(
    planned: PlannedTask, scores: WindowScores, options: Sequence[range]
) -> dict[str, list[float]]:
    """The columns that tell of a choice among options."""
    right, same = [], []
    for question, span in zip(planned.questions, options, strict=True):
        gold = question.item.gold
        if len(question.item.options) < 2 or not span or gold is None:
            right.append(math.nan)
            same.append(math.nan)
            continue
        part = slice(span.start, span.stop)
        scale = option_scale(planned, question.item)
        own = _shares(scores.logprob[part] * scale)
        reference = _shares(scores.reference_logprob[part] * scale)
        right.append(float(own[[gold, *question.item.also_right]].sum()))
        same.append(1.0 - float(np.maximum(reference - own, 0).sum()))
    return {"right": right, "same_option": same}


def is_normalized(planned: PlannedTask) -> bool:
    """Whether the task's score takes the option that is likeliest per character."""
    return planned.task.facts.metrics[0] == "acc_norm"


def option_scale(planned: PlannedTask, item: Item) -> NDArray[np.float64]:
    """What the options' log-probabilities are multiplied by, so that the likeliest is the one that
    the task's score takes (`bitloss.tasks.choices`).
    """
    lengths = np.array([len(option) for option in item.options], dtype=np.float64)
    return lengths.mean() / lengths if is_normalized(planned) else np.ones_like(lengths)


def _shares(logprobs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of the options if one of them has to be chosen."""
    weights = np.exp(logprobs - logprobs.max())
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


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
