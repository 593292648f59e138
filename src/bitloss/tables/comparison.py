"""A comparison as tables: rows of text that the terminal, notebooks and `print` share.

There is one table per corpus, and a corpus is scored under one protocol, so numbers under different
protocols never share a column. Tasks follow, by capability and one by one, then verdicts.
"""

from __future__ import annotations

import html as markup
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.analysis.near_floor import is_near_floor
from bitloss.tables.overview import overview_tables
from bitloss.tables.served import served_tables
from bitloss.tables.speed import speed_tables
from bitloss.tables.tasks import task_tables
from bitloss.tables.text_table import Cell, TextTable
from bitloss.tables.verdicts import closing, verdict_tables

if TYPE_CHECKING:
    from bitloss.results import (
        Comparison,
        CorpusComparison,
        ModelFacts,
        NoiseFloor,
        ReferenceCorpus,
    )

__all__ = ["all_tables", "corpus_table", "html", "plain", "title"]

_WIDTH = 100  # of a paragraph where nothing is known of the reader's

_COLUMNS = {
    "model": "model",
    "format": "format",
    "bits": "bits/weight",
    "size": "size",
    "perplexity": "PPL",
    "relative": "relative PPL",
    "divergence": "KLD (nats/token)",
    "p99": "KLD p99",
    "top1": "same top-1",
    "overlap": "overlap",
}


_STOPPED = {
    "decided": "decided", "precision": "precise enough", "not needed": "not needed",
    "end": "not decided",
}  # fmt: skip


def all_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """Every table of a comparison, in the order in which they are shown."""
    return (
        *(corpus_table(comparison, name) for name in comparison.reference.corpora),
        *served_tables(comparison),
        *task_tables(comparison),
        *speed_tables(comparison),
        *overview_tables(comparison),
        *verdict_tables(comparison),
    )


def corpus_table(comparison: Comparison, name: str) -> TextTable:
    """The table of one of the reference's corpora, the reference first, noise floors last."""
    reference = comparison.reference.corpora[name]
    scored = [(v, v.corpora[name]) for v in comparison.variants if name in v.corpora]
    floors = _floors([reference, *(corpus for _, corpus in scored)])
    rows: list[dict[str, Cell]] = [
        {
            **_facts(comparison.reference),
            "model": f"{comparison.reference.name} (reference)",
            "perplexity": fmt.perplexity(reference.perplexity),
        }
    ]
    rows += [{**_facts(variant), **_results(corpus)} for variant, corpus in scored]
    first_floor = len(rows)
    rows += [
        {
            "model": f"noise floor, {floor.dtype}",
            "divergence": fmt.divergence(floor.kl_divergence),
        }
        for floor in floors
    ]
    notes = list(reference.notes)
    for variant, corpus in scored:
        own = [note for note in corpus.notes if note not in reference.notes]
        notes += [f"{variant.name}: {note}" for note in (*own, *_remarks(corpus, reference))]
    marked = [corpus for _, corpus in scored if is_near_floor(corpus)]
    if marked:
        exact = all((one.rescored or one).dtype == "fp32" for one in marked)
        notes.append(fmt.near_floor_note(exact=exact))
    notes += [
        f"noise floor in {floor.dtype}: measured on {fmt.count(floor.n_scored)} tokens"
        for floor in floors
    ]
    return TextTable(
        title=title(name, reference),
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=tuple(notes),
        left=("model", "format"),
        dropped_first=("p99", "format", "size", "overlap", "bits", "perplexity"),
        muted=frozenset(range(first_floor, len(rows))),
    )


def title(name: str, corpus: ReferenceCorpus) -> str:
    """What a table's numbers were measured on, and how."""
    return f"{name}: {corpus.protocol}, {_tokens(corpus)}, {corpus.dtype}"


def _tokens(corpus: ReferenceCorpus) -> str:
    return f"{fmt.count(corpus.n_scored)} of {fmt.count(corpus.n_total)} tokens"


def _facts(model: ModelFacts) -> dict[str, Cell]:
    return {
        "model": model.name,
        "format": model.format or fmt.MISSING,
        "bits": fmt.number(model.bits_per_weight, 2),
        "size": fmt.size(model.file_bytes),
    }


def _results(corpus: CorpusComparison) -> dict[str, Cell]:
    divergence = fmt.divergence_interval(corpus.kl_divergence.estimate)
    p99 = fmt.IntervalText(fmt.divergence(corpus.kl_divergence.p99))
    if is_near_floor(corpus):
        divergence = fmt.near_floor(divergence)
        p99 = fmt.near_floor(p99) if corpus.kl_divergence.p99 else p99
    return {
        "perplexity": fmt.perplexity(corpus.perplexity),
        "relative": fmt.ratio_interval(corpus.relative_perplexity),
        "divergence": divergence,
        "p99": p99,
        "top1": fmt.share(corpus.top1_agreement.value),
        "overlap": fmt.share(corpus.overlap.value),
    }


def _floors(corpora: Iterable[ReferenceCorpus]) -> list[NoiseFloor]:
    """The distinct noise floors, in the order of the rows."""
    floors = {corpus.noise_floor: None for corpus in corpora if corpus.noise_floor is not None}
    return list(floors)


def _remarks(corpus: CorpusComparison, reference: ReferenceCorpus) -> list[str]:
    """What the numbers of a row alone do not say."""
    remarks = []
    dtype = corpus.dtype
    if corpus.stopped is not None:
        remarks.append(f"{_STOPPED[corpus.stopped]} after {_tokens(corpus)}")
    elif corpus.n_scored != reference.n_scored:
        remarks.append(_tokens(corpus))
    if corpus.dtype != reference.dtype:
        remarks.append(f"scored in {corpus.dtype}")
    if corpus.rescored is not None:
        dtype = corpus.rescored.dtype
        # Of a limited text, or one scored in looks, they are some that were drawn.
        drawn = corpus.stopped is not None or corpus.n_scored < corpus.n_total
        which = "" if drawn else "the first "
        remarks.append(
            f"all but perplexity measured in {dtype} on {which}"
            f"{fmt.count(corpus.rescored.n_windows)} windows "
            f"({fmt.count(corpus.rescored.n_scored)} tokens)"
        )
    floor, mean = corpus.noise_floor, corpus.kl_divergence.mean
    if floor is not None and floor.kl_divergence is not None and floor.dtype == dtype:
        if mean == 0:
            remarks.append("identical to the reference on every token")
        elif mean is not None and mean <= floor.kl_divergence:
            remarks.append("within the noise floor: no loss that this arithmetic can show")
    return remarks


def plain(comparison: Comparison) -> str:
    """Tables of plain characters, the answer and failed variants below."""
    parts = []
    for table in all_tables(comparison):
        parts.append("\n".join([table.title, "", *_aligned(table), *_bullets(table.notes)]))
    if answer := closing(comparison):
        parts.append("\n".join([_filled(answer[0]), *(_filled(one, "- ") for one in answer[1:])]))
    parts += [
        f"{name}\nerror: {error}\nhint: {hint}" for name, error, hint in _failures(comparison)
    ]
    return "\n\n".join(parts) or f"{comparison.reference.name}: nothing was scored"


def _filled(paragraph: str, mark: str = "") -> str:
    return textwrap.fill(
        paragraph, _WIDTH, initial_indent=mark, break_long_words=False, break_on_hyphens=False
    )


def _aligned(table: TextTable) -> list[str]:
    cells = [
        table.columns,
        *({key: table.text(row, key) for key in table.columns} for row in table.rows),
    ]
    widths = {key: max(len(row[key]) for row in cells) for key in table.columns}
    return [
        "  ".join(
            row[key].ljust(width) if key in table.left else row[key].rjust(width)
            for key, width in widths.items()
        ).rstrip()
        for row in cells
    ]


def _bullets(notes: Sequence[str]) -> list[str]:
    return ["", *(f"- {note}" for note in notes)] if notes else []


def _failures(comparison: Comparison) -> list[tuple[str, str, str]]:
    return [
        (variant.name, variant.error.message, variant.error.hint or fmt.MISSING)
        for variant in comparison.variants
        if variant.error is not None
    ]


def html(comparison: Comparison) -> str:
    """The same tables for a notebook; every text is escaped."""
    escape = markup.escape
    parts = []
    for table in all_tables(comparison):
        head = "".join(f"<th>{escape(name)}</th>" for name in table.columns.values())
        rows = "".join(f"<tr>{_cells(table, row)}</tr>" for row in table.rows)
        notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
        parts.append(
            f"<table><caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>" + (f"<ul>{notes}</ul>" if notes else "")
        )
    if answer := closing(comparison):
        parts += [f"<p>{escape(paragraph)}</p>" for paragraph in answer]
    parts += [
        f"<p><b>{escape(name)}</b> error: {escape(error)}<br>hint: {escape(hint)}</p>"
        for name, error, hint in _failures(comparison)
    ]
    return f"<div>{''.join(parts)}</div>"


def _cells(table: TextTable, row: Mapping[str, Cell]) -> str:
    return "".join(f"<td>{markup.escape(table.text(row, key))}</td>" for key in table.columns)
