"""Candidates of several engines beside one reference, which is read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.values import Candidate, Scores
from bitloss.spec.serving import Serving
from bitloss.types import Window

if TYPE_CHECKING:
    import torch

__all__ = ["SeveralScorer"]


class SeveralScorer:
    """Sends every candidate to its own engine's scorer; satisfies `PairScorer`.

    Args:
        home: of the reference's own engine, which cuts the text.
        scorers: by engine, all beside the same reference. The first measures the noise floor.
    """

    def __init__(self, home: PairScorer, scorers: Mapping[str, PairScorer]) -> None:
        self.reference = home.reference
        self._home = home
        self._scorers = dict(scorers)

    def pieces(self, windows: Sequence[Window]) -> Sequence[Piece]:
        """See `PairScorer.pieces`."""
        return self._home.pieces(windows)

    def smallest_pieces(self, windows: Sequence[Window], enough: int) -> Sequence[Piece]:
        """See `PairScorer.smallest_pieces`."""
        return self._home.smallest_pieces(windows, enough)

    def unscored(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> Sequence[Piece]:
        """See `PairScorer.unscored`."""
        lacks = {
            piece.first
            for engine, scorer in self._scorers.items()
            for piece in scorer.unscored(pieces, self._of(group, engine))
        }
        return [piece for piece in pieces if piece.first in lacks]

    def rounds(self, pieces: Sequence[Piece], candidates: int) -> int:
        """See `PairScorer.rounds`: as many as the most frugal of the scorers takes."""
        return min(scorer.rounds(pieces, candidates) for scorer in self._scorers.values())

    def prepare(
        self, pieces: Sequence[Piece], candidate: Candidate, group: Sequence[Candidate]
    ) -> None:
        """See `PairScorer.prepare`: the reference is prepared for each engine's candidates, and
        what one of them needed of it is there for the others.
        """
        if candidate is not self.reference:
            own = self._of(group, candidate.engine)
            self._scorers[candidate.engine].prepare(pieces, candidate, own)
            return
        for engine, scorer in self._scorers.items():
            scorer.prepare(pieces, scorer.reference, self._of(group, engine))

    def score(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> Scores:
        """See `PairScorer.score`."""
        total = Scores()
        for engine, scorer in self._scorers.items():
            own = self._of(group, engine)
            if not own and total.reference:
                continue
            scores = scorer.score(pieces, own)
            total.reference = scores.reference
            total.variants.update(scores.variants)
            total.failed.update(scores.failed)
        return total

    def reference_logits(self, piece: Piece) -> Iterator[torch.Tensor]:
        """See `PairScorer.reference_logits`."""
        return self._home.reference_logits(piece)

    def kept_states(self, pieces: Sequence[Piece]) -> list[str]:
        """See `PairScorer.kept_states`."""
        return self._home.kept_states(pieces)

    def noise_floor(self, windows: Sequence[Window]) -> list[str]:
        """See `PairScorer.noise_floor`: the first engine's."""
        return next(iter(self._scorers.values())).noise_floor(windows)

    def rounding_noise(
        self, windows: Sequence[Window], serving: Serving, candidate: Candidate | None = None
    ) -> list[str]:
        """See `PairScorer.rounding_noise`: the first engine's."""
        return next(iter(self._scorers.values())).rounding_noise(windows, serving, candidate)

    def exact(self) -> PairScorer | None:
        """See `PairScorer.exact`: None if one of the scorers is its own."""
        exact = {
            engine: one
            for engine, scorer in self._scorers.items()
            if (one := scorer.exact()) is not None
        }
        if len(exact) < len(self._scorers):
            return None
        home = exact.get(self.reference.engine) or next(iter(exact.values()))
        return SeveralScorer(home, exact)

    def _of(self, group: Sequence[Candidate], engine: str) -> list[Candidate]:
        return [candidate for candidate in group if candidate.engine == engine]
