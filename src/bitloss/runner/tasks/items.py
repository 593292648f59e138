"""A model's answers to a task, item by item, written once all of them are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bitloss.engines.base import Piece
from bitloss.requests import Generated
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.display import chosen_options, first_texts
from bitloss.runner.tasks.drafts import PARTING, ReferenceTexts
from bitloss.runner.tasks.grading import Grader
from bitloss.runner.tasks.layout import (
    TaskWindows,
    grade_options,
    option_answers,
    read_scores,
)
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.records import is_normalized, item_columns
from bitloss.runner.tasks.texts import TextShards
from bitloss.spec.fingerprint import fingerprint
from bitloss.tasks.base import Answer, Grade

__all__ = ["keep_items", "new_pieces", "pieces_between", "total_items"]


def keep_items(
    store: RunStore,
    planned: PlannedTask,
    layout: TaskWindows,
    pieces: Sequence[Piece],
    records: Mapping[int, str],
    *,
    shards: TextShards | None,
    grades: Sequence[Grade | None] | None,
    grader: Grader,
    is_reference: bool,
    beside: ReferenceTexts | None = None,
    is_scored: bool = True,
    is_partial: bool = False,
) -> str:
    """Write a task's items for one model unless they are there.

    Args:
        store: the run directory.
        planned: the task.
        layout: the windows of all tasks.
        pieces: the windows in pieces.
        records: by the first window of a piece, the fingerprint of the model's records on it; at
            least of all pieces that hold windows of the task.
        shards: the model's texts; None if options are scored.
        grades: of the texts; None if options are scored.
        grader: has the sandbox.
        is_reference: whether the model is the reference, whose records have no divergence.
        beside: of a variant's texts, the reference's; None where they are not compared.
        is_scored: whether there are records of gold answers; a server may not give them.
        is_partial: see `read_scores`.

    Returns:
        The fingerprint of the item records.

    Raises:
        StorageError: the run directory cannot be written or read.
    """
    start, stop = layout.spans[planned.name]
    held = pieces_between(start, stop, pieces)
    own = [records[piece.first] for piece in held if piece.first in records]
    key = fingerprint(
        {
            "kind": "items with shares, clusters, lengths and partings",
            "task": planned.identity,
            "texts": None if shards is None else shards.key,
            "scores": own,
            "span": (start, stop),
            **({} if beside is None else {"beside": beside.key}),
            **({} if is_scored else {"gold": "not scored"}),
            **({"answer": "per character"} if is_normalized(planned) else {}),
        }
    )
    if store.has_records(key):
        return key
    sums = read_scores(
        store, own, len(layout.windows), is_reference=is_reference, is_partial=is_partial
    )
    scores = sums.between(start, stop)
    ranges = layout.own[planned.name]
    texts: Sequence[Sequence[Generated]] = ()
    if shards is not None:
        options: Sequence[range] = [range(0)] * len(ranges)
        texts = shards.read_generated(store)
        graded, answers = list(grades or ()), first_texts(texts)
    else:
        options = ranges
        graded = grade_options(planned, ranges, scores, grader.sandbox)
        answers = chosen_options(planned, ranges, scores)
    gold = layout.gold(planned) if is_scored else [range(0)] * len(planned.questions)
    columns = item_columns(planned, graded, gold, scores, options, answers, texts)
    unknown = [math.nan] * len(planned.questions)
    parting = dict.fromkeys(PARTING, unknown) if beside is None else beside.parting(texts)
    store.write_records(key, {**columns, **parting})
    return key


def total_items(
    store: RunStore,
    planned: PlannedTask,
    layout: TaskWindows,
    pieces: Sequence[Piece],
    records: Mapping[int, str],
    *,
    shards: TextShards | None,
    is_reference: bool,
    is_partial: bool,
) -> dict[str, float]:
    """The task's metrics that are no mean over items, for one model; see `keep_items`.

    Raises:
        TaskDataError: the task's own code fails.
        StorageError: the run directory cannot be read.
    """
    make = planned.task.totals
    if make is None:
        return {}
    if shards is not None:
        answers = [Answer(texts=own) if own else None for own in shards.read(store)]
    else:
        start, stop = layout.spans[planned.name]
        held = pieces_between(start, stop, pieces)
        own_records = [records[piece.first] for piece in held if piece.first in records]
        sums = read_scores(
            store,
            own_records,
            len(layout.windows),
            is_reference=is_reference,
            is_partial=is_partial,
        )
        answers = option_answers(planned, layout.own[planned.name], sums.between(start, stop))
    asked = [
        (question.item, answer)
        for question, answer in zip(planned.questions, answers, strict=True)
        if answer is not None
    ]
    return dict(make([item for item, _ in asked], [answer for _, answer in asked]))


def pieces_between(start: int, stop: int, pieces: Sequence[Piece]) -> list[Piece]:
    """Pieces that hold any of these windows: they may begin before and end after."""
    return [
        piece for piece in pieces if piece.first < stop and piece.first + len(piece.windows) > start
    ]


def new_pieces(
    task: str, tasks: Sequence[PlannedTask], layout: TaskWindows, pieces: Sequence[Piece]
) -> list[Piece]:
    """The pieces with a task's windows that no earlier task had.

    Args:
        task: name of one of `tasks`.
        tasks: in the order in which they are scored.
        layout: the windows of all of them.
        pieces: these windows in pieces.
    """
    names = [one.name for one in tasks]
    earlier: set[int] = set()
    for name in names[: names.index(task)]:
        earlier |= {piece.first for piece in pieces_between(*layout.spans[name], pieces)}
    own = pieces_between(*layout.spans[task], pieces)
    return [piece for piece in own if piece.first not in earlier]
