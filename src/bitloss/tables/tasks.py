"""Tasks as tables: one row per capability and model, then one per task and model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.analysis.near_floor import answers_near_floor, is_near_floor
from bitloss.analysis.nothing_to_lose import both_score_nothing
from bitloss.results.tasks import CapabilityResult, Flips, ReferenceTask, VariantTask
from bitloss.tables.text_table import Cell, TextTable
from bitloss.tables.texts import text_tables

if TYPE_CHECKING:
    from bitloss.results.comparison import Comparison

__all__ = [
    "EXPECTED_CHANGE",
    "NOTHING",
    "TASK_P_VALUES",
    "ability_notes",
    "conditions",
    "second_metric",
    "task_notes",
    "task_tables",
]

_SCORES = {"score": "score", "change": "change", "flips": "flips -/+"}

NOTHING = "not measurable"
"""In place of a change where the reference has nothing to lose."""
P_VALUES = (
    "p: exact McNemar test of the flips, adjusted for all variants and capabilities (Holm); "
    "intervals are not adjusted"
)
TASK_P_VALUES = "p: exact McNemar test of the flips of this task alone, not adjusted"
EXPECTED_CHANGE = (
    "expected: the change of the expected score, the probability of the right answer, where that "
    "stands for the score and decides"
)

_MEAN_P = "p of a mean over replicates, which has no flips: of its interval, over items and seeds"


_STOPPED = {
    "decided": "decided",
    "not needed": "the recommendation does not depend on it",
    "end": "not decided",
}


def task_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """The tables of a comparison's tasks; none if no task was run."""
    if not comparison.reference.tasks:
        return ()
    tables = [_tasks(comparison, comparison.reference.tasks)]
    if any(variant.capabilities for variant in comparison.variants):
        tables.insert(0, _capabilities(comparison))
    return (*tables, *text_tables(comparison))


def _capabilities(comparison: Comparison) -> TextTable:
    rows: list[dict[str, Cell]] = []
    answered = [v for v in comparison.variants if v.capabilities]
    names = comparison.short_names
    for name in dict.fromkeys(name for v in answered for name in v.capabilities or ()):
        first = next(
            v.capabilities[name] for v in answered if v.capabilities and name in v.capabilities
        )
        rows.append(
            {
                "capability": name,
                "model": "reference",
                "score": fmt.share(first.reference_score),
            }
        )
        for variant in answered:
            result = (variant.capabilities or {}).get(name)
            if result is None:
                continue
            rows.append(
                {
                    "model": names[variant.name],
                    "score": fmt.share(result.score),
                    "flips": _flips(result.flips),
                    **_loss(result, told=name not in variant.not_measurable),
                }
            )
    return TextTable(
        title="capabilities: means of their tasks",
        columns={
            "capability": "capability",
            "model": "model",
            "score": "score",
            "change": "change",
            **({"expected": "expected"} if any(row.get("expected") for row in rows) else {}),
            "flips": "flips -/+",
            "p": "p",
        },
        rows=tuple(rows),
        notes=(
            "change: in percentage points; flips: right to wrong / wrong to right",
            *((EXPECTED_CHANGE,) if any(row.get("expected") for row in rows) else ()),
            P_VALUES,
            *((_MEAN_P,) * any(variant.replicates for variant in comparison.variants)),
            *ability_notes(comparison),
        ),
        left=("capability", "model"),
        wrapped=("capability",),
        dropped_first=("p",),
    )


def _loss(result: CapabilityResult, *, told: bool) -> dict[str, Cell]:
    if not told:
        return {"change": NOTHING, "p": fmt.MISSING}
    expected = result.expected_difference
    return {
        "change": fmt.points_interval(result.difference),
        "expected": "" if expected is None else fmt.points_interval(expected),
        "p": fmt.p_value(result.p_value),
    }


def ability_notes(comparison: Comparison) -> tuple[str, ...]:
    """Why losses of some capabilities are not told; nothing if all are."""
    names = dict.fromkeys(name for v in comparison.variants for name in v.not_measurable)
    known = comparison.reference.abilities or {}
    guesses = [
        f"{name} {fmt.share(known[name].score)} (guessing {fmt.share(known[name].chance)})"
        for name in names
        if name in known
    ]
    if not guesses:
        return ()
    return (
        "not measurable: the reference is not shown to do better than guessing, or by no more "
        f"than the margin: {', '.join(guesses)}",
    )


def _tasks(comparison: Comparison, references: dict[str, ReferenceTask]) -> TextTable:
    rows: list[dict[str, Cell]] = []
    names = comparison.short_names
    for name, task in references.items():
        rows.append(
            {
                "task": name,
                "model": "reference",
                "conditions": conditions(task),
                "items": _items(task),
                "score": fmt.share(task.score.value),
                "second": _second(task),
            }
        )
        for variant in comparison.variants:
            result = (variant.tasks or {}).get(name)
            if result is not None:
                rows.append({"model": names[variant.name], **_results(result)})
    return TextTable(
        title="tasks: " + ", ".join(dict.fromkeys(task.dtype for task in references.values())),
        columns={
            "task": "task",
            "model": "model",
            "conditions": "conditions",
            "items": "items",
            "score": "score",
            **({"second": "also"} if any(row.get("second") for row in rows) else {}),
            **{key: title for key, title in _SCORES.items() if key != "score"},
            "divergence": "gold KLD",
            "p": "p",
        },
        rows=tuple(rows),
        notes=(
            "gold KLD: divergence from the reference on the gold answers, nats per token",
            TASK_P_VALUES,
            *task_notes(comparison),
        ),
        left=("task", "model", "conditions"),
        wrapped=("conditions", "second"),
        dropped_first=("p", "second", "items", "conditions"),
    )


def task_notes(comparison: Comparison) -> tuple[str, ...]:
    """What a reader of the tasks' scores should know."""
    notes = [
        f"{name}: {note}"
        for name, task in (comparison.reference.tasks or {}).items()
        for note in _notes(task)
    ]
    notes += _stopped_notes(comparison)
    notes += total_notes(comparison)
    notes += nothing_notes(comparison)
    marked = [
        task
        for v in comparison.variants
        for task in (v.tasks or {}).values()
        if is_near_floor(task) or answers_near_floor(task)
    ]
    if marked:
        notes.append(fmt.near_floor_note(exact=all(task.dtype == "fp32" for task in marked)))
    return tuple(notes)


def _stopped_notes(comparison: Comparison) -> list[str]:
    """Of which variants no more items were evaluated, and why; nothing of tasks that were whole."""
    why = {
        (v.name, task.stopped): None
        for v in comparison.variants
        for task in (v.tasks or {}).values()
        if task.stopped is not None
    }
    if not why:
        return []
    named = {
        reason: [comparison.short_names[name] for name, own in why if own == reason]
        for reason in _STOPPED
    }
    each = [
        f"{words}: {fmt.join_words(named[own])}" for own, words in _STOPPED.items() if named[own]
    ]
    return [
        f"evaluated in looks until the recommendation was settled ({'; '.join(each)}): intervals "
        "hold at every look"
    ]


def total_notes(comparison: Comparison) -> list[str]:
    """Metrics that are no mean over items: of every model one number, and no interval."""
    notes = []
    for name, task in (comparison.reference.tasks or {}).items():
        for metric, value in (task.totals or {}).items():
            others = [
                f"{comparison.short_names[v.name]} {v.tasks[name].totals[metric]:.6g}"  # type: ignore[index]
                for v in comparison.variants
                if v.tasks and name in v.tasks and metric in (v.tasks[name].totals or {})
            ]
            words = ", ".join([f"reference {value:.6g}", *others])
            notes.append(f"{name}: {metric} over all items together: {words}")
    return notes


def nothing_notes(comparison: Comparison) -> list[str]:
    """The tasks in which the reference and variants score 0%, in words."""
    notes = []
    names = comparison.short_names
    for task in comparison.reference.tasks or {}:
        both = [
            names[v.name]
            for v in comparison.variants
            if v.tasks and task in v.tasks and both_score_nothing(v.tasks[task])
        ]
        if both:
            notes.append(
                f"{task}: {NOTHING}: the reference and {', '.join(both)} score 0%, so there is "
                "nothing that could be lost"
            )
    return notes


def _results(task: VariantTask) -> dict[str, Cell]:
    return {
        "items": _items(task),
        "score": fmt.share(task.score.value),
        "second": _second(task),
        "change": _change(task),
        "flips": _flips(task.flips),
        "divergence": _divergence(task),
        "p": fmt.p_value(None if task.flips is None else task.flips.p_value),
    }


def _change(task: VariantTask) -> Cell:
    return NOTHING if both_score_nothing(task) else fmt.points_interval(task.difference)


def _notes(task: ReferenceTask) -> list[str]:
    notes = [f"score is {task.metric}"] if task.metric != "acc" else []
    if task.gold == "reference":
        notes.append("gold answers are what the reference wrote")
    return [*notes, *task.notes]


def conditions(task: ReferenceTask) -> str:
    """What a published score must have in common with a task's: metric, shots and split."""
    shots = f"{task.shots} shot{'s' * (task.shots != 1)}"
    return ", ".join(filter(None, (task.metric, shots, task.split, *_chat(task))))


def _chat(task: ReferenceTask) -> list[str]:
    if task.chat is None:
        return []
    arguments = [f"{key}={json.dumps(value)}" for key, value in task.chat.template_args.items()]
    return ["chat template", *arguments]


def second_metric(task: ReferenceTask) -> str | None:
    """The metric that is shown beside a task's score; None if it has one alone."""
    return next((name for name in task.scores if name != task.metric), None)


def _second(task: ReferenceTask) -> str:
    name = second_metric(task)
    return "" if name is None else f"{name} {fmt.share(task.scores[name].value)}"


def _items(task: ReferenceTask) -> str:
    n, total = fmt.count(task.n_scored), fmt.count(task.n_items)
    return n if task.n_scored == task.n_items else f"{n} of {total}"


def _flips(flips: Flips | None) -> str:
    return fmt.MISSING if flips is None else f"{flips.right_to_wrong}/{flips.wrong_to_right}"


def _divergence(task: VariantTask) -> Cell:
    if task.kl_divergence is None:
        return fmt.MISSING
    text = fmt.divergence_interval(task.kl_divergence)
    return fmt.near_floor(text) if is_near_floor(task) else text
