r"""GSM8K: grade-school word problems, solved step by step after five solved ones.

Source: Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems". Prompts, stop strings,
extraction and scoring as in EleutherAI/lm-evaluation-harness 0.4.13, tasks/gsm8k/gsm8k.yaml:

- Every question has five examples of its own, drawn from the training set with one
  ``random.Random(1234)`` that goes on from question to question (api/samplers.py, evaluator.py), so
  the first questions have the same prompts whether or not others follow.
- ``strict`` is lm-eval's ``exact_match,strict-match``: the first number after ``####``.
- ``flexible`` is lm-eval's ``exact_match,flexible-extract``: the last number in the text.

``strict`` is the score: the paper's rule, and what the Open LLM Leaderboard quotes (version 1, 5
shots). Both compare with the number behind ``####`` of the right answer, less commas, dollar signs
and a dot at the end. A text cannot be cut early without changing its last number, so nothing is
`decided` before a stop string.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from bitloss.datasets.published import PublishedTable, load_published
from bitloss.datasets.tables import HubTable, Table, combined_digest, damaged_row
from bitloss.requests import Decoding
from bitloss.sandbox.base import Sandbox
from bitloss.tasks.base import Answer, Grade, HarnessTask, Item, Prompt, Task, TaskFacts, TaskItems
from bitloss.tasks.extraction import exact_match, find_answer
from bitloss.tasks.rows import text_field
from bitloss.tasks.shots import require_shots, resolve_shots

__all__ = ["GSM8K"]

_SHOTS = 5
_SEED = 1234
_MARK = "#### "
_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_REMOVE = tuple(re.compile(rule) for rule in (",", r"\$", r"(?s).*#### ", r"\.$"))

_HUB = HubTable("openai/gsm8k", "main", "test")
_HARNESS = HarnessTask(
    "gsm8k",
    3.0,
    MappingProxyType(
        {"strict": "exact_match,strict-match", "flexible": "exact_match,flexible-extract"}
    ),
)
_FACTS = TaskFacts(
    name="gsm8k",
    capability="math",
    metrics=("strict", "flexible"),
    source="https://github.com/openai/grade-school-math",
    license="MIT",
    n_items=1319,
    title="GSM8K",
    hub=_HUB,
    harness=_HARNESS,
    # lm-eval sets no length here; 256 tokens is its default (models/huggingface.py).
    decoding=Decoding(max_new_tokens=256, stop=("Question:", "</s>", "<|im_end|>")),
)

_COLUMNS = ("question", "answer")
_TRAIN = PublishedTable(
    name="GSM8K train",
    file="gsm8k/train.jsonl",
    columns=_COLUMNS,
    rows=7473,
    hub=replace(_HUB, split="train"),
    digest="248c69371eddda47dd1b3d4ef7f6d76c95438a7bf35d26b5d8fa064c0634b42e",
    folders=("gsm8k",),
)
_TEST = PublishedTable(
    name="GSM8K test",
    file="gsm8k/test.jsonl",
    columns=_COLUMNS,
    rows=_FACTS.n_items,
    hub=_HUB,
    digest="05fb411eb1933f1e80cde6147b35708975916e8eb6fa29104ab9530fe7a32266",
    folders=("gsm8k",),
)


def _load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    count = resolve_shots(_FACTS.name, shots, _SHOTS)
    test, notes = load_published(data, _TEST)
    tables, examples = [test], list[str]()
    if count:
        train, more = load_published(data, _TRAIN)
        require_shots(_FACTS.name, count, len(train.rows))
        tables, notes = [test, train], notes + more
        examples = [_solved(train, index) for index in range(len(train.rows))]
    generator = random.Random(_SEED)
    items = tuple(
        Item(
            id=f"test/{index}",
            prompt=Prompt(_question(test, index), tuple(generator.sample(examples, count))),
            gold_answer=_answer(test, index),
        )
        for index in range(len(test.rows))
    )
    source = ", ".join(table.source for table in tables)
    return TaskItems(items, combined_digest(tables), source, notes)


def _solved(table: Table, index: int) -> str:
    return f"{_question(table, index)} {_answer(table, index)}\n\n"


def _question(table: Table, index: int) -> str:
    return f"Question: {text_field(table, index, 'question')}\nAnswer:"


def _answer(table: Table, index: int) -> str:
    answer = text_field(table, index, "answer")
    if _MARK not in answer:
        raise damaged_row(table, index, f"`{_MARK}` and a number in `answer`", "none")
    return answer


def _grade(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    (text,) = answer.texts
    if item.gold_answer is None:
        raise ValueError(f"item {item.id} has no right answer")
    found = {
        "strict": find_answer(_STRICT, text),
        "flexible": find_answer(_FLEXIBLE, text, select=-1),
    }
    scores = {
        metric: float(exact_match(number, item.gold_answer, remove=_REMOVE, ignore_case=True))
        for metric, number in found.items()
    }
    return Grade(scores, detail=", ".join(f"{metric}: {got}" for metric, got in found.items()))


GSM8K = Task(_FACTS, _load, _grade)
