"""How a corpus is gone through: all of it at once, or in looks at forwards drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bitloss.metrics.divergence import relative_perplexity
from bitloss.metrics.sequential import look_sizes, sequential
from bitloss.runner.arithmetic import looks_from_the_start, settled_divergence
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.looks import Reason, Stopped, Stopping
from bitloss.runner.scoring import Scorer
from bitloss.runner.shards import Shard
from bitloss.runner.store import RunStore
from bitloss.types import ScoredCorpus

__all__ = ["DrawnText", "Schedule", "WholeText", "drawn_looks"]


class Schedule(Protocol):
    """Looks at a corpus, and when they are enough."""

    def described(self) -> dict[str, Any] | None:
        """For the manifest: what intervals have to know of the looks; None for one look."""

    def looks(self, scorer: Scorer) -> Sequence[Sequence[Shard]]:
        """Shards of each look, in the order of the text; those of the look before among them."""

    def enough(self, records: list[str]) -> Reason | None:
        """Why these records of a variant are enough; None if they are not."""

    def exact_looks(self, scorer: Scorer) -> Sequence[Sequence[Shard]]:
        """The same where a variant near the noise floor is scored again."""

    def exact_enough(self, records: list[str]) -> Reason | None:
        """The same where a variant near the noise floor is scored again."""

    def told(self, stopped: Stopped) -> Reason | None:
        """Why a variant was scored no further, if that is to be told."""


@dataclass(frozen=True, slots=True)
class WholeText:
    """All windows, in the order of the text; what is scored again begins at the first ones.

    Attributes:
        store: the run directory.
        planned: the corpus.
    """

    store: RunStore
    planned: PlannedCorpus

    def described(self) -> None:
        """See `Schedule.described`."""

    def looks(self, scorer: Scorer) -> list[list[Shard]]:
        """See `Schedule.looks`."""
        return [scorer.shards(self.planned.windows)]

    def enough(self, records: list[str]) -> None:
        """See `Schedule.enough`."""

    def exact_looks(self, scorer: Scorer) -> list[list[Shard]]:
        """See `Schedule.exact_looks`."""
        return looks_from_the_start(scorer, self.planned)

    def exact_enough(self, records: list[str]) -> Reason | None:
        """See `Schedule.exact_enough`."""
        return "precision" if settled_divergence(self.store, records) else None

    def told(self, stopped: Stopped) -> None:
        """See `Schedule.told`."""


@dataclass(frozen=True, slots=True)
class DrawnText:
    """Forwards in random order, in looks, until a variant's relative perplexity is known.

    Attributes:
        store: the run directory.
        facts: of the corpus.
        pieces: its forwards, in the order of the text.
        stopping: when it is known.
        seed: of the random order.
    """

    store: RunStore
    facts: ScoredCorpus
    pieces: Sequence[Shard]
    stopping: Stopping
    seed: int

    def described(self) -> dict[str, Any]:
        """See `Schedule.described`."""
        return {"blocks": [piece.first for piece in self.pieces]}

    def looks(self, scorer: Scorer) -> list[list[Shard]]:
        """See `Schedule.looks`."""
        del scorer  # drawn forwards are shards of their own, whatever the store has
        return drawn_looks(self.pieces, self.seed)

    def enough(self, records: list[str]) -> Reason | None:
        """See `Schedule.enough`."""
        columns = self.store.read_records(records, ("window", "reference_nll", "nll"))
        series = relative_perplexity(
            columns["reference_nll"],
            columns["nll"],
            columns["window"],
            self.facts.averaging,
            self.facts.valid,
        )
        blocks = [piece.first for piece in self.pieces]
        found = sequential({"x": series}, np.unique(columns["window"]), blocks)["x"]
        return self.stopping.reason(found)

    def exact_looks(self, scorer: Scorer) -> list[list[Shard]]:
        """See `Schedule.exact_looks`."""
        return self.looks(scorer)

    def exact_enough(self, records: list[str]) -> Reason | None:
        """See `Schedule.exact_enough`: it is the verdict that has to be known, no other figure."""
        return self.enough(records)

    def told(self, stopped: Stopped) -> Reason:
        """See `Schedule.told`."""
        return stopped.reason


def drawn_looks(pieces: Sequence[Shard], seed: int) -> list[list[Shard]]:
    """Looks at more and more pieces, drawn at random without replacement.

    Args:
        pieces: all of them, in the order of the text.
        seed: of the order.
    """
    order = np.random.default_rng(seed).permutation(len(pieces))
    return [[pieces[i] for i in np.sort(order[:size])] for size in look_sizes(len(pieces))]
