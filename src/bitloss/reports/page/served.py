"""Weights, cache, activations and engine separated, for the page."""

from __future__ import annotations

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.analysis.near_floor import added_near_floor, is_near_floor
from bitloss.reports.page.cells import (
    Table,
    divergence,
    divergences,
    figure,
    join,
    marked,
    points,
    ratio,
    row,
    shares,
    table,
)
from bitloss.results import Comparison, Served
from bitloss.tables.served import (
    added_points,
    column_title,
    first_title,
    reasons,
    sentences,
    state,
    ways,
    whole_ways,
)
from bitloss.tables.served_top_k import COLUMNS, likely_ways

__all__ = ["likely_of_corpus", "of_corpus", "of_tasks"]


def of_corpus(comparison: Comparison, name: str) -> Table | None:
    """One row per variant, one column per way; None for a run with one way."""
    names, found = comparison.short_names, whole_ways(comparison)
    if not found:
        return None
    labels = {way.label for way in found}
    first = comparison.environment.engine.name
    columns = {"variant": False, first_title(comparison): True}
    columns |= {column_title(way, first): True for way in found}
    rows = []
    for index, variant in enumerate(comparison.variants):
        own = variant.corpora.get(name)
        if own is None or not variant.served:
            continue
        at = join("variants", index)
        rows.append(
            row(
                names[variant.name],
                divergences(
                    own.kl_divergence,
                    join(at, "corpora", name, "kl_divergence"),
                    near=is_near_floor(own),
                ),
                *(
                    _added(served, name, join(at, "served", place))
                    for place, served in enumerate(variant.served)
                    if served.way.label in labels
                ),
            )
        )
    title = f"{name}: the divergence, and what is added to it (KLD, nats/token)"
    notes = (*sentences(comparison, name), *reasons(comparison))
    return table(title, columns, rows, notes=notes) if rows else None


def _added(served: Served, name: str, at: str) -> str | Markup:
    found = served.corpora.get(name)
    added = None if found is None or found.added is None else found.added.kl_divergence
    if found is None or added is None:
        return state(served)
    path = join(at, "corpora", name, "added", "kl_divergence")
    sign = Markup("+" if added.value is not None and added.value > 0 else "")
    return marked(sign + divergence(added, path), near=added_near_floor(found))


def likely_of_corpus(comparison: Comparison, name: str) -> Table | None:
    """One row per variant and server that gives likely tokens only; None without any."""
    rows, notes = [], []
    for index, variant, place, served, result in likely_ways(comparison, name):
        at = join("variants", index, "served", place, "corpora", name, "top_k")
        rows.append(
            row(
                comparison.short_names[variant.name],
                served.way.engine.name,
                figure(fmt.perplexity(result.perplexity), join(at, "perplexity")),
                ratio(result.relative_perplexity, join(at, "relative_perplexity")),
                divergence(result.kl_divergence_topk, join(at, "kl_divergence_topk")),
                shares(result.top1_agreement, join(at, "top1_agreement")),
            )
        )  # fmt: skip
        known = comparison.reference.corpora[name].notes
        notes += [note for note in result.notes if note not in known]
    columns = {title: key not in ("model", "way") for key, title in COLUMNS.items()}
    title = f"{name}: as a server runs it (KLD over likely tokens, nats/token)"
    return table(title, columns, rows, notes=list(dict.fromkeys(notes))) if rows else None


def of_tasks(comparison: Comparison) -> Table | None:
    """One row per variant and task; None where no further way was given tasks."""
    names, found = comparison.short_names, ways(comparison)
    first = comparison.environment.engine.name
    columns = {"variant": False, "task": False, first_title(comparison): True}
    columns |= {column_title(way, first): True for way in found}
    rows = []
    for index, variant in enumerate(comparison.variants):
        for task, own in (variant.tasks or {}).items():
            if not any(served.tasks for served in variant.served or ()):
                continue
            at = join("variants", index)
            change = "difference" if own.expected_difference is None else "expected_difference"
            cells = []
            for place, served in enumerate(variant.served or ()):
                one = (served.tasks or {}).get(task)
                if one is None or (added := added_points(one)) is None:
                    cells.append(figure(fmt.MISSING, "") if one else state(served))
                    continue
                key = "added" if one.expected_added is None else "expected_added"
                cells.append(points(added, join(at, "served", place, "tasks", task, key)))
            rows.append(
                row(
                    names[variant.name],
                    task,
                    points(
                        own.expected_difference or own.difference, join(at, "tasks", task, change)
                    ),
                    *cells,
                )
            )
    title = "Scores: the change, and what is added to it"
    note = "in points; of the expected score, where the task has one"
    return table(title, columns, rows, notes=[note]) if rows else None
