"""A `PairScorer` for any engine that yields logits: the general half of the seam.

The candidate's logits are compared on the fly, a block of positions at a time, with the reference's
logits, which the reference's own scorer gives (the dense engine's from what it kept of its pass
over the text). Nothing of the size ``[text, vocabulary]`` is ever held or stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from bitloss.engines.base import PAIR_COLUMNS, Engine, LogitsModel, PairScorer, Piece
from bitloss.engines.comparers import (
    Comparer,
    FullComparer,
    LikelyComparer,
    logits_of,
    reference_columns,
)
from bitloss.engines.top_k import TOP_K_COLUMNS
from bitloss.engines.values import (
    Candidate,
    Scores,
    Setup,
    digest_windows,
    scored_tokens,
    window_index,
)
from bitloss.errors import (
    BitlossError,
    NumericalError,
    StorageError,
    UnsupportedModel,
)
from bitloss.spec.fingerprint import fingerprint
from bitloss.spec.serving import Serving
from bitloss.types import IntArray, Window

__all__ = ["LogitsScorer", "WindowPiece"]

# Tokens read in one piece: seconds to minutes of work that a kill can cost.
PIECE_TOKENS = 16_384


@dataclass(frozen=True, slots=True)
class WindowPiece:
    """Neighbouring windows, each read by itself; satisfies `bitloss.engines.base.Piece`."""

    first: int
    windows: tuple[Window, ...]
    digest: str
    tokens: int

    def window_index(self) -> IntArray:
        """See `Piece.window_index`."""
        return window_index(self.first, self.windows)


class LogitsScorer:
    """Evaluates candidates of one engine beside a reference of the same or of another engine.

    Args:
        setup: store, reference, batch size and the rest.
        engine: gives the candidates' logits.
        source: the reference's own engine and its scorer, which cuts the text, keeps what it needs
            of it and gives the reference's logits; None if the reference is of `engine` itself.
    """

    def __init__(
        self, setup: Setup, engine: Engine, source: tuple[Engine, PairScorer] | None = None
    ) -> None:
        self.setup = setup
        self.reference = setup.reference
        self._engine = engine
        self._reference_engine = engine if source is None else source[0]
        self._source = None if source is None else source[1]
        self._loaded: LogitsModel | None = None

    def pieces(self, windows: Sequence[Window]) -> Sequence[Piece]:
        """See `PairScorer.pieces`."""
        return self._source.pieces(windows) if self._source else _cut(windows, PIECE_TOKENS)

    def smallest_pieces(self, windows: Sequence[Window], enough: int) -> Sequence[Piece]:
        """See `PairScorer.smallest_pieces`: single windows."""
        return self._source.smallest_pieces(windows, enough) if self._source else _cut(windows, 0)

    def unscored(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> list[Piece]:
        """See `PairScorer.unscored`."""
        if self._source is not None:
            lacks = {piece.first for piece in self._source.unscored(pieces, [])}
        else:
            lacks = {p.first for p in pieces if not self._is_there(self._reference_key(p))}
        return [
            piece
            for piece in pieces
            if piece.first in lacks or not all(self._has(piece, one) for one in group)
        ]

    def rounds(self, pieces: Sequence[Piece], candidates: int) -> int:
        """See `PairScorer.rounds`: nothing is kept of a candidate."""
        del pieces
        return max(1, candidates)

    def prepare(
        self, pieces: Sequence[Piece], candidate: Candidate, group: Sequence[Candidate]
    ) -> None:
        """See `PairScorer.prepare`: only a reference of another engine has something to do."""
        if candidate is not self.reference or self._source is None:
            return
        scored = [all(self._has(piece, other) for other in group) for piece in pieces]
        missing = [piece for piece, done in zip(pieces, scored, strict=True) if not done]
        if missing:
            self._source.prepare(missing, candidate, group)
        # The reference's own records have names of its engine's, which knows what is there of them.
        rest = [piece for piece, done in zip(pieces, scored, strict=True) if done]
        if rest:
            self._source.prepare(rest, candidate, [])

    def score(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> Scores:
        """See `PairScorer.score`."""
        scores = Scores(self._reference_records(pieces))
        for candidate in group:
            try:
                self._score_candidate(pieces, candidate)
                scores.variants[candidate.label] = [self._key(p, candidate) for p in pieces]
            except StorageError:
                raise
            except BitlossError as error:
                scores.failed[candidate.label] = error
        self._loaded = None
        self._engine.release()
        return scores

    def reference_logits(self, piece: Piece) -> Iterator[torch.Tensor]:
        """See `PairScorer.reference_logits`."""
        if self._source is not None:
            yield from self._source.reference_logits(piece)
            return
        if self._loaded is None:
            self._loaded = self._load(self.reference)
        yield from logits_of(self._loaded, piece)

    def kept_states(self, pieces: Sequence[Piece]) -> list[str]:
        """See `PairScorer.kept_states`: what the reference's own scorer keeps."""
        return [] if self._source is None else self._source.kept_states(pieces)

    def noise_floor(self, windows: Sequence[Window]) -> list[str]:
        """See `PairScorer.noise_floor`: the reference run by this engine, a window at a time."""
        own = self.setup.arithmetic.get(self._engine.name, self.reference.arithmetic)
        candidate = replace(self.reference, engine=self._engine.name, arithmetic=own, alone=True)
        pieces = self.pieces(windows)
        self.prepare(pieces, self.reference, [candidate])
        return self.score(pieces, [candidate]).records_of(candidate)

    def rounding_noise(
        self, windows: Sequence[Window], serving: Serving, candidate: Candidate | None = None
    ) -> list[str]:
        """See `PairScorer.rounding_noise`: both runs by this engine, held against each other."""
        if not self._engine.nudges:
            raise UnsupportedModel(
                f"engine `{self._engine.name}` cannot move a layer's output by its last bit",
                hint="choose another --engine to learn how far a model is from itself",
            )
        own = self.setup.arithmetic.get(self._engine.name, self.reference.arithmetic)
        plain = candidate or replace(
            self.reference, engine=self._engine.name, arithmetic=own, serving=serving
        )
        nudged = replace(plain, nudged=True)
        pieces = self.pieces(windows)
        keys = [
            fingerprint(
                {
                    "kind": "noise",
                    "beside": self._engine.identity(plain, batch_tokens=self.setup.batch_tokens),
                    **self._facts(piece, nudged),
                }
            )
            for piece in pieces
        ]
        missing = [pair for pair in zip(pieces, keys, strict=True) if not self._is_there(pair[1])]
        if missing:
            model, comparer = self._load(plain), FullComparer(self._load(nudged), greedy=False)
            for piece, key in missing:
                found = comparer.columns(piece, partial(logits_of, model, piece))
                self.setup.store.write_records(key, self._base(piece) | found)
            del model, comparer
            self._engine.release()
        return keys

    def exact(self) -> PairScorer | None:
        """See `PairScorer.exact`: the reference in its engine's exact arithmetic. What the kernels
        of this engine do is fixed.
        """
        exact = None if self._source is None else self._source.exact()
        if exact is None:
            return None
        setup = replace(self.setup, reference=exact.reference)
        return LogitsScorer(setup, self._engine, (self._reference_engine, exact))

    def _reference_records(self, pieces: Sequence[Piece]) -> list[str]:
        if self._source is not None:
            return self._source.score(pieces, []).reference
        keys = [self._reference_key(piece) for piece in pieces]
        for piece, key in zip(pieces, keys, strict=True):
            if self.setup.store.has_records(key):
                continue
            own = reference_columns(
                piece, self.reference_logits(piece), greedy=self.setup.share_prefixes
            )
            self.setup.store.write_records(key, self._base(piece) | own)
        return keys

    def _score_candidate(self, pieces: Sequence[Piece], candidate: Candidate) -> None:
        missing = [piece for piece in pieces if not self._has(piece, candidate)]
        if not missing:
            return
        progress = self.setup.progress
        with progress.task(f"load {candidate.model.name}", None, "bytes"):
            comparer = self._comparer(candidate)
        total = sum(piece.tokens for piece in missing)
        with progress.task(f"compare {candidate.label}", total) as advance:
            for piece in missing:
                try:
                    found = comparer.columns(piece, partial(self.reference_logits, piece))
                except NumericalError as error:
                    raise NumericalError(
                        f"{candidate.model.name}: {error.message}", hint=error.hint
                    ) from error
                self.setup.store.write_records(
                    self._key(piece, candidate), self._base(piece) | found
                )
                advance(piece.tokens)

    def _comparer(self, candidate: Candidate) -> Comparer:
        if self._engine.top_k is not None:
            return LikelyComparer(
                self._engine.top_k(candidate, self.setup), greedy=self.setup.share_prefixes
            )
        return FullComparer(self._load(candidate), greedy=self.setup.share_prefixes)

    def _base(self, piece: Piece) -> dict[str, Any]:
        return {"window": piece.window_index(), "token": scored_tokens(piece.windows)}

    def _load(self, candidate: Candidate) -> LogitsModel:
        if self._engine.logits is None:
            raise UnsupportedModel(
                f"engine `{self._engine.name}` gives no logits to compare",
                hint="choose another --engine (`bitloss list engines`)",
            )
        return self._engine.logits(candidate, batch_tokens=self.setup.batch_tokens)

    def _has(self, piece: Piece, candidate: Candidate) -> bool:
        return self._is_there(self._key(piece, candidate))

    def _is_there(self, key: str) -> bool:
        return self.setup.store.has_records(key)

    def _reference_key(self, piece: Piece) -> str:
        return fingerprint({"kind": "reference", **self._facts(piece, self.reference)})

    def _key(self, piece: Piece, candidate: Candidate) -> str:
        columns = TOP_K_COLUMNS if self._engine.top_k is not None else PAIR_COLUMNS
        facts = {"kind": "pair", "columns": list(columns)}
        return fingerprint({**facts, **self._facts(piece, candidate)})

    def _facts(self, piece: Piece, candidate: Candidate) -> dict[str, Any]:
        """Everything that decides the bytes of a record."""
        batch = self.setup.batch_tokens
        return {
            "reference": self._reference_engine.identity(self.reference, batch_tokens=batch),
            "variant": {
                **self._engine.identity(candidate, batch_tokens=batch),
                "alone": candidate.alone,
            },
            "windows": piece.digest,
            "first": piece.first,
            "prefixes": "shared" if self.setup.share_prefixes else "",
        }


def _cut(windows: Sequence[Window], tokens: int) -> list[WindowPiece]:
    """Pieces of about so many tokens, at least a window each."""
    pieces: list[WindowPiece] = []
    group: list[Window] = []
    size = first = 0
    for window in windows:
        if group and size + len(window.ids) - 1 > tokens:
            pieces.append(_piece(first, group))
            first, size, group = first + len(group), 0, []
        group.append(window)
        size += len(window.ids) - 1
    if group:
        pieces.append(_piece(first, group))
    return pieces


def _piece(first: int, windows: Sequence[Window]) -> WindowPiece:
    tokens = sum(len(window.ids) - 1 for window in windows)
    return WindowPiece(first, tuple(windows), digest_windows(windows), tokens)
