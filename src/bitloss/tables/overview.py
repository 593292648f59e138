"""All capabilities of all models side by side: where it hurts, at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.tables.tasks import short_names
from bitloss.tables.text_table import TextTable
from bitloss.tasks.base import CAPABILITIES

if TYPE_CHECKING:
    from bitloss.results.comparison import Comparison
    from bitloss.results.tasks import CapabilityResult

__all__ = ["overview_tables"]

# As wide as a figure at most, so that all stand side by side in 80 columns.
_SHORT = {
    "text completion": "complet.",
    "knowledge (English)": "English",
    "knowledge (Chinese)": "Chinese",
    "instruction following": "instruct.",
}
_NOTES = (
    "the reference's scores, and how many points of them the others lose or gain",
    "in brackets: no more than chance may do (the 95 % interval holds 0)",
)


def overview_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """One row a model, one column a capability; no table below two capabilities."""
    scores = _reference_scores(comparison)
    if len(scores) < 2:
        return ()
    names = short_names(comparison)
    rows = [{"model": "reference", **{key: fmt.share(score) for key, score in scores.items()}}]
    rows += [
        {
            "model": names[variant.name],
            **{name: _change(found) for name, found in variant.capabilities.items()},
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
            notes=_NOTES,
            left=("model",),
            with_limits=(),
            dropped_first=(),
        ),
    )


def _reference_scores(comparison: Comparison) -> dict[str, float]:
    """By capability, the mean of its tasks' scores, in the order of the suites."""
    found: dict[str, list[float]] = {}
    for task in (comparison.reference.tasks or {}).values():
        if task.score.value is not None:
            found.setdefault(task.capability, []).append(task.score.value)
    known = [name for name in CAPABILITIES if name in found]
    return {name: sum(found[name]) / len(found[name]) for name in known}


def _change(found: CapabilityResult) -> str:
    change = found.difference
    if change.value is None:
        return fmt.MISSING
    text = "0.0" if change.value == 0 else f"{100 * change.value:+.1f}"
    certain = change.low is not None and change.high is not None and change.low * change.high > 0
    return text if certain else f"({text})"
