"""All capabilities of all models side by side: where it hurts, at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.analysis.families import change_shown
from bitloss.tables.tasks import ability_notes
from bitloss.tables.text_table import TextTable
from bitloss.tasks.base import CAPABILITIES

if TYPE_CHECKING:
    from bitloss.results import Comparison, VariantResult

__all__ = ["overview_tables"]

# As wide as a number at most, so that all stand side by side in 80 columns.
_SHORT = {
    "text completion": "complet.",
    "knowledge (English)": "English",
    "knowledge (Chinese)": "Chinese",
    "instruction following": "instruct.",
}
NOT_MEASURABLE = "n.m."
_NOTES = (
    "reference: scores; variants: points lost or gained",
    "in parentheses: not significant (Holm's method, 5% for the whole table)",
    "a loss beyond the margin is never in parentheses",
)


def overview_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """One row per model, one column per capability; no table below two capabilities."""
    scores = _reference_scores(comparison)
    if len(scores) < 2:
        return ()
    names = comparison.short_names
    rows = [{"model": "reference", **{key: fmt.share(score) for key, score in scores.items()}}]
    rows += [
        {
            "model": names[variant.name],
            **{
                name: NOT_MEASURABLE if name in variant.not_measurable else _change(variant, name)
                for name in variant.capabilities
            },
        }
        for variant in comparison.variants
        if variant.capabilities
    ]
    columns = {"model": "model", **{name: _SHORT.get(name, name) for name in scores}}
    return (
        TextTable(
            title="loss by capability",
            columns=columns,
            rows=tuple(rows),
            notes=(*_NOTES, *(f"{NOT_MEASURABLE} is {note}" for note in ability_notes(comparison))),
        ),
    )


def _reference_scores(comparison: Comparison) -> dict[str, float]:
    """By capability, the mean of its tasks' scores, in the order of the suites."""
    scores: dict[str, list[float]] = {}
    for task in (comparison.reference.tasks or {}).values():
        if task.score.value is not None:
            scores.setdefault(task.capability, []).append(task.score.value)
    known = [name for name in CAPABILITIES if name in scores]
    return {name: sum(scores[name]) / len(scores[name]) for name in known}


def _change(variant: VariantResult, capability: str) -> str:
    change = (variant.capabilities or {})[capability].difference
    text = fmt.points(change.value)
    shown = change.value is None or change_shown(variant, capability) is not None
    return text if shown else f"({text})"
