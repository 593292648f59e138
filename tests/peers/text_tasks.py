"""A task that generates text, made by hand: no data, no tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bitloss.requests import Decoding
from bitloss.runner.tasks.plan import PlannedTask, Question
from bitloss.sandbox.base import Sandbox
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Answer, Grade, Item, Prompt, Task, TaskFacts, TaskItems

__all__ = ["even_is_right", "planned_task"]

GradeFunction = Callable[[Item, Answer, Sandbox], Grade]


def even_is_right(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """Right where the first text begins with an even number."""
    right = int(answer.texts[0].split("/")[0]) % 2 == 0
    return Grade({"acc": float(right)}, {"acc": 2.0}, detail=answer.texts[-1])


def planned_task(
    grade: GradeFunction = even_is_right,
    *,
    name: str = "t",
    n: int = 5,
    samples: int = 2,
    left_out: int = 3,
    decoding: Decoding | None = None,
) -> PlannedTask:
    """Questions ``t/0``, ``t/1`` ... whose prompts are a token, their index.

    Args:
        grade: the task's rule.
        name: of the task.
        n: questions.
        samples: texts for each.
        left_out: index of the question that does not fit the context.
        decoding: None is four tokens, drawn at random if there are several samples.
    """
    decoding = decoding or Decoding(4, temperature=0.5 if samples > 1 else 0.0)
    facts = TaskFacts(name, "math", ("acc",), "", "", n, decoding=decoding, samples=samples)
    questions = tuple(
        Question(
            item=Item(f"t/{index}", Prompt("?")),
            windows=(),
            prompt=None if index == left_out else np.array([index], np.int32),
            shots_left_out=0,
            spans_boundary=False,
        )
        for index in range(n)
    )
    task = Task(facts, lambda data, *, shots=None: TaskItems((), "", ""), grade)
    return PlannedTask(task, TaskChoice(name=name), questions, n, "digest", "", (), 0)
