r"""BIG-Bench Hard without reasoning: the answer is scored right after the question.

Source: Suzgun et al. 2022. For 24 of the 27 tasks prompts, options and scoring are those of
EleutherAI/lm-evaluation-harness 0.4.13, tasks/leaderboard/bbh_mc (group ``leaderboard_bbh``, its
``acc_norm``, which the Open LLM Leaderboard quotes in version 2, rescaled so that guessing is 0),
down to the description that runs into the first "Q:" without a separator. Three tasks have no
options and are not in that group: dyck_languages, multistep_arithmetic_two and word_sorting. Their
items have the target as their only option, and count as right where greedy decoding would have
written it, under either metric. The group "leaderboard_bbh" has the 24 alone.

In three items the target is none of the options (a slip in splitting names at commas); nothing can
answer them right, here or in lm-eval.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bitloss.sandbox.base import Sandbox
from bitloss.tasks.base import (
    Answer,
    Grade,
    HarnessTask,
    Item,
    Prompt,
    Task,
    TaskFacts,
    TaskItems,
    unfiltered,
)
from bitloss.tasks.bbh_data import HUB, ITEMS, LICENSE, SOURCE, Subject, load_subjects
from bitloss.tasks.choices import grade_acc_norm, grade_greedy

__all__ = ["BBH_CHOICE"]


def _letters(n: int) -> tuple[str, ...]:
    return tuple(f"({letter})" for letter in "ABCDEFGHIJKLMNOPQR"[:n])


# `doc_to_choice` of the upstream files.
_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "boolean_expressions": ("False", "True"),
        "causal_judgement": ("Yes", "No"),
        "date_understanding": _letters(6),
        "disambiguation_qa": _letters(3),
        "formal_fallacies": ("valid", "invalid"),
        "geometric_shapes": _letters(11),
        "hyperbaton": _letters(2),
        "logical_deduction_five_objects": _letters(5),
        "logical_deduction_seven_objects": _letters(7),
        "logical_deduction_three_objects": _letters(3),
        "movie_recommendation": _letters(6),
        "navigate": ("Yes", "No"),
        "object_counting": tuple(str(number) for number in range(19)),
        "penguins_in_a_table": _letters(5),
        "reasoning_about_colored_objects": _letters(18),
        "ruin_names": _letters(6),
        "salient_translation_error_detection": _letters(6),
        "snarks": _letters(2),
        "sports_understanding": ("yes", "no"),
        "temporal_sequences": _letters(4),
        "tracking_shuffled_objects_five_objects": _letters(5),
        "tracking_shuffled_objects_seven_objects": _letters(7),
        "tracking_shuffled_objects_three_objects": _letters(3),
        "web_of_lies": ("Yes", "No"),
    }
)

_METRICS = ("acc_norm", "acc")
_FACTS = TaskFacts(
    name="bbh_choice",
    capability="logic",
    metrics=_METRICS,
    source=SOURCE,
    license=LICENSE,
    n_items=sum(ITEMS.values()),
    title="BIG-Bench Hard, options",
    hub=HUB,
    harness=HarnessTask("leaderboard_bbh", 1.0, unfiltered("acc_norm"), group="leaderboard_bbh"),
    chance=sum(ITEMS[name] / len(options) for name, options in _OPTIONS.items())
    / sum(ITEMS.values()),
    groups=MappingProxyType(
        {name: "leaderboard_bbh" if name in _OPTIONS else "greedy match" for name in ITEMS}
    ),
)


def _load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    loaded = load_subjects(_FACTS.name, data, shots)
    items = tuple(item for subject in loaded.subjects for item in _items(subject))
    unanswerable = sum(item.gold is None for item in items)
    notes = loaded.notes
    if unanswerable:
        notes += (f"{unanswerable} items cannot be answered: their target is not an option",)
    return TaskItems(items, loaded.digest, loaded.source, notes)


def _items(subject: Subject) -> list[Item]:
    shots = tuple(
        f"{_question(example.question)} {example.answer}\n\n" for example in subject.examples
    )
    items = []
    for index, row in enumerate(subject.items.rows):
        target = row["target"]
        options = _OPTIONS.get(subject.name, (target,))
        items.append(
            Item(
                id=f"{subject.name}/{index}",
                prompt=Prompt(_question(row["input"]), shots, subject.description),
                subject=subject.name,
                options=options,
                gold=options.index(target) if target in options else None,
            )
        )
    return items


def _question(text: str) -> str:
    return f"Q: {text}\nA:"


def _grade(item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    if item.subject in _OPTIONS:
        return grade_acc_norm(item, answer, sandbox)
    (right,) = grade_greedy(item, answer, sandbox).scores.values()
    return Grade(dict.fromkeys(_METRICS, right))


BBH_CHOICE = Task(_FACTS, _load, _grade)
