"""The harness's metrics: which are means over items, what an answer scores, and the others.

bitloss compares models item by item, so a score has to be a mean of numbers from 0 to 1. Which of a
task's metrics are is found by trying: made-up answers are graded before a model is loaded, and each
metric's own aggregation is asked for the mean of some numbers. What is no such mean (a perplexity,
a correlation, BLEU) is one number over all items, made by the harness's own aggregation.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bitloss.errors import TaskDataError
from bitloss.sandbox.base import Sandbox
from bitloss.tasks.base import Answer, Grade, Item
from bitloss.tasks.lm_eval.harness import silenced, translated
from bitloss.tasks.lm_eval.items import Kind
from bitloss.tasks.lm_eval.requests import Asked

__all__ = ["AGREEMENT", "BYTE_PROBABILITY", "Metrics", "find_metrics"]

BYTE_PROBABILITY = "byte_probability"
"""Of texts that are read by themselves: the geometric mean of the probabilities of a text's bytes,
each text counting with its bytes. ``bits_per_byte`` is minus the logarithm of such a mean."""
AGREEMENT = "agreement"
"""Where the harness only has a number over all pairs of right and predicted label (F1, Matthews's
correlation): whether the two are the same."""

_NUMBERS = [0.0, 1.0, 1.0, 0.25]
_LISTS = [[True], [False, False, True]]


@dataclass(frozen=True, slots=True)
class Metrics:
    """A task's metrics.

    Attributes:
        scores: means over the items, the task's own score first, by the harness's ``metric,filter``
            without a filter ``none``.
        pairs: the metric whose pairs `AGREEMENT` is made of; ``""`` where there is no such score.
        totals: numbers over all items.
        lock: a task's own code runs in one thread at a time.
    """

    scores: tuple[str, ...]
    pairs: str = ""
    totals: tuple[str, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)

    def grade(self, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
        """Grade an answer by the harness's own code.

        Raises:
            TaskDataError: the task's code fails, or a score is no number from 0 to 1.
        """
        del sandbox
        asked: Asked = item.data["asked"]
        with self.lock, translated(asked.task.task_name, "grade an answer to"):
            found, shown = _results(asked, _responses(asked, answer))
        scores, weights = {}, {}
        for metric in self.scores:
            if metric == BYTE_PROBABILITY:
                weights[metric] = float(len(item.options[0].encode()))
                scores[metric] = math.exp(answer.logprobs[0] / weights[metric])
            elif metric == AGREEMENT:
                gold, predicted = _pair(found.get(self.pairs)) or (0, math.nan)
                scores[metric] = float(gold == predicted)
            else:
                scores[metric], weights[metric] = _score(item, metric, found.get(metric))
        return Grade(scores, weights, detail=_detail(item, answer, shown))

    def total(self, items: Sequence[Item], answers: Sequence[Answer]) -> dict[str, float]:
        """The numbers over all items, by the harness's own aggregation; those that are none are
        left out.
        """
        values: dict[str, list[Any]] = {}
        for item, answer in zip(items, answers, strict=True):
            asked: Asked = item.data["asked"]
            with self.lock, translated(asked.task.task_name, "grade an answer to"):
                found, _ = _results(asked, _responses(asked, answer))
            for name in self.totals:
                if name in found:
                    values.setdefault(name, []).append(found[name])
        numbers = {}
        for name, own in values.items():
            task = items[0].data["asked"].task
            with self.lock, silenced(), translated(task.task_name, "grade the answers to"):
                number = _aggregated(task, name, own)
            if number is not None:
                numbers[name] = number
        return numbers


def find_metrics(name: str, asked: Sequence[Asked], kind: Kind) -> Metrics:
    """Which metrics a task has, from made-up answers to its first document.

    Args:
        name: of the task, for errors.
        asked: some documents.
        kind: what they ask.

    Raises:
        TaskDataError: the task's code grades no made-up answer, or none of its metrics is a mean of
            numbers from 0 to 1.
    """
    tried = _try(name, asked[0], kind)
    task = asked[0].task
    better = task.higher_is_better() or {}
    scores, totals, pairs = [], [], ""
    for key in dict.fromkeys(key for found in tried for key in found):
        values = [found[key] for found in tried if key in found]
        if better.get(key.partition(",")[0], True) and _is_mean(task, key, values):
            scores.append(key)
            continue
        if _aggregated(task, key, values) is not None:
            totals.append(key)
        if not pairs and all(_pair(value) is not None for value in values):
            pairs = key
    if kind.request == "loglikelihood_rolling":
        scores.insert(0, BYTE_PROBABILITY)
    elif not scores and pairs:
        scores.append(AGREEMENT)
    if not scores:
        keys = dict.fromkeys(key for found in tried for key in found)
        words = ", ".join(f"`{key}`: {_shown(tried, key)}" for key in keys)
        raise TaskDataError(
            f"expected a metric of task `lm-eval:{name}` that is a mean over documents of numbers "
            f"from 0 to 1, got {words or 'no metrics'}",
            hint="leave the task out: models are compared document by document",
        )
    return Metrics(tuple(scores), pairs if AGREEMENT in scores else "", tuple(totals))


def _try(name: str, asked: Asked, kind: Kind) -> list[dict[str, Any]]:
    """What the task's code makes of made-up answers: as many as it does not fail for."""
    n = len(asked.requests)
    if kind.decoding is None:
        falling = tuple(-1.0 - at for at in range(n))
        made_up = [
            Answer(falling, (True,) + (False,) * (n - 1)),
            Answer(falling[::-1], (False,) * n),
        ]
    else:
        target = asked.task.doc_to_target(asked.doc)
        right = target if isinstance(target, str) else str(target)
        made_up = [Answer(texts=(text,) * kind.repeats) for text in ("", right)]
    found, first = [], None
    for answer in made_up:
        try:
            found.append(_results(asked, _responses(asked, answer))[0])
        except ImportError:
            raise
        except Exception as error:  # a task's own code
            first = first or error
    if not found:
        assert first is not None
        raise TaskDataError(
            f"task `lm-eval:{name}` grades no answer: {type(first).__name__}: {first}",
            hint="check `process_results` and `metric_list` of the task file",
        ) from first
    return found


def _responses(asked: Asked, answer: Answer) -> list[list[Any]]:
    """An answer as the harness has it: of each request, its responses."""
    if answer.texts:
        return [list(answer.texts)]
    values: list[Any] = list(zip(answer.logprobs, answer.greedy, strict=True))
    if asked.requests[0].request_type == "loglikelihood_rolling":
        values = list(answer.logprobs)
    return [
        [value] * int(request.repeats or 1)
        for request, value in zip(asked.requests, values, strict=True)
    ]


def _results(asked: Asked, responses: Sequence[Sequence[Any]]) -> tuple[dict[str, Any], str]:
    """The harness's metrics of one document, and what its first filter made of the answer."""
    requests = [
        replace(request, resps=list(own), filtered_resps={})
        for request, own in zip(asked.requests, responses, strict=True)
    ]
    for ensemble in asked.task._filters:
        ensemble.apply(requests)
    found: dict[str, Any] = {}
    for name in requests[0].filtered_resps:
        filtered = [request.filtered_resps[name] for request in requests]
        for metric, value in asked.task.process_results(asked.doc, filtered).items():
            found[metric if name == "none" else f"{metric},{name}"] = value
    shown = next(iter(requests[0].filtered_resps.values()), "")
    return found, shown if isinstance(shown, str) else ""


def _aggregation(task: Any, key: str) -> Callable[[Sequence[Any]], Any]:
    own: Callable[[Sequence[Any]], Any] | None = task.aggregation().get(key.partition(",")[0])
    return own or (lambda values: sum(values) / len(values))  # as the harness does


def _aggregated(task: Any, key: str, values: Sequence[Any]) -> float | None:
    """The harness's number over all items; None where its code makes none of them: a perplexity
    beyond all floats, a mean of texts.
    """
    try:
        return _as_number(_aggregation(task, key)(list(values)))
    except ImportError:
        raise
    except Exception:  # an aggregation may hold any code
        return None


def _is_mean(task: Any, key: str, values: Sequence[Any]) -> bool:
    """Whether a metric is a mean of numbers from 0 to 1, or of lists of them taken together."""
    aggregate = _aggregation(task, key)
    lists = all(isinstance(value, list | tuple) for value in values)
    sample: list[Any] = _LISTS if lists else _NUMBERS
    flat = [float(one) for value in sample for one in (value if lists else [value])]
    try:
        if not math.isclose(float(aggregate(sample)), sum(flat) / len(flat)):
            return False
    except Exception:  # an aggregation of something else
        return False
    if lists:
        return all(value and all(_in_range(one) for one in value) for value in values)
    return all(_in_range(value) for value in values)


def _in_range(value: Any) -> bool:
    number = _as_number(value)
    return number is not None and 0 <= number <= 1


def _as_number(value: Any) -> float | None:
    if not isinstance(value, bool | int | float | np.number | np.bool_):
        return None
    return float(value) if math.isfinite(float(value)) else None


def _score(item: Item, metric: str, value: Any) -> tuple[float, float]:
    """A score and how often it counts; of a list, as often as it is long."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values or not all(_in_range(one) for one in values):
        raise TaskDataError(
            f"{item.id}: expected metric `{metric}` of lm-eval to be a number from 0 to 1, got "
            f"{value!r:.80}",
            hint="leave the task out, or correct its `process_results`",
        )
    return sum(map(float, values)) / len(values), float(len(values))


def _pair(value: Any) -> tuple[int, int] | None:
    """A right and a predicted label."""
    if not isinstance(value, tuple) or len(value) != 2:
        return None
    if not all(isinstance(one, int | np.integer) for one in value):
        return None
    return int(value[0]), int(value[1])


def _detail(item: Item, answer: Answer, shown: str) -> str:
    if answer.texts:
        return shown
    if len(item.options) < 2:
        return ""
    best = int(np.argmax(answer.logprobs))
    return item.option_prompts[best].question if item.option_prompts else item.options[best]


def _shown(tried: Sequence[Mapping[str, Any]], key: str) -> str:
    return next(f"{found[key]!r:.60}" for found in tried if key in found)
