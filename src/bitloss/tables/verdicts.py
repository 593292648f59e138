"""Verdicts as a table, one row a variant, and the answer below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.analysis.sentences import suffers_most
from bitloss.results.verdicts import Expected, Verdict
from bitloss.tables.tasks import short_names
from bitloss.tables.text_table import TextTable

if TYPE_CHECKING:
    from bitloss.results.comparison import Comparison, VariantResult

__all__ = ["closing", "verdict_tables"]

_COLUMNS = {
    "model": "model",
    "size": "size",
    "relative": "relative PPL",
    "verdict": "verdict",
    "expected": "expected",
    "standing": "standing",
    "worst": "suffers most",
}
_UNSETTLED = "?: the lower limit would give a better verdict; more text would settle it"


def verdict_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """The table of verdicts; none where no variant was judged."""
    judged = [(v, v.verdict) for v in comparison.variants if v.verdict is not None]
    if not judged:
        return ()
    names = short_names(comparison)
    rows = [
        {"model": names[variant.name], **_figures(variant, verdict)} for variant, verdict in judged
    ]
    columns = dict(_COLUMNS)
    for key in ("relative", "verdict", "expected", "standing", "worst"):
        if all(row[key] == fmt.MISSING for row in rows):
            del columns[key]
    if "relative" not in columns:  # tasks alone: nothing was expected of them
        columns.pop("expected", None)
    if not {"verdict", "worst"} & set(columns):
        return ()
    notes = []
    if any(verdict.level is not None and not verdict.settled for _, verdict in judged):
        notes.append(_UNSETTLED)
    if len({verdict.corpus for _, verdict in judged}) > 1:
        notes.append("relative PPL: on the corpus where its upper limit is the highest")
    if any(v.suffering is not None and v.suffering.most_by_score for v, _ in judged):
        notes.append("suffers most: by score where one is shown to fall most, else by divergence")
    notes += _capability_notes(judged, names)
    if comparison.answer is not None and comparison.answer.expectations[0] != "built-in":
        notes.append(f"levels, margins and expected losses of {comparison.answer.expectations[0]}")
    return (
        TextTable(
            title=_title(judged),
            columns=columns,
            rows=tuple(rows),
            notes=tuple(notes),
            left=("model", "verdict", "standing", "worst"),
            with_limits=("relative",),
            wrapped=("standing", "worst"),
            dropped_first=tuple(key for key in ("size", "expected", "standing") if key in columns),
        ),
    )


def closing(comparison: Comparison) -> str:
    """The paragraph that ends a report; empty where there is nothing to say."""
    return "" if comparison.answer is None else comparison.answer.text


def _title(judged: list[tuple[VariantResult, Verdict]]) -> str:
    corpora = {verdict.corpus for _, verdict in judged}
    if len(corpora) == 1 and (corpus := corpora.pop()) is not None:
        return f"verdicts: by the upper limit of the relative perplexity on {corpus}"
    return "verdicts"


def _figures(variant: VariantResult, verdict: Verdict) -> dict[str, str]:
    found, expected = verdict.relative_perplexity, verdict.expected
    level = verdict.level or fmt.MISSING
    return {
        "size": fmt.size(variant.file_bytes),
        "relative": fmt.MISSING
        if found is None
        else fmt.ratio_interval(found.value, found.low, found.high),
        "verdict": level if verdict.settled or verdict.level is None else f"{level}?",
        "expected": fmt.MISSING if expected is None else _range(expected),
        "standing": (verdict.standing or fmt.MISSING).removesuffix(" than expected"),
        "worst": suffers_most(variant.suffering) or fmt.MISSING,
    }


def _range(expected: Expected) -> str:
    low = fmt.bound(expected.low)
    return f"from {low}" if expected.high is None else f"{low}-{fmt.bound(expected.high)}"


def _capability_notes(
    judged: list[tuple[VariantResult, Verdict]], names: dict[str, str]
) -> list[str]:
    """The capabilities that lost more of their score than the margin."""
    notes = []
    for variant, verdict in judged:
        over = [
            f"{name} ({fmt.points_plain(one.loss.value, one.loss.low, one.loss.high)} points)"
            for name, one in verdict.capabilities.items()
            if one.outcome == "exceeds"
        ]
        if over:
            notes.append(f"{names[variant.name]}: loses more than the margin on {', '.join(over)}")
    return notes
