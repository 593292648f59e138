"""Items that the two models do not agree on, with the question, both answers and the gold one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bitloss.errors import StorageError
from bitloss.results.manifest import Manifest, TaskEntry
from bitloss.runner import RunStore
from bitloss.spec.json_text import parse_json

__all__ = ["SHOWN", "Flip", "FlipList", "read_flips"]

# Per task and variant; the rest is counted.
SHOWN = 40

Kind = Literal["right to wrong", "wrong to right"]


@dataclass(frozen=True, slots=True)
class Flip:
    """One item.

    Attributes:
        kind: what became of it.
        item: its id.
        subject: of the item; may be empty.
        question: the last part of the prompt.
        options: to choose from; may be empty.
        gold: the gold answer; empty if there is none.
        reference: the reference's answer.
        variant: the variant's.
        reference_detail: why it was graded so; may be empty.
        variant_detail: likewise.
    """

    kind: Kind
    item: str
    subject: str
    question: str
    options: tuple[str, ...]
    gold: str
    reference: str
    variant: str
    reference_detail: str
    variant_detail: str


@dataclass(frozen=True, slots=True)
class FlipList:
    """Flips of one variant on one task.

    Attributes:
        flips: right to wrong first, `SHOWN` at most.
        right_to_wrong: all of them.
        wrong_to_right: all of them.
    """

    flips: tuple[Flip, ...]
    right_to_wrong: int
    wrong_to_right: int


@dataclass(frozen=True, slots=True)
class _Items:
    columns: Mapping[str, Any]
    metric: str

    @property
    def right(self) -> Any:
        return self.columns[f"score:{self.metric}"] == 1

    @property
    def binary(self) -> Any:
        """Items that are right or wrong; a share of a whole is neither."""
        return self.columns["asked"] & np.isin(self.columns[f"score:{self.metric}"], (0, 1))

    def text(self, column: str, row: int) -> str:
        return str(self.columns[column][row])


@dataclass(frozen=True, slots=True)
class _Question:
    text: str = ""
    options: tuple[str, ...] = ()
    gold: str = ""


def read_flips(store: RunStore, manifest: Manifest) -> dict[str, dict[str, FlipList]]:
    """Find the flips of every task and variant.

    Returns:
        Lists by task and variant; those without a flip are left out.

    Raises:
        StorageError: a record is missing or damaged.
    """
    flips: dict[str, dict[str, FlipList]] = {}
    for task, entry in manifest.tasks.items():
        reference = _items(store, entry, manifest.reference.name)
        questions = _questions(store, entry)
        for variant in entry.items:
            if variant == manifest.reference.name:
                continue
            changed = _flips(reference, _items(store, entry, variant), questions)
            if changed.flips:
                flips.setdefault(task, {})[variant] = changed
    return flips


def _items(store: RunStore, entry: TaskEntry, model: str) -> _Items:
    metric = entry.metrics[0]
    columns = ("item", "subject", "asked", "detail", "answer", f"score:{metric}")
    return _Items(store.read_records([entry.items[model]], columns), metric)


def _questions(store: RunStore, entry: TaskEntry) -> dict[str, _Question]:
    """By item."""
    names = ("item", "question", "options", "gold")
    columns = store.read_records([entry.questions], names)
    try:
        return {
            str(item): _Question(str(question), tuple(parse_json(options)), str(gold))
            for item, question, options, gold in zip(
                *(columns[name] for name in names), strict=True
            )
        }
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"{store.root}: the record of a task's questions is damaged ({error})",
            hint="delete the run's records and rerun the same command",
        ) from error


def _flips(reference: _Items, variant: _Items, questions: Mapping[str, _Question]) -> FlipList:
    both = reference.binary & variant.binary
    lost = np.flatnonzero(both & reference.right & ~variant.right)
    won = np.flatnonzero(both & ~reference.right & variant.right)
    rows: list[tuple[Kind, int]] = [("right to wrong", int(row)) for row in lost]
    rows += [("wrong to right", int(row)) for row in won]
    return FlipList(
        tuple(_flip(kind, row, reference, variant, questions) for kind, row in rows[:SHOWN]),
        len(lost),
        len(won),
    )


def _flip(
    kind: Kind, row: int, reference: _Items, variant: _Items, questions: Mapping[str, _Question]
) -> Flip:
    item = reference.text("item", row)
    question = questions.get(item, _Question())
    return Flip(
        kind=kind,
        item=item,
        subject=reference.text("subject", row),
        question=question.text,
        options=question.options,
        gold=question.gold,
        reference=reference.text("answer", row),
        variant=variant.text("answer", row),
        reference_detail=reference.text("detail", row),
        variant_detail=variant.text("detail", row),
    )
