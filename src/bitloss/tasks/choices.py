"""Grading of scored options, as lm-eval 0.4.13 does it (lm_eval/api/task.py, process_results).

- ``acc``: the option with the highest log-probability is the right one.
- ``acc_norm``: likewise, each log-probability divided by the option's length in characters
  (without the delimiter).
- Among equals the first option wins, as numpy's argmax has it.

AGIEval's own rule (lm_eval/tasks/agieval/utils.py, process_results_mcqa) is the same where there
is one right option.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bitloss.datasets.tables import Table, damaged_row
from bitloss.errors import NumericalError
from bitloss.sandbox.base import Sandbox
from bitloss.tasks.base import Answer, Grade, Item

__all__ = ["grade_acc", "grade_acc_norm", "grade_greedy", "require_options"]


def grade_acc(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """``acc`` of one item; the sandbox is not used.

    Raises:
        NumericalError: a log-probability is NaN or infinite.
    """
    best = _best(item, _checked(item, answer))
    return Grade({"acc": _hit(item, best)}, detail=_shown(item, best))


def grade_acc_norm(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """``acc`` and ``acc_norm`` of one item; the sandbox is not used.

    Raises:
        NumericalError: a log-probability is NaN or infinite.
    """
    logprobs = _checked(item, answer)
    best = _best(item, logprobs)
    norms = [logprob / len(option) for logprob, option in zip(logprobs, item.options, strict=True)]
    normed = _best(item, norms)
    scores = {"acc": _hit(item, best), "acc_norm": _hit(item, normed)}
    detail = _shown(item, best)
    if normed != best:
        detail = f"acc: {detail}; acc_norm: {_shown(item, normed)}"
    return Grade(scores, detail=detail)


def grade_greedy(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """``acc`` of an item with one option: greedy decoding would have written it (LAMBADA).

    Raises:
        NumericalError: the log-probability is NaN or infinite.
    """
    _checked(item, answer)
    return Grade({"acc": float(answer.greedy[0])})


def require_options(
    table: Table, index: int, options: Sequence[object], gold: int | None, shown: str
) -> int:
    """The gold index of a row, where the row can be scored.

    Args:
        table: that the row is of.
        index: of the row.
        options: its options.
        gold: the right one's index; None where the row names none.
        shown: what the row says is right, for the error.

    Raises:
        TaskDataError: fewer than two options, one that is empty or no text, or no right one.
    """
    if len(options) < 2 or not all(isinstance(option, str) and option for option in options):
        raise damaged_row(table, index, "two options or more, in text", repr(options)[:80])
    if gold is None or not 0 <= gold < len(options):
        raise damaged_row(table, index, f"the right one of {len(options)} options", shown)
    return gold


def _checked(item: Item, answer: Answer) -> Sequence[float]:
    if not len(item.options) == len(answer.logprobs) == len(answer.greedy):
        raise ValueError(
            f"item {item.id}: expected {len(item.options)} scores, got {len(answer.logprobs)} "
            f"log-probabilities and {len(answer.greedy)} greedy flags"
        )
    # argmax would take a NaN for the best option.
    if not all(math.isfinite(logprob) for logprob in answer.logprobs):
        raise NumericalError(
            f"item {item.id}: expected finite log-probabilities of its options, "
            f"got {', '.join(map(str, answer.logprobs))}",
            hint="score the model with --dtype fp32, or check its weights",
        )
    return answer.logprobs


def _best(item: Item, values: Sequence[float]) -> int:
    return max(range(len(item.options)), key=values.__getitem__)


def _hit(item: Item, chosen: int) -> float:
    return float(chosen == item.gold)


def _shown(item: Item, chosen: int) -> str:
    if item.option_prompts:
        return item.option_prompts[chosen].question
    return item.options[chosen]
