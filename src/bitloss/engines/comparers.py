"""What a piece's records hold: a candidate's logits, or its likely tokens, beside the reference's.

Both are compared block by block, so that nothing of the size ``[piece, vocabulary]`` is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from bitloss.engines.base import LogitsModel, Piece
from bitloss.engines.token_scores import FullLogits, score_positions
from bitloss.engines.top_k import TopK, TopKModel, compare_top_k
from bitloss.engines.values import scored_tokens
from bitloss.errors import Incomparable

__all__ = ["Comparer", "FullComparer", "LikelyComparer", "logits_of", "reference_columns"]

# Positions compared at a time: 64 x 262,144 float32 logits of two models are 134 MB.
POSITIONS = 64

ReferenceLogits = Callable[[], Iterator[torch.Tensor]]
"""Gives the reference's logits at a piece's scored tokens, from the beginning at every call."""


class Comparer(Protocol):
    """A loaded candidate, ready to be held against the reference."""

    def columns(self, piece: Piece, reference: ReferenceLogits) -> dict[str, Any]:
        """The columns of its records of a piece that depend on the models.

        Raises:
            Incomparable: it cannot be a copy of the reference, or its engine breaks its contract.
            NumericalError: NaN or infinite values; the scorer adds the model's name.
        """


class FullComparer:
    """Compares whole distributions.

    Args:
        model: the candidate.
        greedy: whether records say if a token is the most likely one: for tasks only.
    """

    def __init__(self, model: LogitsModel, *, greedy: bool) -> None:
        self._model = model
        self._greedy = greedy

    def columns(self, piece: Piece, reference: ReferenceLogits) -> dict[str, Any]:
        """See `Comparer.columns`."""
        ours, theirs = [], []
        for (tokens, block), other in zip(
            _with_targets(piece, _blocks(reference())),
            _blocks(logits_of(self._model, piece)),
            strict=True,
        ):
            base, (pair,) = score_positions(tokens, FullLogits(block), [FullLogits(other)])
            ours.append(base)
            theirs.append(pair)
        return {
            "reference_nll": np.concatenate([part.nll for part in ours]),
            "reference_entropy": np.concatenate([part.entropy for part in ours]),
            **_columns(theirs, greedy=self._greedy),
        }


class LikelyComparer:
    """Compares what is known of likely tokens, once its log-probabilities are seen to be right.

    Args:
        model: the candidate.
        greedy: see `FullComparer`.
    """

    def __init__(self, model: TopKModel, *, greedy: bool) -> None:
        self._model = model
        self._greedy = greedy
        self._is_right = False

    def columns(self, piece: Piece, reference: ReferenceLogits) -> dict[str, Any]:
        """See `Comparer.columns`."""
        if not self._is_right:
            self._require_right(piece, reference)
            self._is_right = True
        found = self._model.top_k(piece.windows)
        parts, first, held = [], [], None
        for tokens, block in _with_targets(piece, _blocks(reference())):
            while held is None or len(held.nll) < len(block):
                held = _joined(held, next(found))
            own, held = _parted(held, len(block))
            parts.append(compare_top_k(tokens.cpu().numpy().astype(np.int32), block, own))
            first += [own.greedy] if self._greedy else []
        columns = _columns(parts, greedy=False)
        return {**columns, "greedy": np.concatenate(first)} if self._greedy else columns

    def _require_right(self, piece: Piece, reference: ReferenceLogits) -> None:
        """Hold the longest window's losses against the reference's before anything is written."""
        sizes = [(window.n_scored, len(window.ids)) for window in piece.windows]
        longest = sizes.index(max(sizes))
        start = sum(window.n_scored for window in piece.windows[:longest])
        window = piece.windows[longest]
        losses = [
            -block.double().log_softmax(1).gather(1, tokens[:, None])[:, 0].cpu().numpy()
            for tokens, block in _with_targets(piece, _blocks(reference()))
        ]
        own = np.concatenate(losses)[start : start + window.n_scored]
        self._model.require_right(window, own.astype(np.float32))


def reference_columns(
    piece: Piece, logits: Iterator[torch.Tensor], *, greedy: bool
) -> dict[str, Any]:
    """The columns of the reference's own records of a piece; `greedy` as in `FullComparer`."""
    parts = [
        score_positions(tokens, FullLogits(block), [])[0]
        for tokens, block in _with_targets(piece, logits)
    ]
    return _columns(parts, greedy=greedy)


def _columns(parts: Sequence[Any], *, greedy: bool) -> dict[str, Any]:
    names = [name for name in parts[0].__slots__ if greedy or name != "greedy"]
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}


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
        np.concatenate([one.highest, other.highest]),
    )


def _parted(whole: TopK, size: int) -> tuple[TopK, TopK]:
    """The first positions, and the others."""
    names = TopK.__slots__
    return (
        TopK(*(getattr(whole, name)[:size] for name in names)),
        TopK(*(getattr(whole, name)[size:] for name in names)),
    )


def logits_of(model: LogitsModel, piece: Piece) -> Iterator[torch.Tensor]:
    """A model's logits at the piece's scored tokens, as many as there are.

    Raises:
        Incomparable: the text has tokens that the model does not know, or the engine gives too
            many or too few.
    """
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
