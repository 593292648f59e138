"""Verdicts as a table, one row per variant, and the answer below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bitloss import wording as fmt
from bitloss.analysis.reasons import measurable, short_reason, verdict_word, why
from bitloss.analysis.sentences import exceeded_margins, worst_capability_label
from bitloss.expectations import AXES
from bitloss.results.verdicts import Expected, Standing, Verdict
from bitloss.tables.replicates import replicate_notes
from bitloss.tables.text_table import Cell, TextTable

if TYPE_CHECKING:
    from bitloss.results import Comparison, VariantResult

__all__ = ["EXPECTED_LOSS", "closing", "reasons", "verdict_notes", "verdict_tables"]

_COLUMNS = {
    "model": "model",
    "size": "size",
    "relative": "relative PPL",
    "verdict": "acceptable",
    "decided": "decided by",
    "expected": "expected",
    "standing": "standing",
    "worst": "suffers most",
}
# "than expected" goes without saying below the heading, beside the range.
_STANDINGS: dict[Standing | None, str] = {
    "better": "better",
    "as expected": "as expected",
    "worse than expected": "worse",
    None: fmt.MISSING,
}
_NOT_SHOWN = (
    "no: a capability loses more than the margin; not shown: one may; score more items to decide"
)
EXPECTED_LOSS = (
    "losses are of the expected score, the probability of the right answer, where that stands for "
    "the score"
)
_UNSETTLED = "?: the other bound would give a better verdict; score more text to settle it"
_PERPLEXITY: Final = "relative_perplexity"


def verdict_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """The table of verdicts; none if no variant was judged."""
    judged = [(v, v.verdict) for v in comparison.variants if v.verdict is not None]
    if not judged:
        return ()
    names = comparison.short_names
    rows = [
        {"model": names[variant.name], **_results(variant, verdict)} for variant, verdict in judged
    ]
    columns = dict(_COLUMNS)
    if all(row["decided"] in (fmt.MISSING, AXES[_PERPLEXITY].short) for row in rows):
        del columns["decided"]
    for key in ("relative", "verdict", "expected", "standing", "worst"):
        if all(str(row[key]) == fmt.MISSING for row in rows):
            del columns[key]
    if "relative" not in columns:  # tasks alone: nothing was expected of them
        columns.pop("expected", None)
    if not {"verdict", "worst"} & set(columns):
        return ()
    notes = [*verdict_notes(comparison), *reasons(comparison)]
    notes += _capability_notes(judged, names)
    if comparison.answer is not None and comparison.answer.expectations[0] != "built-in":
        notes.append(f"levels, margins and expected losses of {comparison.answer.expectations[0]}")
    return (
        TextTable(
            title=_title(judged),
            columns=columns,
            rows=tuple(rows),
            notes=tuple(notes),
            left=("model", "verdict", "decided", "standing", "worst"),
            wrapped=("decided", "standing", "worst"),
            dropped_first=(("expected", "standing"), "worst", "size"),
        ),
    )


def verdict_notes(comparison: Comparison) -> tuple[str, ...]:
    """What a reader of the verdicts should know."""
    judged = [v.verdict for v in comparison.variants if v.verdict is not None]
    notes = []
    if any(verdict.level is not None and not verdict.settled for verdict in judged):
        notes.append(_UNSETTLED)
    if widths := _half_widths(judged):
        shown = ", ".join(f"{name} {100 * width:.1f}" for name, width in widths.items())
        notes.append(f"smallest loss that the items can show, in points: {shown}")
    if any(one.decided_on == "expected score" for v in judged for one in measurable(v).values()):
        notes.append(EXPECTED_LOSS)
    if {verdict_word(verdict) for verdict in judged} & {"no", "not shown"}:
        notes.append(_NOT_SHOWN)
    if len({one.corpus for verdict in judged for one in verdict.axes.values()}) > 1:
        notes.append("every metric: on the corpus where its level, then its bound, is the worst")
    return (*notes, *replicate_notes(comparison))


def _half_widths(judged: Sequence[Verdict]) -> dict[str, float]:
    """By capability, the widest half of an interval of its loss."""
    widths: dict[str, float] = {}
    for verdict in judged:
        for name, one in measurable(verdict).items():
            if one.loss.low is not None and one.loss.high is not None:
                half = (one.loss.high - one.loss.low) / 2
                widths[name] = max(half, widths.get(name, 0.0))
    return widths


def reasons(comparison: Comparison) -> tuple[str, ...]:
    """Why each variant has its level, where that is not its perplexity."""
    names = comparison.short_names
    return tuple(
        f"{names[variant.name]}: {verdict.level}: {why(verdict)}"
        for variant in comparison.variants
        if (verdict := variant.verdict) is not None
        and verdict.decided_by not in (None, _PERPLEXITY)
    )


def closing(comparison: Comparison) -> tuple[str, ...]:
    """The paragraphs that end a report, the first of them the answer; none if there is nothing to
    say.
    """
    return () if comparison.answer is None else comparison.answer.paragraphs


def _title(judged: list[tuple[VariantResult, Verdict]]) -> str:
    corpora = {one.corpus for _, verdict in judged for one in verdict.axes.values()}
    if not corpora:
        return "verdicts"
    where = f" on {corpora.pop()}" if len(corpora) == 1 else ""
    return f"verdicts: the worst of perplexity, same top-1, overlap and KLD{where}"


def _results(variant: VariantResult, verdict: Verdict) -> dict[str, Cell]:
    relative, expected = verdict.relative_perplexity, verdict.expected
    return {
        "size": fmt.size(variant.file_bytes),
        "relative": fmt.MISSING if relative is None else fmt.ratio_interval(relative),
        "verdict": verdict_word(verdict),
        "decided": short_reason(verdict),
        "expected": fmt.MISSING if expected is None else _range(expected),
        "standing": _STANDINGS[verdict.standing],
        "worst": worst_capability_label(variant.loss_ranking) or fmt.MISSING,
    }


def _range(expected: Expected) -> str:
    high = None if expected.high is None else fmt.bound(expected.high)
    return fmt.expected_range(fmt.bound(expected.low), high)


def _capability_notes(
    judged: list[tuple[VariantResult, Verdict]], names: dict[str, str]
) -> list[str]:
    """The capabilities that lost more of their score than the margin."""
    notes = []
    for variant, verdict in judged:
        if over := exceeded_margins(verdict):
            notes.append(f"{names[variant.name]}: loses more than the margin on {', '.join(over)}")
    return notes
