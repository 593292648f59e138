"""How long generated texts are and how they end, where that has something to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.analysis.families import ending_change
from bitloss.results.tasks import ReferenceTask, Writing
from bitloss.tables.text_table import Cell, TextTable

if TYPE_CHECKING:
    from bitloss.results.comparison import Comparison

__all__ = ["TITLE", "ending_sentences", "text_notes", "text_tables", "writings"]

TITLE = "generated texts: tokens, and how they ended"
_ENDS: Mapping[str, str] = MappingProxyType({"cut_off": "are cut off", "loops": "end in loops"})
_COLUMNS = {
    "task": "task",
    "model": "model",
    "answer": "answer",
    "thinking": "thinking",
    "cut": "cut off",
    "unanswered": "no answer",
    "loops": "loops",
    "same": "same text",
    "parts": "parts at",
}


def text_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """The table of texts; none where every text ended by itself, nothing was thought, and none is
    held against the reference's.
    """
    names = comparison.short_names
    rows: list[dict[str, Cell]] = []
    shown: list[Writing] = []
    for task, models in writings(comparison):
        for name, writing in models:
            first = name is None
            model = "reference" if name is None else names[name]
            rows.append({"task": task if first else "", "model": model, **_cells(writing)})
            shown.append(writing)
    if not rows:
        return ()
    columns = dict(_COLUMNS)
    if not any(one.thinking_tokens for one in shown):
        del columns["thinking"]
    if not any(one.unanswered for one in shown):
        del columns["unanswered"]
    if not any(one.same_text is not None for one in shown):
        del columns["same"], columns["parts"]
    return (
        TextTable(
            title=TITLE,
            columns=columns,
            rows=tuple(rows),
            notes=text_notes(comparison),
            left=("task", "model"),
        ),
    )


def writings(
    comparison: Comparison,
) -> Iterator[tuple[str, list[tuple[str | None, Writing]]]]:
    """By task, the texts of each model, the reference (None) first; only tasks where a text was
    cut off, a model thought, or texts are held against the reference's.
    """
    for task, result in (comparison.reference.tasks or {}).items():
        of: list[tuple[str | None, ReferenceTask]] = [(None, result)]
        of += [(v.name, v.tasks[task]) for v in comparison.variants if v.tasks and task in v.tasks]
        models = [(name, one.writing) for name, one in of if one.writing is not None]
        if any(_has_news(writing) for _, writing in models):
            yield task, models


def text_notes(comparison: Comparison) -> tuple[str, ...]:
    """What the columns mean, and what can be done about thinking that does not end."""
    shown = [writing for _, models in writings(comparison) for _, writing in models]
    if not shown:
        return ()
    notes = [
        "answer: mean tokens; cut off: share of texts that reached the token limit; loops: share "
        "cut off while repeating the same words"
    ]
    if any(one.unanswered for one in shown):
        notes.append(
            "no answer: thinking did not end, which counts as a wrong answer; more tokens: "
            "--thinking-budget; no thinking: --template-arg enable_thinking=false"
        )
    if any(one.same_text is not None for one in shown):
        notes.append(
            "same text: share of texts that are the reference's to the character; parts at: tokens "
            "before the first that differs, median of the other texts"
        )
    return (*notes, *ending_sentences(comparison))


def ending_sentences(comparison: Comparison) -> tuple[str, ...]:
    """Where more or fewer of a variant's texts are shown to end badly, a sentence per variant."""
    names = comparison.short_names
    sentences = []
    for variant in comparison.variants:
        parts = [
            f"{way} texts {_ENDS[name]} on {task} "
            f"({fmt.points_interval(changed.difference)} points)"
            for task, result in (variant.tasks or {}).items()
            for name, changed in (result.endings or {}).items()
            if (way := ending_change(changed)) is not None
        ]
        if parts:
            sentences.append(
                f"{names[variant.name]}: {fmt.join_words(parts)} than with the reference"
            )
    return tuple(sentences)


def _has_news(writing: Writing) -> bool:
    ended = writing.cut_off or writing.unanswered or writing.thinking_tokens
    return bool(ended) or writing.same_text is not None


def _cells(writing: Writing) -> dict[str, Cell]:
    return {
        "answer": fmt.count(round(writing.answer_tokens)),
        "thinking": fmt.count(round(writing.thinking_tokens)),
        "cut": fmt.share(writing.cut_off),
        "unanswered": fmt.share(writing.unanswered),
        "loops": fmt.share(writing.loops),
        "same": "" if writing.same_text is None else fmt.share(writing.same_text),
        "parts": "" if writing.parts_at is None else fmt.count(round(writing.parts_at)),
    }
