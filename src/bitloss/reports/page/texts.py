"""How long generated texts are and how they end."""

from __future__ import annotations

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.reports.page.cells import Table, figure, join, row, share, table
from bitloss.results import Comparison
from bitloss.results.tasks import Writing
from bitloss.tables.texts import TITLE, text_notes, writings

__all__ = ["table_of"]

_COLUMNS = {
    "task": False, "model": False, "answer, tokens": True, "thinking, tokens": True,
    "cut off": True, "no answer": True, "loops": True, "same text": True, "parts at, tokens": True,
}  # fmt: skip


def table_of(comparison: Comparison) -> Table | None:
    """The texts of every model; None where `bitloss.tables.texts.text_tables` has none."""
    names = comparison.short_names
    places = {variant.name: index for index, variant in enumerate(comparison.variants)}
    rows = []
    for task, models in writings(comparison):
        for name, writing in models:
            path = ("reference",) if name is None else ("variants", places[name])
            at = join(*path, "tasks", task, "writing")
            short = "reference" if name is None else names[name]
            kind = "reference" if name is None else ""
            rows.append(row(task if name is None else "", short, *_cells(writing, at), kind=kind))
    if not rows:
        return None
    return table(TITLE[:1].upper() + TITLE[1:], _COLUMNS, rows, notes=text_notes(comparison))


def _cells(writing: Writing, at: str) -> tuple[Markup, ...]:
    tokens = (
        figure(fmt.count(round(getattr(writing, name))), join(at, name))
        for name in ("answer_tokens", "thinking_tokens")
    )
    shares = (
        share(getattr(writing, name), join(at, name)) for name in ("cut_off", "unanswered", "loops")
    )
    same = (
        Markup() if writing.same_text is None else share(writing.same_text, join(at, "same_text"))
    )
    parts = (
        Markup()
        if writing.parts_at is None
        else figure(fmt.count(round(writing.parts_at)), join(at, "parts_at"))
    )
    return (*tokens, *shares, same, parts)
