"""The item records of a model that was evaluated on some of a task's items, put together.

They have a row for every item of the task, and a column more than others (`records`):

drawn   1 where the model was evaluated on the item, or would have been had it fitted the context;
        0 where it was not, and all else is empty
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bitloss.runner.store import RunStore
from bitloss.runner.tasks.drafts import PARTING
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.records import PAIR_SCORES, empty_columns, item_columns, window_scores
from bitloss.spec.fingerprint import fingerprint

__all__ = ["DRAWN", "keep_drawn"]

DRAWN = "drawn"


def keep_drawn(
    store: RunStore, planned: PlannedTask, parts: Sequence[tuple[PlannedTask, str]]
) -> str:
    """Write one record of all items for one model, unless it is there.

    Args:
        store: the run directory.
        planned: the task.
        parts: of it, with the fingerprints of the model's item records of their items.

    Returns:
        The fingerprint of the record.

    Raises:
        StorageError: the run directory cannot be written or read.
    """
    key = fingerprint(
        {"kind": "drawn items", "task": planned.identity, "parts": [own for _, own in parts]}
    )
    if store.has_records(key):
        return key
    columns = _blank(planned)
    drawn = [0.0] * len(planned.questions)
    places = {question.item.id: at for at, question in enumerate(planned.questions)}
    for part, own in parts:
        rows = [places[question.item.id] for question in part.questions]
        found = store.read_records([own], tuple(columns))
        for name, values in columns.items():
            for row, value in zip(rows, found[name].tolist(), strict=True):
                values[row] = value
        for row in rows:
            drawn[row] = 1.0
    store.write_records(key, {**columns, DRAWN: drawn})
    return key


def _blank(planned: PlannedTask) -> dict[str, list[Any]]:
    """The columns of a model that was evaluated on nothing."""
    n = len(planned.questions)
    nothing = [range(0)] * n
    scores = window_scores(empty_columns(PAIR_SCORES), 0)
    parting = {name: [math.nan] * n for name in PARTING}
    return {**item_columns(planned, [None] * n, nothing, scores, nothing, [""] * n), **parting}
