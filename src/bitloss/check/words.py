"""Judgements in words, as a table for the terminal, and as Markdown for pull requests."""

from __future__ import annotations

from dataclasses import replace

from bitloss import wording as fmt
from bitloss.check.measures import MEASURES
from bitloss.check.result import CheckResult, Judgement, Outcome
from bitloss.tables.markdown import escaped, markdown_table
from bitloss.tables.text_table import TextTable

__all__ = ["figure", "headline", "limit", "markdown", "subject", "table"]

_SIGNS: dict[Outcome, str] = {"pass": "✅", "fail": "❌", "undecided": "❔"}
_OUTCOMES: dict[Outcome, str] = {"pass": "passed", "fail": "failed", "undecided": "undecided"}


def headline(result: CheckResult) -> str:
    """The gate in a line: ``gate: failed (2 passed, 1 failed, 0 undecided)``."""
    counts = ", ".join(f"{result.count(outcome)} {word}" for outcome, word in _OUTCOMES.items())
    return f"gate: {_OUTCOMES[result.outcome]} ({counts})"


def subject(judgement: Judgement) -> str:
    """What was judged: ``loss in math``, ``KL divergence on wikitext-2``."""
    if judgement.kind is None:
        return "measured"
    title = MEASURES[judgement.measure].title
    if judgement.measure == "max_kld" and judgement.kind != "corpus":
        title = "KL divergence on gold answers"
    joint = "in" if judgement.kind == "capability" else "on"
    return f"{title} {joint} {judgement.name}"


def figure(judgement: Judgement, *, unit: bool = True) -> str:
    """The figure with its limits.

    Args:
        judgement: of which figure.
        unit: whether to write the unit of percentage points.
    """
    value, low, high = judgement.value, judgement.low, judgement.high
    if value is None:
        return fmt.MISSING
    if judgement.measure == "max_relative_perplexity":
        return fmt.ratio_interval(value, low, high)
    if judgement.measure == "max_kld":
        return fmt.divergence_interval(value, low, high)
    if judgement.measure == "max_loss":
        return fmt.points_interval(value, low, high) + (" points" if unit else "")
    limits = "" if low is None or high is None else f" [{fmt.share(low)}, {fmt.share(high)}]"
    return f"{fmt.share(value)}{limits}"


def limit(judgement: Judgement) -> str:
    """The threshold in the same unit: ``at most 2 points``."""
    if judgement.limit is None:
        return fmt.MISSING
    side = "at most" if MEASURES[judgement.measure].at_most else "at least"
    return f"{side} {_number(judgement)}" + (" points" if judgement.measure == "max_loss" else "")


def _number(judgement: Judgement) -> str:
    assert judgement.limit is not None
    if judgement.measure == "max_loss":
        return f"{100 * judgement.limit:.6g}"
    if judgement.measure == "min_top1":
        return f"{100 * judgement.limit:.6g} %"
    return f"{judgement.limit:.6g}"


def _bound(judgement: Judgement) -> str:
    """The threshold for a table: ``<= 2``."""
    if judgement.limit is None:
        return fmt.MISSING
    return f"{'<=' if MEASURES[judgement.measure].at_most else '>='} {_number(judgement)}"


def _title_of(judgement: Judgement) -> str:
    """What is measured, with the unit where the figures do not have it, for a table."""
    if judgement.kind is None:
        return "measured"
    title = {
        "max_relative_perplexity": "relative PPL",
        "max_kld": "KLD" if judgement.kind == "corpus" else "gold KLD",
        "min_top1": "same top-1",
        "max_loss": "loss",
    }[judgement.measure]
    return f"{title} (points)" if judgement.measure == "max_loss" else title


def table(result: CheckResult) -> TextTable:
    """A row for each judgement."""
    change = result.baseline is not None
    rows, notes = [], []
    for judgement in result.judgements:
        rows.append(
            {
                "model": judgement.variant,
                "measure": _title_of(judgement),
                "thing": judgement.name or "",
                "figure": figure(judgement, unit=False),
                "limit": _bound(judgement),
                "outcome": _OUTCOMES[judgement.outcome],
            }
        )
        if judgement.reason and (judgement.kind is None or judgement.value is None):
            notes.append(f"{judgement.variant}: {subject(judgement)}: {judgement.reason}")
    if result.count("undecided"):
        notes.append("undecided: the limit lies within the 95 % interval; score more to decide")
    return TextTable(
        title=_title(result),
        columns={
            "model": "variant",
            "measure": "figure",
            "thing": "of",
            "figure": "changed by" if change else "measured",
            "limit": "allowed",
            "outcome": "outcome",
        },
        rows=tuple(rows),
        notes=tuple(notes),
        left=("model", "measure", "thing", "outcome"),
        with_limits=("figure",),
        wrapped=("measure", "thing"),
    )


def markdown(result: CheckResult) -> str:
    """A summary for pull requests: headline, table, what the outcomes mean."""
    content = table(result)
    signs = [_SIGNS[judgement.outcome] for judgement in result.judgements]
    signed = replace(
        content,
        columns={"sign": "", **content.columns},
        rows=tuple({**r, "sign": s} for r, s in zip(content.rows, signs, strict=True)),
        left=("sign", *content.left),
    )
    head = f"### {_SIGNS[result.outcome]} {headline(result)}\n\n{escaped(_title(result))}.\n\n"
    return head + markdown_table(signed)


def _title(result: CheckResult) -> str:
    if result.baseline is not None:
        return f"{result.run}: changes since {result.baseline}, 95 % confidence intervals"
    return f"{result.run}: compared with {result.reference}, 95 % confidence intervals"
