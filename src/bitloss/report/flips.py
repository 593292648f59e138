"""Items that the two models do not agree on, with the question, both answers and the right one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bitloss.runner import RunStore

__all__ = ["SHOWN", "Flip", "FlipList", "read_flips"]

# For each task and variant; the rest is counted.
SHOWN = 40

Kind = Literal["right to wrong", "wrong to right"]


@dataclass(frozen=True, slots=True)
class Flip:
    """One item.

    Attributes:
        kind: what became of it.
        item: its id.
        subject: of the item; may be empty.
        question: the last part of the prompt; empty where the run did not keep it.
        options: to choose from; may be empty.
        gold: the right answer; empty where there is none or it was not kept.
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
        return str(self.columns[column][row]) if column in self.columns else ""


def read_flips(
    store: RunStore, manifest: Mapping[str, Any]
) -> tuple[dict[str, dict[str, FlipList]], tuple[str, ...]]:
    """Find the flips of every task and variant.

    Returns:
        Lists by task and variant (those without a flip are not there), and what the run lacks.

    Raises:
        StorageError: a record is missing or damaged.
    """
    found: dict[str, dict[str, FlipList]] = {}
    without: list[str] = []
    reference_name = manifest["reference"]["name"]
    for task, entry in manifest["tasks"].items():
        reference = _items(store, entry, reference_name)
        questions = _questions(store, entry)
        if questions is None:
            without.append(task)
        for variant in entry["items"]:
            if variant == reference_name:
                continue
            flips = _flips(reference, _items(store, entry, variant), questions or {})
            if flips.flips:
                found.setdefault(task, {})[variant] = flips
    missing: tuple[str, ...] = ()
    if without:
        missing = (
            f"The questions of {', '.join(without)} were not kept by the version of bitloss that "
            "made this run. The same `bitloss compare` with the same --out adds them.",
        )
    return found, missing


def _items(store: RunStore, entry: Mapping[str, Any], model: str) -> _Items:
    metric = entry["metrics"][0]
    key = entry["items"][model]
    wanted = ["item", "subject", "asked", "detail", f"score:{metric}"]
    if "answer" in store.record_columns(key):
        wanted.append("answer")
    return _Items(store.read_records([key], tuple(wanted)), metric)


def _questions(store: RunStore, entry: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """By item; None for a run that did not keep them."""
    if "questions" not in entry:
        return None
    columns = store.read_records([entry["questions"]], ("item", "question", "options", "gold"))
    return {
        str(item): {"question": str(question), "options": options, "gold": str(gold)}
        for item, question, options, gold in zip(
            *(columns[name] for name in ("item", "question", "options", "gold")), strict=True
        )
    }


def _flips(
    reference: _Items, variant: _Items, questions: Mapping[str, Mapping[str, Any]]
) -> FlipList:
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
    kind: Kind,
    row: int,
    reference: _Items,
    variant: _Items,
    questions: Mapping[str, Mapping[str, Any]],
) -> Flip:
    item = reference.text("item", row)
    asked = questions.get(item, {})
    return Flip(
        kind=kind,
        item=item,
        subject=reference.text("subject", row),
        question=str(asked.get("question", "")),
        options=tuple(json.loads(asked.get("options", "[]"))),
        gold=str(asked.get("gold", "")),
        reference=reference.text("answer", row),
        variant=variant.text("answer", row),
        reference_detail=reference.text("detail", row),
        variant_detail=variant.text("detail", row),
    )
