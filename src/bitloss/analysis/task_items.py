"""One model's answers to a task, item by item, as they are read back from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.metrics.intervals import Series
from bitloss.metrics.item_looks import widening
from bitloss.results.manifest import TaskEntry
from bitloss.results.tasks import Writing
from bitloss.runner import RunStore
from bitloss.runner.tasks.drafts import PARTING
from bitloss.runner.tasks.drawn import DRAWN
from bitloss.runner.tasks.records import WRITING

__all__ = ["Floats", "TaskItems", "metric_columns", "read_items"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TaskItems:
    """One model's item records of one task (`bitloss.runner.tasks.records`).

    Attributes:
        entry: the manifest's entry of the task.
        columns: of the records, by name.
        totals: metrics of all items together.
    """

    entry: TaskEntry
    columns: Mapping[str, NDArray[Any]]
    totals: Mapping[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, the task's own score first."""
        return self.entry.metrics

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Which items have a grade, shape ``[items]``."""
        return self.columns["asked"].astype(bool)

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Which items were evaluated, where not all of them were; shape ``[items]``."""
        if DRAWN not in self.columns:
            return np.ones(len(self.columns["asked"]), dtype=bool)
        return self.columns[DRAWN].astype(bool)

    @property
    def widening(self) -> float:
        """How many times as wide intervals are as those of a task that is evaluated once; they hold
        at every look then (`bitloss.metrics.item_looks`).
        """
        if self.entry.stopped is None:
            return 1.0
        return widening(int(self.drawn.sum()), len(self.drawn))

    def only(self, items: NDArray[np.bool_]) -> TaskItems:
        """The same records without all other items.

        Args:
            items: which to keep, shape ``[items]``.
        """
        if items[self.drawn].all():
            return self
        kept = self.drawn & items
        columns = dict(self.columns)
        columns[DRAWN] = kept
        columns["asked"] = self.asked & kept
        columns["gold_tokens"] = np.where(kept, columns["gold_tokens"], 0)
        return replace(self, columns=columns)

    @property
    def names(self) -> NDArray[np.object_]:
        """Of each graded item, the name of what it belongs to."""
        return self.columns["cluster"][self.asked]

    @property
    def gold_names(self) -> NDArray[np.object_]:
        """The same of the items that have a gold answer."""
        return self.columns["cluster"][self.has_gold]

    def score(self, metric: str) -> Floats:
        """Scores of the items that have one, 0 to 1."""
        return self.columns[f"score:{metric}"][self.asked].astype(np.float64)

    def weight(self, metric: str) -> Floats:
        """How often each of them counts."""
        return self.columns[f"weight:{metric}"][self.asked].astype(np.float64)

    def binary(self, metric: str) -> bool:
        """Whether every item is right or wrong, and counts once."""
        score, weight = self.score(metric), self.weight(metric)
        return bool(np.isin(score, (0.0, 1.0)).all() and (weight == 1).all())

    def same_as(self, reference: TaskItems) -> bool:
        """Whether nothing tells the two models apart: equal scores, not a nat between them."""
        equal = all(np.array_equal(self.score(m), reference.score(m)) for m in self.metrics)
        return equal and bool((self.columns["gold_kl"][self.has_gold] == 0).all())

    def beside(self, other: TaskItems) -> TaskItems:
        """The same records with another variant in the reference's place: what lies between the two
        on a gold answer is how far their losses are apart.
        """
        apart = np.abs(self.columns["gold_nll"] - other.columns["gold_nll"])
        return replace(self, columns={**self.columns, "gold_kl": apart})

    @property
    def has_gold(self) -> NDArray[np.bool_]:
        """Which items have a gold answer whose likelihood was measured, shape ``[items]``."""
        return self.columns["gold_tokens"] > 0

    @property
    def has_divergence(self) -> bool:
        """Whether what is between the two models on gold answers is known: of a served model's
        distributions only the likely tokens may be.
        """
        return bool(np.isfinite(self.columns["gold_kl"][self.has_gold]).all())

    @property
    def has_answer_change(self) -> bool:
        """The same of `answer_change`."""
        return bool(np.isfinite(self.columns["gold_affinity"][self.has_gold]).all())

    @property
    def answer_change(self) -> Series:
        """How far each gold answer is from coming out as the reference has it, 0 to 1; an answer
        counts once, however many tokens it has.
        """
        change = 1 - self.columns["gold_affinity"][self.has_gold].astype(np.float64)
        return Series(change, np.ones(len(change)), bounds=(0.0, 1.0))

    def writing(self) -> Writing | None:
        """What the generated texts were like; None where nothing was generated."""
        columns = {name: self.columns[name][self.asked].astype(np.float64) for name in WRITING}
        if not self.asked.any() or np.isnan(columns["answer_tokens"]).any():
            return None
        means = {name: float(values.mean()) for name, values in columns.items()}
        same, parts = (self.columns[name][self.asked].astype(np.float64) for name in PARTING)
        known, parted = same[np.isfinite(same)], parts[np.isfinite(parts)]
        return Writing(
            **means,
            same_text=float(known.mean()) if len(known) else None,
            parts_at=float(np.median(parted)) if len(parted) else None,
        )

    def gold(self, column: str) -> Series:
        """Nats per token on the gold answers, by item, each weighted by its tokens."""
        tokens = self.columns["gold_tokens"][self.has_gold].astype(np.float64)
        return Series(self.columns[column][self.has_gold] / tokens, tokens)


def metric_columns(metrics: Iterable[str]) -> tuple[str, ...]:
    """The columns of item records that hold metrics: of each its scores, then its weights."""
    return tuple(f"{part}:{metric}" for metric in metrics for part in ("score", "weight"))


def read_items(store: RunStore, entry: TaskEntry, model: str) -> TaskItems:
    """One model's answers to a task, from the run directory.

    Args:
        store: the run directory.
        entry: of the task, in the run's manifest.
        model: a name in `entry.items`.

    Raises:
        StorageError: the record is missing or damaged.
    """
    columns = (
        "item", "subject", "cluster", "asked", "gold_tokens", "gold_nll", "gold_kl",
        "gold_overlap", "gold_affinity", "right", "same_option", *WRITING,
        *PARTING,
        *metric_columns(entry.metrics),
    )  # fmt: skip
    if entry.stopped is not None:
        columns = (*columns, DRAWN)
    return TaskItems(
        entry, store.read_records([entry.items[model]], columns), entry.totals.get(model, {})
    )
