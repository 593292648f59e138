r"""BIG-Bench Hard with chain of thought: 27 tasks of logic and language, three worked examples.

Source: Suzgun et al. 2022. Prompts, stop strings, extraction and scoring as in
EleutherAI/lm-evaluation-harness 0.4.13, tasks/bbh/cot_fewshot (group ``bbh_cot_fewshot``; its
``exact_match,get-answer``). The answer is what follows the first "the answer is " on its line, less
the line's last character (the full stop), and must be the target exactly: the paper's measure, with
its three examples.

One of lm-eval's stop strings is ``Q``, so the seven items of reasoning_about_colored_objects whose
target is "(Q)" cannot be answered right: generation ends before the letter. It is so here too.

Gold answers: the data has no worked solution of its items, so there is no text that the model was
asked for. Their likelihood is that of the bare target after the words that the examples give
before theirs ("So the answer is "); those words are scored with it, and are the same in every item.
It says how sure the model is of the answer without having thought, not how likely its own text is.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from bitloss.requests import Decoding
from bitloss.sandbox.base import Sandbox
from bitloss.tasks.base import Answer, Grade, HarnessTask, Item, Prompt, Task, TaskFacts, TaskItems
from bitloss.tasks.bbh_data import ANSWER, HUB, ITEMS, LICENSE, SOURCE, Subject, load_subjects
from bitloss.tasks.extraction import exact_match, find_answer

__all__ = ["BBH"]

_CUE = "So the answer is "

_FACTS = TaskFacts(
    name="bbh",
    capability="logic",
    metrics=("exact_match",),
    source=SOURCE,
    license=LICENSE,
    n_items=sum(ITEMS.values()),
    title="BIG-Bench Hard",
    hub=HUB,
    harness=HarnessTask(
        "bbh_cot_fewshot", 3.0, MappingProxyType({"exact_match": "exact_match,get-answer"})
    ),
    decoding=Decoding(
        max_new_tokens=1024,
        stop=("</s>", "Q", "\n\n"),
        # The first answer counts, and it ends with its line.
        decided=r"the answer is .+\n",
    ),
)


def _load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    loaded = load_subjects(_FACTS.name, data, shots)
    items = tuple(item for subject in loaded.subjects for item in _items(subject))
    return TaskItems(items, loaded.digest, loaded.source, loaded.notes)


def _items(subject: Subject) -> list[Item]:
    shots = tuple(
        f"{_question(example.question)}{example.reasoning}\n\n" for example in subject.examples
    )
    description = f"{subject.description}\n\n"
    return [
        Item(
            id=f"{subject.name}/{index}",
            prompt=Prompt(_question(row["input"]), shots, description),
            subject=subject.name,
            delimiter=_CUE,
            gold_answer=row["target"],
        )
        for index, row in enumerate(subject.items.rows)
    ]


def _question(text: str) -> str:
    return f"Q: {text}\nA: Let's think step by step.\n"


def _grade(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    (text,) = answer.texts
    if item.gold_answer is None:
        raise ValueError(f"item {item.id} has no right answer")
    found = find_answer(ANSWER, text)
    return Grade({"exact_match": float(exact_match(found, item.gold_answer))}, detail=found)


BBH = Task(_FACTS, _load, _grade)
