"""The plug: what an executor with workers does for a run, in place of this process.

A run's jobs call these where they would load a model. Without one (`Run.elsewhere` is None) they do
the work themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.runner.tasks.texts import TextShards
from bitloss.spec.recipe import Recipe
from bitloss.spec.serving import Serving
from bitloss.types import Progress, Window

__all__ = ["Elsewhere", "Written"]

Written = Callable[[int, tuple[str, ...]], object]
"""Called with a question and its texts as soon as they are there."""


class Elsewhere(Protocol):
    """Where a run's heavy work is done. What begins with `begin` hands work out and waits for
    nothing: whoever needs it waits later, and gets what was begun.
    """

    def scorer(self, setup: Setup, engines: Sequence[str]) -> PairScorer:
        """See `bitloss.engines.evaluate.make_scorer`."""

    def begin_scoring(
        self, scorer: PairScorer, pieces: Sequence[Piece], group: Sequence[Candidate]
    ) -> None:
        """Hand out what `PairScorer.score` is going to need."""

    def begin_floor(
        self, scorer: PairScorer, windows: Sequence[Window], serving: Serving | None
    ) -> None:
        """Hand out a noise floor: `PairScorer.rounding_noise` with types, else `noise_floor`."""

    def begin_texts(self, candidate: Candidate, shards: TextShards, setup: TextSetup) -> None:
        """Hand out what a model is going to write."""

    def write_texts(
        self,
        candidate: Candidate,
        shards: TextShards,
        setup: TextSetup,
        *,
        label: str,
        progress: Progress,
        written: Written,
    ) -> None:
        """See `bitloss.runner.tasks.texts.write_texts`."""

    def begin_variant(
        self, recipe: Recipe, model: Model, *, data: Path | None, device: str
    ) -> None:
        """Hand out the making of a variant."""

    def make_variant(self, recipe: Recipe, model: Model, *, data: Path | None, device: str) -> None:
        """Have a variant made into the cache, which all machines share.

        Raises:
            StorageError: they do not share it.
            BitlossError: see `bitloss.quantizers.make_variant`.
        """

    def close(self) -> None:
        """End all workers; from any thread, at any moment."""
