"""What people are shown of a task: its questions, and models' answers in words.

Kept beside the scores, so that a report can be made without the task's data or a model. A task's
questions are one record:

item       which item
question   the item's own text: the prompt without description and solved examples
options    to choose from, as a JSON list; ``[]`` where text is generated
gold       the right answer; empty where there is none, or only a rule that tells right from wrong
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from bitloss.requests import Generated
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.records import WindowScores, option_scale
from bitloss.spec.fingerprint import fingerprint
from bitloss.tasks.base import Item

__all__ = ["chosen_options", "first_texts", "keep_questions"]


def keep_questions(store: RunStore, planned: PlannedTask) -> str:
    """Write a task's questions where they are not there yet.

    Returns:
        The fingerprint of their record.

    Raises:
        StorageError: the run directory cannot be written.
    """
    items = [question.item for question in planned.questions]
    columns = {
        "item": [item.id for item in items],
        "question": [item.prompt.question for item in items],
        "options": [json.dumps(_options(item), ensure_ascii=False) for item in items],
        "gold": [_gold(item) for item in items],
    }
    # Of what is in it: the same data may be asked with other prompts.
    key = fingerprint({"kind": "questions", "columns": columns})
    if not store.has_records(key):
        store.write_records(key, columns)
    return key


def first_texts(texts: Sequence[Sequence[Generated]]) -> list[str]:
    """Of each question the first text; empty where it was not asked."""
    return [own[0].text if own else "" for own in texts]


def chosen_options(planned: PlannedTask, own: Sequence[range], scores: WindowScores) -> list[str]:
    """Of each question the option that the task's score takes, the first one among equals: the
    likeliest, or the likeliest per character.

    Of a single option it is only known whether the model would have written it: the answer is
    empty where not, as it is where a question was not asked.

    Args:
        planned: a task whose options are scored.
        own: by question, indices of its windows among `scores`.
        scores: of the task's windows.
    """
    answers = []
    for question, span in zip(planned.questions, own, strict=True):
        options = _options(question.item)
        if not span:
            answers.append("")
        elif len(options) == 1:
            answers.append(options[0] if scores.greedy[span.start] else "")
        else:
            logprobs = scores.logprob[span.start : span.stop]
            scaled = logprobs * option_scale(planned, question.item)
            answers.append(options[int(np.argmax(scaled))])
    return answers


def _options(item: Item) -> list[str]:
    if not item.option_prompts:
        return list(item.options)
    # They differ in what stands before them, and may be alike themselves.
    return [
        f"{prompt.question}{item.delimiter}{option}"
        for prompt, option in zip(item.option_prompts, item.options, strict=True)
    ]


def _gold(item: Item) -> str:
    if item.options:
        return "" if item.gold is None else _options(item)[item.gold]
    return item.gold_answer or ""
