"""Tasks as tables: one row a capability and model, then one a task and model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.results.tasks import Flips, ReferenceTask, VariantTask
from bitloss.results.values import Estimate
from bitloss.tables.text_table import TextTable

if TYPE_CHECKING:
    from bitloss.results.comparison import Comparison

__all__ = ["short_names", "task_tables"]

_FIGURES = {
    "score": "score",
    "change": "change",
    "flips": "flips -/+",
    "divergence": "gold KLD",
    "p": "p",
}
_WITH_LIMITS = ("change", "divergence")


def task_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """The tables of a comparison's tasks; none where no task was asked."""
    if not comparison.reference.tasks:
        return ()
    tables = [_tasks(comparison, comparison.reference.tasks)]
    if any(variant.capabilities for variant in comparison.variants):
        tables.insert(0, _capabilities(comparison))
    return tuple(tables)


def _capabilities(comparison: Comparison) -> TextTable:
    rows: list[dict[str, str]] = []
    found = [v for v in comparison.variants if v.capabilities]
    names = short_names(comparison)
    for name in dict.fromkeys(name for v in found for name in v.capabilities or ()):
        first = next(
            v.capabilities[name] for v in found if v.capabilities and name in v.capabilities
        )
        rows.append(
            {
                "capability": name,
                "model": "reference",
                "score": fmt.share(first.reference_score),
            }
        )
        for variant in found:
            result = (variant.capabilities or {}).get(name)
            if result is None:
                continue
            rows.append(
                {
                    "model": names[variant.name],
                    "score": fmt.share(result.score),
                    "change": _change(result.difference),
                    "flips": _flips(result.flips),
                    "divergence": _divergence(result.kl_divergence),
                    "p": fmt.p_value(result.p_value),
                }
            )
    return TextTable(
        title="capabilities: means of their tasks",
        columns={"capability": "capability", "model": "model", **_FIGURES},
        rows=tuple(rows),
        notes=(
            "change: in percentage points; flips: right to wrong / wrong to right",
            "gold KLD: divergence from the reference on the right answers, nats a token",
            "p: exact McNemar test of the flips, adjusted for the number of capabilities (Holm)",
        ),
        left=("capability", "model"),
        with_limits=_WITH_LIMITS,
        wrapped=("capability",),
        dropped_first=("p",),
    )


def _tasks(comparison: Comparison, references: dict[str, ReferenceTask]) -> TextTable:
    rows: list[dict[str, str]] = []
    notes: list[str] = []
    names = short_names(comparison)
    for name, task in references.items():
        rows.append(
            {
                "task": name,
                "model": "reference",
                "items": _items(task),
                "score": fmt.share(task.score.value),
            }
        )
        notes += [f"{name}: {note}" for note in _notes(task)]
        for variant in comparison.variants:
            result = (variant.tasks or {}).get(name)
            if result is not None:
                rows.append({"model": names[variant.name], **_figures(result)})
    for variant in comparison.variants:
        near = [name for name, task in (variant.tasks or {}).items() if _near_floor(task)]
        if near:
            notes.append(
                f"{names[variant.name]}: gold KLD within ten noise floors on {', '.join(near)}: "
                "partly the measuring's own; --dtype fp32 sees smaller losses"
            )
    return TextTable(
        title="tasks: " + ", ".join(dict.fromkeys(task.dtype for task in references.values())),
        columns={"task": "task", "model": "model", "items": "items", **_FIGURES},
        rows=tuple(rows),
        notes=tuple(notes),
        left=("task", "model"),
        with_limits=_WITH_LIMITS,
        dropped_first=("p", "items"),
    )


def short_names(comparison: Comparison) -> dict[str, str]:
    """By full name, names for little room: paths without folders where that is clear."""
    full = [variant.name for variant in comparison.variants]
    last = [name.rstrip("/").rsplit("/", 1)[-1] for name in full]
    unclear = {name for name in last if last.count(name) > 1 or name == "reference"}
    return {
        name: name if short in unclear else short for name, short in zip(full, last, strict=True)
    }


def _figures(task: VariantTask) -> dict[str, str]:
    return {
        "items": _items(task),
        "score": fmt.share(task.score.value),
        "change": _change(task.difference),
        "flips": _flips(task.flips),
        "divergence": _divergence(task.kl_divergence),
        "p": fmt.p_value(None if task.flips is None else task.flips.p_value),
    }


def _notes(task: ReferenceTask) -> list[str]:
    notes = [f"score is {task.metric}"] if task.metric != "acc" else []
    if task.gold == "reference":
        notes.append("gold answers are what the reference wrote")
    return [*notes, *task.notes]


def _near_floor(task: VariantTask) -> bool:
    """Whether a tenth or more of the divergence may come from rounding in fast arithmetic."""
    floor, found = task.noise_floor, task.kl_divergence
    if floor is None or found is None or floor.kl_divergence is None or task.dtype == "fp32":
        return False
    return found.value is not None and 0 < found.value < 10 * floor.kl_divergence


def _items(task: ReferenceTask) -> str:
    n, total = fmt.count(task.n_scored), fmt.count(task.n_items)
    return n if task.n_scored == task.n_items else f"{n} of {total}"


def _change(estimate: Estimate) -> str:
    return fmt.points_interval(estimate.value, estimate.low, estimate.high)


def _flips(flips: Flips | None) -> str:
    return fmt.MISSING if flips is None else f"{flips.right_to_wrong}/{flips.wrong_to_right}"


def _divergence(estimate: Estimate | None) -> str:
    if estimate is None:
        return fmt.MISSING
    return fmt.divergence_interval(estimate.value, estimate.low, estimate.high)
