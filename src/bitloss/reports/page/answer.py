"""The first section: what to take, and how every variant stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup, escape

from bitloss import wording as fmt
from bitloss.analysis.near_floor import is_near_floor
from bitloss.analysis.reasons import measurable, short_reason, verdict_word
from bitloss.analysis.sentences import worst_capability_label
from bitloss.expectations import AxisName
from bitloss.reports.page.cells import (
    Cell,
    Row,
    Table,
    divergence,
    divergences,
    expected_range,
    figure,
    join,
    lost,
    ratio,
    row,
    share,
    table,
)
from bitloss.results import Answer, Comparison, Expected, VariantResult, Verdict
from bitloss.tables.verdicts import reasons, verdict_notes

__all__ = ["Choice", "Notice", "choice", "notices", "paragraphs", "reasons", "size", "verdicts"]

_TICKS = re.compile(r"`([^`]+)`")
_SHARES: tuple[AxisName, ...] = ("top1_agreement", "overlap")
_LEVEL = re.compile(r"`(yes|usually|marginal|problematic)`")


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant that is recommended, or the least risky one.

    Attributes:
        name: of it; empty if there is none.
        label: which of the two.
        line: its verdict and size.
        facts: what it loses, by what it is.
    """

    name: str
    label: str = ""
    line: tuple[Markup, ...] = ()
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
    names = comparison.short_names
    for index, variant in enumerate(comparison.variants):
        if answer is None or variant.name not in (answer.recommended, answer.least_risky):
            continue
        at = join("variants", index)
        line = [size(variant.file_bytes, at)]
        if variant.verdict is not None:
            line.insert(0, Markup("acceptable: {}").format(_word(variant, at)))
        if saved := _saved(variant, comparison, at):
            line.append(Markup("{} smaller").format(saved))
        label = "Recommended" if answer.recommended else "Least risky"
        return Choice(names[variant.name], label, tuple(line), tuple(_losses(variant, at)))
    return Choice("")


def _losses(variant: VariantResult, at: str) -> Iterator[tuple[str, Markup]]:
    """What the variant loses, by what it is."""
    verdict = variant.verdict
    if verdict is None:
        return
    if verdict.relative_perplexity is not None:
        place = _axis(at, "relative_perplexity")
        yield "relative perplexity", ratio(verdict.relative_perplexity, place)
        top1 = verdict.axes["top1_agreement"].estimate.value
        yield "same top‑1", share(top1, join(_axis(at, "top1_agreement"), "value"))
    known = {n: v.loss for n, v in measurable(verdict).items() if v.loss.high is not None}
    if known:
        worst = max(known, key=lambda name: known[name].high or 0.0)
        place = join(at, "verdict", "capabilities", worst, "loss")
        yield f"points lost on {worst}, the riskiest", lost(known[worst], place)


def _saved(variant: VariantResult, comparison: Comparison, at: str) -> Markup | None:
    before = comparison.reference.file_bytes
    if variant.file_bytes is None or before <= 0:
        return None
    return figure(fmt.share(1 - variant.file_bytes / before), join(at, "file_bytes"), "saved")


def size(n_bytes: int | None, at: str) -> Markup:
    """The size of a model's files; `at` is the model's path."""
    return figure(fmt.size(n_bytes), join(at, "file_bytes"), "bytes")


_SHADES = {"no": "problematic", "not shown": "marginal"}


def _word(variant: VariantResult, at: str) -> Markup:
    """The verdict in a word."""
    verdict = variant.verdict
    word = fmt.MISSING if verdict is None else verdict_word(verdict)
    if verdict is None or word == fmt.MISSING:
        return figure(fmt.MISSING, at)
    if verdict.level is None or word in _SHADES:
        return Markup('<span class="verdict {}">{}</span>').format(_SHADES.get(word, word), word)
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
    "KLD, nats/token": True, "same top‑1": True, "overlap": True, "acceptable": False,
    "decided by": False, "expected PPL": False, "suffers most": False,
}  # fmt: skip


def verdicts(comparison: Comparison) -> Table | None:
    """One row per variant that was scored; None without any."""
    names = comparison.short_names
    chosen = comparison.answer.recommended if comparison.answer is not None else None
    rows = [
        _verdict(variant, names[variant.name], join("variants", index), variant.name == chosen)
        for index, variant in enumerate(comparison.variants)
        if variant.verdict is not None or variant.corpora
    ]
    if not rows:
        return None
    judged = [variant.verdict for variant in comparison.variants if variant.verdict]
    corpora = {axis.corpus for verdict in judged for axis in verdict.axes.values()}
    notes = list(verdict_notes(comparison))
    if any(is_near_floor(one) for v in comparison.variants for one in v.corpora.values()):
        notes.append(fmt.near_floor_note(exact=True))
    if len(corpora) == 1:
        notes.append(f"results are from {corpora.pop()}")
    return table("Verdicts", _COLUMNS, rows, notes=notes, kind="verdicts")


def _verdict(variant: VariantResult, name: str, at: str, chosen: bool) -> Row:
    verdict = variant.verdict
    expected = verdict.expected if verdict is not None else None
    return row(
        Cell(name),
        size(variant.file_bytes, at),
        figure(fmt.number(variant.bits_per_weight, 2), join(at, "bits_per_weight")),
        *_axes(variant, at),
        _word(variant, at),
        figure(fmt.MISSING, at) if verdict is None else short_reason(verdict),
        _expected(expected, verdict, join(at, "verdict", "expected")),
        worst_capability_label(variant.loss_ranking) or figure(fmt.MISSING, ""),
        kind="chosen" if chosen else "",
    )  # fmt: skip


def _axis(at: str, name: str) -> str:
    """The path of an axis's value; `at` is the variant's."""
    return join(at, "verdict", "axes", name, "estimate")


def _axes(variant: VariantResult, at: str) -> tuple[Markup, ...]:
    """Relative perplexity, divergence, same top-1 and overlap, each where it is the worst.

    A variant that failed has no verdict: its first corpus is shown.
    """
    none = figure(fmt.MISSING, at)
    verdict = variant.verdict
    if verdict is not None and verdict.axes:
        values = {name: axis.estimate for name, axis in verdict.axes.items()}
        return (
            ratio(values["relative_perplexity"], _axis(at, "relative_perplexity")),
            divergence(
                values["kl_divergence"],
                _axis(at, "kl_divergence"),
                near=is_near_floor(variant.corpora[verdict.axes["kl_divergence"].corpus]),
            ),
            *(share(values[name].value, join(_axis(at, name), "value")) for name in _SHARES),
        )
    corpus = None if verdict is not None else next(iter(variant.corpora), None)
    if corpus is None:
        return none, none, none, none
    found, below = variant.corpora[corpus], join(at, "corpora", corpus)
    return (
        ratio(found.relative_perplexity, join(below, "relative_perplexity")),
        divergences(found.kl_divergence, join(below, "kl_divergence"), near=is_near_floor(found)),
        share(found.top1_agreement.value, join(below, "top1_agreement", "value")),
        share(found.overlap.value, join(below, "overlap", "value")),
    )


def _expected(expected: Expected | None, verdict: Verdict | None, at: str) -> Markup:
    """What its format leads to expect, and how it stands beside that."""
    if expected is None or verdict is None:
        return figure(fmt.MISSING, at)
    found = expected_range(expected.low, expected.high, at)
    if verdict.standing is None:
        return found
    return Markup('{} <span class="limits">{}</span>').format(found, verdict.standing)
