"""The first section: what to take, and how every variant stands."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

from bitloss import wording as fmt
from bitloss.analysis.sentences import worst_capability_label
from bitloss.report.page.cells import (
    Cell,
    Row,
    Table,
    divergences,
    expected_range,
    figure,
    join,
    ratio,
    row,
    share,
    table,
)
from bitloss.results import Answer, Comparison, Expected, VariantResult
from bitloss.tables.tasks import short_names
from bitloss.tables.verdicts import verdict_notes

__all__ = ["Choice", "Notice", "choice", "notices", "paragraphs", "size", "verdicts"]

_TICKS = re.compile(r"`([^`]+)`")
_LEVEL = re.compile(r"`(yes|usually|marginal|problematic)`")


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant that is recommended.

    Attributes:
        name: of it; empty if none is.
        facts: numbers in its favor, by what they are.
    """

    name: str
    facts: tuple[tuple[str, Markup], ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that failed or is missing."""

    title: str
    text: Markup
    hint: Markup


def paragraphs(answer: Answer | None) -> list[Markup]:
    """The paragraphs of the answer, levels marked."""
    texts = () if answer is None else answer.paragraphs
    return [Markup(_LEVEL.sub(r'<b class="level">\1</b>', str(escape(text)))) for text in texts]


def _ticked(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    return Markup(_TICKS.sub(r"<code>\1</code>", str(escape(text))))


def choice(comparison: Comparison) -> Choice:
    """What is recommended, with the numbers that decide."""
    answer = comparison.answer
    names = short_names(comparison)
    for index, variant in enumerate(comparison.variants):
        if answer is None or variant.name != answer.recommended:
            continue
        at = join("variants", index)
        facts = [("size", size(variant.file_bytes, at))]
        if saved := _saved(variant, comparison, at):
            facts.append(("smaller by", saved))
        verdict = variant.verdict
        if verdict is not None and verdict.relative_perplexity is not None:
            facts.append(
                ("relative perplexity",
                 ratio(verdict.relative_perplexity, join(at, "verdict", "relative_perplexity")))
            )  # fmt: skip
        if verdict is not None and verdict.level is not None:
            facts.append(("acceptable?", _word(variant, at)))
        return Choice(names[variant.name], tuple(facts))
    return Choice("")


def _saved(variant: VariantResult, comparison: Comparison, at: str) -> Markup | None:
    before = comparison.reference.file_bytes
    if variant.file_bytes is None or before <= 0:
        return None
    return figure(fmt.share(1 - variant.file_bytes / before), join(at, "file_bytes"), "saved")


def size(n_bytes: int | None, at: str) -> Markup:
    """The size of a model's files; `at` is the model's path."""
    return figure(fmt.size(n_bytes), join(at, "file_bytes"), "bytes")


def _word(variant: VariantResult, at: str) -> Markup:
    """The verdict in a word."""
    verdict = variant.verdict
    if verdict is None or verdict.level is None:
        return figure(fmt.MISSING, at)
    doubt = "" if verdict.settled else "?"
    return Markup('<span class="verdict {}"><span data-path="{}">{}</span>{}</span>').format(
        verdict.level, join(at, "verdict", "level"), verdict.level, doubt
    )


def notices(comparison: Comparison, missing: tuple[str, ...]) -> list[Notice]:
    """What a reader must know before the results."""
    rows = [
        (f"{variant.name} failed", variant.error.message, variant.error.hint)
        for variant in comparison.variants
        if variant.error is not None
    ]
    if not comparison.variants:
        rows.append(("No variant", "There is nothing to compare the reference with.", ""))
    if not comparison.reference.corpora:
        rows.append(("No text", "No corpus was scored, so there are no perplexities.", ""))
    if not comparison.reference.tasks:
        rows.append(("No tasks", "No tasks were run, so there are no capability results.", ""))
    for variant in comparison.variants:
        lacks = [name for name in comparison.reference.corpora if name not in variant.corpora]
        asked = variant.tasks or {}
        lacks += [name for name in comparison.reference.tasks or {} if name not in asked]
        if lacks and variant.status == "ok":
            rows.append((f"{variant.name} is incomplete", f"No results on {', '.join(lacks)}.", ""))
    rows += [("Not in this run", text, "") for text in missing]
    return [Notice(title, _ticked(text), _ticked(hint)) for title, text, hint in rows]


_COLUMNS = {
    "variant": False, "size": True, "bits/weight": True, "relative PPL": True,
    "KLD, nats/token": True, "same top‑1": True, "verdict": False, "expected": True,
    "standing": False, "suffers most": False,
}  # fmt: skip


def verdicts(comparison: Comparison) -> Table | None:
    """One row per variant that was scored; None without any."""
    names = short_names(comparison)
    chosen = comparison.answer.recommended if comparison.answer is not None else None
    rows = [
        _verdict(variant, names[variant.name], join("variants", index), variant.name == chosen)
        for index, variant in enumerate(comparison.variants)
        if variant.verdict is not None or variant.corpora
    ]
    if not rows:
        return None
    corpora = {v.verdict.corpus for v in comparison.variants if v.verdict and v.verdict.corpus}
    notes = list(verdict_notes(comparison))
    if len(corpora) == 1:
        notes.append(f"results are from {corpora.pop()}")
    return table("Verdicts", _COLUMNS, rows, notes=notes, kind="verdicts")


def _verdict(variant: VariantResult, name: str, at: str, chosen: bool) -> Row:
    verdict = variant.verdict
    corpus = verdict.corpus if verdict is not None else next(iter(variant.corpora), None)
    figures = variant.corpora.get(corpus) if corpus is not None else None
    none = figure(fmt.MISSING, at)
    below = join(at, "corpora", corpus or "")
    expected = verdict.expected if verdict is not None else None
    return row(
        Cell(name),
        size(variant.file_bytes, at),
        figure(fmt.number(variant.bits_per_weight, 2), join(at, "bits_per_weight")),
        ratio(figures.relative_perplexity, join(below, "relative_perplexity")) if figures else none,
        divergences(figures.kl_divergence, join(below, "kl_divergence")) if figures else none,
        share(figures.top1_agreement.value, join(below, "top1_agreement", "value"))
        if figures else none,
        _word(variant, at),
        _expected(expected, join(at, "verdict", "expected")),
        _standing(variant, at),
        worst_capability_label(variant.loss_ranking) or figure(fmt.MISSING, ""),
        kind="chosen" if chosen else "",
    )  # fmt: skip


def _expected(expected: Expected | None, at: str) -> Markup:
    if expected is None:
        return figure(fmt.MISSING, at)
    return expected_range(expected.low, expected.high, at)


def _standing(variant: VariantResult, at: str) -> str | Markup:
    if variant.verdict is None or variant.verdict.standing is None:
        return figure(fmt.MISSING, at)
    return variant.verdict.standing
