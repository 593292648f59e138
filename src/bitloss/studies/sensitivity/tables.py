"""A study of parts as plain tables and sentences."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bitloss import wording
from bitloss.results import Estimate
from bitloss.studies.sensitivity.decide import CHEAP
from bitloss.tables.text_table import Cell, TextTable

if TYPE_CHECKING:
    from rich.console import Console

    from bitloss.studies.sensitivity.result import (
        DivisionResult,
        PartResult,
        SensitivityResult,
        VariantParts,
    )

__all__ = [
    "division_notes",
    "part_words",
    "percent",
    "plain",
    "render_sensitivity",
    "sensitivity_sentences",
    "shown_standing",
    "work_done",
]

_WIDTH = 100
_KINDS = {
    "q": "query projections", "k": "key projections", "v": "value projections",
    "o": "attention output projections", "qkv": "fused query, key and value projections",
    "kv": "compressed key and value projections", "gate": "gate projections",
    "up": "up projections", "down": "down projections", "gate-up": "fused gate and up projections",
    "embeddings": "embeddings", "head": "output head", "embeddings+head": "embeddings (and head)",
    "other": "norms and other small tensors", "all-else": "everything else",
}  # fmt: skip


def plain(result: SensitivityResult) -> str:
    """The tables as text, 100 columns wide."""
    from rich.console import Console

    text = io.StringIO()
    render_sensitivity(result, Console(file=text, width=_WIDTH, color_system=None))
    return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").split("\n"))


def render_sensitivity(result: SensitivityResult, console: Console) -> None:
    """Print tables and sentences of every variant.

    Args:
        result: the study's answer.
        console: where to; its width decides the layout.
    """
    from rich.text import Text

    from bitloss.reports.terminal import render_table

    for variant in result.variants:
        if variant.error is not None:
            console.print()
            console.print(Text(f"{result.model}, {variant.name}: failed", style="bold"))
            console.print(Text(f"error: {variant.error.message}"))
            if variant.error.hint:
                console.print(Text(f"hint: {variant.error.hint}"))
            continue
        for division in variant.divisions:
            render_table(_table(result, variant, division), console)
        console.print()
        for sentence in sensitivity_sentences(result, variant):
            console.print(Text(sentence))
    console.print()
    console.print(Text(work_done(result)))


def _table(result: SensitivityResult, variant: VariantParts, division: DivisionResult) -> TextTable:
    rows: list[dict[str, Cell]] = []
    for part in division.parts:
        row: dict[str, Cell] = {
            "model": part.part,
            "weights": f"{part.weights / 1e6:.2f}M",
            "loss": wording.divergence_interval(part.loss),
            "share": percent(part.share),
            "standing": shown_standing(part),
            "windows": wording.count(part.n_windows),
        }
        if part.recovered is not None:
            row["recovered"] = percent(part.recovered)
        rows.append(row)
    columns = {
        "model": division.division if division.division != "named" else "part",
        "weights": "weights",
        "loss": "KLD alone (nats/token)",
        "share": "share of the loss",
        "recovered": "recovered if restored",
        "standing": "",
        "windows": "windows",
    }
    if not any("recovered" in row for row in rows):
        del columns["recovered"]
    loss = variant.loss
    title = (
        f"{result.model}, parts of {variant.name} on {result.corpus}: KLD "
        f"{wording.MISSING if loss is None else wording.divergence_interval(loss)} nats/token"
    )
    return TextTable(
        title=title,
        columns=columns,
        rows=tuple(rows),
        notes=(*division_notes(result, division), *variant.notes),
        left=("model", "standing"),
        dropped_first=tuple(key for key in ("windows", "weights") if key in columns),
    )


def division_notes(result: SensitivityResult, division: DivisionResult) -> tuple[str, ...]:
    """What a reader should know of a division's numbers."""
    notes = ["[...]: 95% intervals, each on its own" + "; they hold at every look"
             * result.sequential]  # fmt: skip
    notes.append(
        f"worst, cheap: corrected for {result.statements:,} statements; cheap: below "
        f"{100 * CHEAP / len(division.parts):.2g}% of the loss, half of an equal share"
    )
    notes.append(
        f"the parts' losses sum to {percent(division.sum_of_parts)} of the variant's "
        f"({division.sum_windows} windows)"
    )
    if division.unchanged:
        notes.append(f"not quantized, no loss: {wording.join_words(division.unchanged)}")
    return tuple(notes)


def shown_standing(part: PartResult) -> str:
    """A part's standing, if it is one that is shown."""
    return "" if part.standing in ("open", "dear") else part.standing


def percent(found: Estimate) -> wording.IntervalText:
    """A share of the loss: ``31% [28%, 34%]``; one decimal below ten percent."""

    def text(value: float | None) -> str:
        if value is None:
            return wording.MISSING
        return wording.number(100 * value, 0 if abs(found.value or 0.0) >= 0.1 else 1) + "%"

    limits = (text(found.low), text(found.high))
    missing = found.low is None or found.high is None
    return wording.IntervalText(text(found.value), None if missing else limits)


def part_words(part: str) -> str:
    """A part's name in a sentence: ``layer 3's down projections``."""
    layer, _, kind = part.partition(".")
    if layer.startswith("layer-") and not kind:
        return f"layer {layer.removeprefix('layer-')}"
    if layer.startswith("layer-"):
        return f"layer {layer.removeprefix('layer-')}'s {_KINDS.get(kind, kind)}"
    return f"the {_KINDS[part]}" if part in _KINDS and part != "all-else" else _KINDS.get(
        part, part
    )  # fmt: skip


def sensitivity_sentences(result: SensitivityResult, variant: VariantParts) -> tuple[str, ...]:
    """What a study shows of a variant, in words."""
    sentences = []
    for division in variant.divisions:
        if not division.parts:
            continue
        first = division.parts[0]
        words = part_words(first.part)
        verb = "carries" if first.part.startswith("layer-") and "." not in first.part else "carry"
        if first.part == "head":
            verb = "carries"
        head = f"{words[0].upper()}{words[1:]} {verb} {percent(first.share)} of the loss"
        if first.recovered is not None:
            head += f" alone (restoring recovers {percent(first.recovered)})"
        if first.standing == "worst":
            sentences.append(f"{head}, more than any other of the {division.division}.")
        else:
            sentences.append(
                f"{head}, the most measured; it is not shown which of the {division.division} is "
                "the worst."
            )
        cheap = [part.part for part in division.parts if part.standing == "cheap"]
        if cheap:
            sentences.append(f"Cheap among the {_among(division)}: {wording.join_words(cheap)}.")
        total = division.sum_of_parts
        if total.low is not None and total.high is not None and not total.low <= 1 <= total.high:
            how = "less" if (total.value or 0) < 1 else "more"
            sentences.append(
                f"Losses do not add up over the {division.division}: the parts' sum is {how} than "
                f"the whole, {percent(total)} of it."
            )
    return (*sentences, *(() if variant.divisions else variant.notes))


def _among(division: DivisionResult) -> str:
    return "parts" if division.division == "named" else division.division


def work_done(result: SensitivityResult) -> str:
    """How much was computed, in words."""
    work = result.work
    return (
        f"{work.swaps} hybrids on {work.windows} of {result.n_windows} windows in {work.looks} "
        f"looks: {100 * work.share_of_full:.0f}% of what scoring each in full on the whole text "
        "takes"
    )
