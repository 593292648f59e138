"""Variants behind a server that gives likely tokens only: what there is, under its own name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.tables.text_table import Cell, TextTable

if TYPE_CHECKING:
    from bitloss.results import Comparison, Served, TopKCorpus, VariantResult

__all__ = ["COLUMNS", "likely_table", "likely_ways"]

COLUMNS = {
    "model": "model",
    "way": "run by",
    "perplexity": "perplexity",
    "relative": "relative",
    "divergence": "KLD, at least",
    "top1": "same top-1",
}


def likely_ways(
    comparison: Comparison, name: str
) -> Iterator[tuple[int, VariantResult, int, Served, TopKCorpus]]:
    """Each variant's ways with such results on a corpus, and their places in the document."""
    for at, variant in enumerate(comparison.variants):
        for place, served in enumerate(variant.served or ()):
            found = served.corpora.get(name)
            if found is not None and found.top_k is not None:
                yield at, variant, place, served, found.top_k


def likely_table(comparison: Comparison, name: str) -> TextTable | None:
    """One row per variant and server; None without any."""
    rows: list[dict[str, Cell]] = []
    notes: list[str] = []
    for _, variant, _, served, result in likely_ways(comparison, name):
        agreement = result.top1_agreement
        rows.append(
            {
                "model": comparison.short_names[variant.name],
                "way": served.way.engine.name,
                "perplexity": fmt.perplexity_interval(result.perplexity_estimate),
                "relative": fmt.ratio_interval(result.relative_perplexity),
                "divergence": fmt.divergence_interval(result.kl_divergence_topk),
                "top1": fmt.MISSING if agreement is None else fmt.share_interval(agreement),
            }
        )
        known = comparison.reference.corpora[name].notes
        notes += [note for note in result.notes if note not in known]
    if not rows:
        return None
    return TextTable(
        title=f"{name}: as a server runs it (KLD over likely tokens, nats/token)",
        columns=COLUMNS,
        rows=tuple(rows),
        notes=tuple(dict.fromkeys(notes)),
        left=("model", "way"),
        dropped_first=("way",),
    )
