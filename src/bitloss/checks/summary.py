"""A gate's result for people: a headline, a table, Markdown for pull requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bitloss import wording as fmt
from bitloss.checks.measures import MEASURES
from bitloss.checks.result import WITHIN, CheckResult, Judgment, Outcome
from bitloss.tables.markdown import escaped, markdown_table
from bitloss.tables.text_table import Cell, TextTable
from bitloss.tables.verdicts import EXPECTED_LOSS
from bitloss.types import Bounded
from bitloss.wording import IntervalText

__all__ = ["headline", "limit", "markdown", "measured", "subject", "table"]

_SIGNS: dict[Outcome, str] = {"pass": "✅", "fail": "❌", "undecided": "❔"}
_INTERVALS: dict[str, Callable[[Bounded], IntervalText]] = {
    "max_relative_perplexity": fmt.ratio_interval,
    "max_kld": fmt.divergence_interval,
    "max_loss": fmt.unsigned_points_interval,
    "min_top1": fmt.share_interval,
    "min_overlap": fmt.share_interval,
}
_FIRST: tuple[Outcome, ...] = ("fail", "undecided", "pass")
_OUTCOMES: dict[Outcome, str] = {"pass": "passed", "fail": "failed", "undecided": "undecided"}


def headline(result: CheckResult) -> str:
    """The gate in a line: ``gate: failed (2 passed, 1 failed, 0 undecided)``."""
    counts = ", ".join(f"{result.count(outcome)} {word}" for outcome, word in _OUTCOMES.items())
    return f"gate: {_OUTCOMES[result.outcome]} ({counts})"


def subject(judgment: Judgment) -> str:
    """What was judged: ``loss in math``, ``KL divergence on wikitext-2``."""
    if judgment.kind is None:
        return "measured"
    title = MEASURES[judgment.measure].title
    if judgment.measure == "max_kld" and judgment.kind != "corpus":
        title = "KL divergence on gold answers"
    joint = "in" if judgment.kind == "capability" else "on"
    return f"{title} {joint} {judgment.name}"


def measured(judgment: Judgment, *, change: bool = False) -> str:
    """The result with its bounds and unit: ``5.0 [3.0, 7.0] points``, as losses are everywhere;
    a change since a baseline has a sign.
    """
    unit = " points" if judgment.measure == "max_loss" and judgment.value is not None else ""
    return f"{_measured(judgment, change=change)}{unit}"


def _measured(judgment: Judgment, *, change: bool) -> IntervalText:
    if judgment.value is None:
        return IntervalText(fmt.MISSING)
    if change and judgment.measure == "max_loss":
        text = fmt.points_interval(judgment)
    else:
        text = _INTERVALS[judgment.measure](judgment)
    return fmt.near_floor(text) if judgment.near_floor else text


def limit(judgment: Judgment) -> str:
    """The threshold in the same unit: ``at most 2 points``."""
    if judgment.limit is None:
        return fmt.MISSING
    side = "at most" if MEASURES[judgment.measure].at_most else "at least"
    unit = " points" if judgment.measure == "max_loss" else ""
    return f"{side} {_number(judgment)}{unit}"


def _number(judgment: Judgment) -> str:
    assert judgment.limit is not None
    if judgment.measure == "max_loss":
        return f"{100 * judgment.limit:.6g}"
    if judgment.measure in ("min_top1", "min_overlap"):
        return f"{100 * judgment.limit:.6g}%"
    return f"{judgment.limit:.6g}"


def _bound(judgment: Judgment) -> str:
    """The threshold for a table: ``<= 2``."""
    if judgment.limit is None:
        return fmt.MISSING
    return f"{'<=' if MEASURES[judgment.measure].at_most else '>='} {_number(judgment)}"


def _title_of(judgment: Judgment) -> str:
    """What is measured, with the unit if the numbers do not have it, for a table."""
    if judgment.kind is None:
        return "measured"
    title = {
        "max_relative_perplexity": "relative PPL",
        "max_kld": "KLD" if judgment.kind == "corpus" else "gold KLD",
        "min_top1": "same top-1",
        "min_overlap": "overlap",
        "max_loss": "loss",
    }[judgment.measure]
    return f"{title} (points)" if judgment.measure == "max_loss" else title


def table(result: CheckResult) -> TextTable:
    """One row per judgment, what failed first."""
    change = result.baseline is not None
    rows: list[dict[str, Cell]] = []
    notes = []
    for judgment in _by_outcome(result):
        rows.append(
            {
                "model": judgment.variant,
                "measure": _title_of(judgment),
                "target": judgment.name or "",
                "measured": _measured(judgment, change=change),
                "limit": _bound(judgment),
                "outcome": _OUTCOMES[judgment.outcome],
            }
        )
        told = judgment.kind is None or judgment.value is None or judgment.outcome == "undecided"
        if told and judgment.reason not in ("", WITHIN):
            notes.append(f"{judgment.variant}: {subject(judgment)}: {judgment.reason}")
    if any(judgment.near_floor for judgment in result.judgments):
        notes.append(fmt.near_floor_note(exact=True))
    if result.baseline is None and any(one.measure == "max_loss" for one in result.judgments):
        notes.append(EXPECTED_LOSS)
    if result.count("undecided"):
        notes.append("undecided: the limit lies within the 95% interval; score more to decide")
    return TextTable(
        title=_title(result),
        columns={
            "model": "variant",
            "measure": "metric",
            "target": "of",
            "measured": "changed by" if change else "measured",
            "limit": "allowed",
            "outcome": "outcome",
        },
        rows=tuple(rows),
        notes=tuple(notes),
        left=("model", "measure", "target", "outcome"),
        wrapped=("measure", "target"),
    )


def _by_outcome(result: CheckResult) -> list[Judgment]:
    return sorted(result.judgments, key=lambda judgment: _FIRST.index(judgment.outcome))


def markdown(result: CheckResult) -> str:
    """A summary for pull requests: headline, table, what the outcomes mean."""
    content = table(result)
    signs = [_SIGNS[judgment.outcome] for judgment in _by_outcome(result)]
    signed = replace(
        content,
        columns={"sign": "", **content.columns},
        rows=tuple({**r, "sign": s} for r, s in zip(content.rows, signs, strict=True)),
        left=("sign", *content.left),
    )
    head = f"### {_SIGNS[result.outcome]} {headline(result)}"
    return f"{head}\n\n{escaped(_title(result))}.\n\n{markdown_table(signed)}"


def _title(result: CheckResult) -> str:
    what = f"compared with {result.reference}"
    if result.baseline is not None:
        what = f"changes since {result.baseline}"
    return f"{result.run}: {what}, 95% confidence intervals"
