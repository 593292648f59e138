"""A `PairScorer` for any engine that yields logits: the general half of the seam.

The candidate's logits are compared on the fly, a block of positions at a time, with the reference's
logits, which the reference's own scorer gives (the dense engine's from what it kept of its pass
over the text). Nothing of the size ``[text, vocabulary]`` is ever held or stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bitloss.engines.base import PAIR_COLUMNS, Engine, LogitsModel, PairScorer, Piece
from bitloss.engines.token_scores import FullLogits, score_positions
from bitloss.engines.top_k import TOP_K_COLUMNS, TopK, TopKModel, compare_top_k
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
    Incomparable,
    NumericalError,
    StorageError,
    UnsupportedModel,
)
from bitloss.spec.fingerprint import fingerprint
from bitloss.types import IntArray, Window

__all__ = ["LogitsScorer", "WindowPiece"]

# Positions compared at a time: 64 x 262,144 float32 logits of two models are 134 MB.
POSITIONS = 64
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

    def smallest_pieces(self, windows: Sequence[Window]) -> Sequence[Piece]:
        """See `PairScorer.smallest_pieces`: single windows."""
        return self._source.smallest_pieces(windows) if self._source else _cut(windows, 0)

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
        yield from _logits(self._loaded, piece)

    def noise_floor(self, windows: Sequence[Window]) -> list[str]:
        """See `PairScorer.noise_floor`: the reference run by this engine, a window at a time."""
        own = self.setup.arithmetic.get(self._engine.name, self.reference.arithmetic)
        candidate = replace(self.reference, engine=self._engine.name, arithmetic=own, alone=True)
        pieces = self.pieces(windows)
        self.prepare(pieces, self.reference, [candidate])
        return self.score(pieces, [candidate]).records_of(candidate)

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
        keys = [
            fingerprint({"kind": "reference", **self._facts(p, self.reference)}) for p in pieces
        ]
        for piece, key in zip(pieces, keys, strict=True):
            if self.setup.store.has_records(key):
                continue
            parts = [
                score_positions(tokens, FullLogits(block), [])[0]
                for tokens, block in _with_targets(piece, self.reference_logits(piece))
            ]
            self.setup.store.write_records(key, self._base(piece) | self._columns(parts))
        return keys

    def _score_candidate(self, pieces: Sequence[Piece], candidate: Candidate) -> None:
        missing = [piece for piece in pieces if not self._has(piece, candidate)]
        if not missing:
            return
        progress = self.setup.progress
        with progress.task(f"load {candidate.model.name}", None, "bytes"):
            partial = None if self._engine.top_k is None else self._engine.top_k
            likely = None if partial is None else partial(candidate, self.setup)
            model = None if likely is not None else self._load(candidate)
        if likely is not None:
            self._require_right(missing[0], likely)
        total = sum(piece.tokens for piece in missing)
        with progress.task(f"compare {candidate.label}", total) as advance:
            for piece in missing:
                try:
                    if likely is not None:
                        self._score_likely(piece, candidate, likely)
                    else:
                        assert model is not None
                        self._score_piece(piece, candidate, model)
                except NumericalError as error:
                    raise NumericalError(
                        f"{candidate.model.name}: {error.message}", hint=error.hint
                    ) from error
                advance(piece.tokens)

    def _score_piece(self, piece: Piece, candidate: Candidate, model: LogitsModel) -> None:
        ours, theirs = [], []
        blocks = _blocks(self.reference_logits(piece))
        for (tokens, block), other in zip(
            _with_targets(piece, blocks), _blocks(_logits(model, piece)), strict=True
        ):
            base, (pair,) = score_positions(tokens, FullLogits(block), [FullLogits(other)])
            ours.append(base)
            theirs.append(pair)
        shared = {
            "reference_nll": np.concatenate([part.nll for part in ours]),
            "reference_entropy": np.concatenate([part.entropy for part in ours]),
        }
        columns = self._base(piece) | shared | self._columns(theirs)
        self.setup.store.write_records(self._key(piece, candidate), columns)

    def _require_right(self, piece: Piece, model: TopKModel) -> None:
        """Hold the longest window's losses against the reference's before anything is written."""
        longest = max(range(len(piece.windows)), key=lambda n: piece.windows[n].n_scored)
        start = sum(window.n_scored for window in piece.windows[:longest])
        window = piece.windows[longest]
        losses = [
            -block.double().log_softmax(1).gather(1, tokens[:, None])[:, 0].cpu().numpy()
            for tokens, block in _with_targets(piece, _blocks(self.reference_logits(piece)))
        ]
        own = np.concatenate(losses)[start : start + window.n_scored]
        model.require_right(window, own.astype(np.float32))

    def _score_likely(self, piece: Piece, candidate: Candidate, model: TopKModel) -> None:
        found = model.top_k(piece.windows)
        parts, held = [], None
        for tokens, block in _with_targets(piece, _blocks(self.reference_logits(piece))):
            while held is None or len(held.nll) < len(block):
                held = _joined(held, next(found))
            own, held = _parted(held, len(block))
            parts.append(compare_top_k(tokens.cpu().numpy().astype(np.int32), block, own))
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in parts[0].__slots__
        }
        self.setup.store.write_records(self._key(piece, candidate), self._base(piece) | columns)

    def _base(self, piece: Piece) -> dict[str, Any]:
        return {"window": piece.window_index(), "token": scored_tokens(piece.windows)}

    def _columns(self, parts: Sequence[Any]) -> dict[str, Any]:
        """A record's columns; whether a token is the most likely one is kept for tasks only."""
        names = [n for n in parts[0].__slots__ if self.setup.share_prefixes or n != "greedy"]
        return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}

    def _load(self, candidate: Candidate) -> LogitsModel:
        if self._engine.logits is None:
            raise UnsupportedModel(
                f"engine `{self._engine.name}` gives no logits to compare",
                hint="choose another --engine (`bitloss list engines`)",
            )
        return self._engine.logits(candidate, batch_tokens=self.setup.batch_tokens)

    def _has(self, piece: Piece, candidate: Candidate) -> bool:
        return self.setup.store.has_records(self._key(piece, candidate))

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


def _joined(one: TopK | None, other: TopK) -> TopK:
    """Positions of both; places that one of them has not are empty."""
    if one is None:
        return other
    most = max(one.ids.shape[1], other.ids.shape[1])

    def wide(values: Any, empty: float) -> Any:
        return np.pad(values, ((0, 0), (0, most - values.shape[1])), constant_values=empty)

    return TopK(
        np.concatenate([one.nll, other.nll]),
        np.concatenate([wide(one.ids, -1), wide(other.ids, -1)]),
        np.concatenate([wide(one.logprobs, 0), wide(other.logprobs, 0)]),
        np.concatenate([one.most_likely, other.most_likely]),
    )


def _parted(whole: TopK, size: int) -> tuple[TopK, TopK]:
    """The first positions, and the others."""
    names = TopK.__slots__
    return (
        TopK(*(getattr(whole, name)[:size] for name in names)),
        TopK(*(getattr(whole, name)[size:] for name in names)),
    )


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


def _logits(model: LogitsModel, piece: Piece) -> Iterator[torch.Tensor]:
    largest = max(int(window.ids.max()) for window in piece.windows)
    if largest >= model.vocabulary:
        raise Incomparable(
            f"the model knows tokens 0 to {model.vocabulary - 1}, the text has {largest}",
            hint="use a quantized copy of the reference, with all of its rows",
        )
    together = getattr(model, "logits_of", None)
    if together is not None:
        yield from _counted(together(piece.windows), sum(w.n_scored for w in piece.windows))
        return
    for window in piece.windows:
        yield from _counted(model.logits(window), window.n_scored)


def _counted(blocks: Iterator[torch.Tensor], expected: int) -> Iterator[torch.Tensor]:
    """The blocks, if they have logits for just so many tokens."""
    given = 0
    for block in blocks:
        given += len(block)
        yield block
    if given != expected:
        raise Incomparable(
            f"expected logits for {expected} tokens, got {given}",
            hint="report this: the engine breaks the contract of `LogitsModel.logits`",
        )


def _blocks(blocks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The same positions in blocks of `POSITIONS`, whatever blocks they come in."""
    held: list[torch.Tensor] = []
    size = 0
    for block in blocks:
        for at in range(0, len(block), POSITIONS):
            held.append(block[at : at + POSITIONS])
            size += len(held[-1])
            if size < POSITIONS:
                continue
            together = held[0] if len(held) == 1 else torch.cat(held)
            yield together[:POSITIONS]
            held = [together[POSITIONS:]] if size > POSITIONS else []
            size -= POSITIONS
    if size:
        yield torch.cat(held)


def _with_targets(
    piece: Piece, blocks: Iterator[torch.Tensor]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Each block with the tokens that its positions predict."""
    tokens = torch.from_numpy(scored_tokens(piece.windows).astype(np.int64))
    at = 0
    for block in blocks:
        yield tokens[at : at + len(block)].to(block.device), block
        at += len(block)
