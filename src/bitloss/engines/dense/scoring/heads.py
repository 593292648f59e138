"""The second half of scoring: all models' heads over the vocabulary, shard by shard.

The reference's logits are computed once for all the variants of a group. Which variants share a
group is a matter of memory and changes no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.dense.precision import arithmetic, as_precision
from bitloss.engines.dense.scoring.head import Head, load_head, load_stored_head, weights_of
from bitloss.engines.dense.scoring.keys import Keys
from bitloss.engines.dense.scoring.shards import Shard
from bitloss.engines.dense.scoring.state_cache import StateCache
from bitloss.engines.dense.scoring.stored_rows import StoredRows
from bitloss.engines.dense.streaming.room import dense_bytes, holds_head
from bitloss.engines.devices import for_heads, reports_full_memory
from bitloss.engines.token_scores import (
    PairScores,
    ReferenceScores,
    score_positions,
    workers_on,
)
from bitloss.engines.values import Candidate, Scores, Setup, scored_tokens
from bitloss.errors import BitlossError, NumericalError, StorageError

__all__ = ["Heads", "StateLogits", "score_states"]

# Positions of the reference's logits that are given out at a time.
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class StateLogits:
    """Logits of hidden states; satisfies `bitloss.engines.token_scores.Logits`.

    Attributes:
        head: the model's own.
        states: post-norm hidden states, shape ``[positions, d_model]``.
    """

    head: Head
    states: torch.Tensor

    @property
    def positions(self) -> int:
        """Number of positions."""
        return len(self.states)

    @property
    def vocabulary(self) -> int:
        """Number of logits per position."""
        return self.head.vocabulary

    def block(self, rows: slice, start: int, stop: int) -> torch.Tensor:
        """Float32 logits of some positions and the tokens ``start`` to ``stop - 1``."""
        return self.head.logits(self.states[rows], start, stop)


def score_states(
    targets: torch.Tensor,
    reference: StateLogits,
    variants: Sequence[StateLogits],
    rows: torch.Tensor | None = None,
    *,
    roomy: bool = True,
) -> tuple[ReferenceScores, list[PairScores]]:
    """`score_positions` with as many workers as may ask the heads for logits at a time.

    Args:
        targets: see there.
        reference: see there.
        variants: see there.
        rows: see there.
        roomy: whether there is memory for more than one worker.

    Raises:
        NumericalError: see there.
    """
    heads = [reference.head, *(variant.head for variant in variants)]
    # The precision of products is set for the whole process.
    same = len({head.precision for head in heads}) == 1
    # A head in a file is read at one place at a time.
    held = not any(isinstance(head.weight, StoredRows) for head in heads)
    workers = workers_on(targets.device) if roomy and same and held else 1
    # Set here for all workers: each sets it again, and none may put back what was before.
    with arithmetic(reference.head.precision):
        return score_positions(targets, reference, variants, rows, workers=workers)


class Heads:
    """Applies heads to hidden states that are in the store.

    Args:
        setup: store, reference, device and progress.
        keys: names in the store.
        cache: of hidden states.
    """

    def __init__(self, setup: Setup, *, keys: Keys, cache: StateCache) -> None:
        self.store = setup.store
        self.reference = setup.reference
        self.progress = setup.progress
        self.keys = keys
        self._kept: Head | None = None
        self._cache = cache
        self._memory = setup.memory
        self._scratch = setup.scratch
        self._device = for_heads(setup.reference.device)

    def finished(self, piece: Shard, group: Sequence[Candidate]) -> bool:
        """Whether the store has every record of the shard."""
        keys = [self.keys.reference(piece), *(self.keys.pair(piece, c) for c in group)]
        return all(self.store.has_records(key) for key in keys)

    def score(self, pieces: Sequence[Shard], group: Sequence[Candidate], scores: Scores) -> None:
        """Turn the group's hidden states into records, and drop the states.

        Raises:
            CheckpointError: the reference's head is missing or damaged.
            NumericalError: the reference's logits are NaN or infinite.
            StorageError: the run directory cannot be written or holds a damaged file.
        """
        todo = [piece for piece in pieces if not self.finished(piece, scores.not_failed(group))]
        if todo:
            reference = self._head(self.reference)
            budget = 3 * dense_bytes(self.reference) // 2
            if self._memory is not None:
                budget = min(budget, self._memory // 4)
            for heads in self._head_groups(reference, group, budget, scores):
                self._score_heads(todo, reference, heads, scores)
        for candidate in group:
            self.drop_states(pieces, candidate)

    def drop_states(self, pieces: Sequence[Shard], candidate: Candidate) -> None:
        """Remove a candidate's hidden states, unless they are the reference's too.

        Raises:
            StorageError: the run directory cannot be written.
        """
        kept = {self.keys.states(piece, self.reference) for piece in pieces}
        for piece in pieces:
            states = self.keys.states(piece, candidate)
            if states not in kept:  # a copy of the reference has its states
                self._cache.drop(states)

    def reference_logits(self, piece: Shard) -> Iterator[torch.Tensor]:
        """The reference's logits at each scored token of the shard, a block at a time."""
        if self._kept is None:
            self._kept = self._head(self.reference, held=True)
        states = self._states(piece, self.reference)
        if piece.rows is not None:
            states = states[torch.from_numpy(piece.rows).long().to(states.device)]
        for at in range(0, len(states), _BLOCK):
            yield self._kept.logits(states[at : at + _BLOCK], 0, self._kept.vocabulary)

    def _head(self, candidate: Candidate, *, held: bool = False) -> Head:
        """A candidate's head; one that takes too much of the memory is read a block at a time."""
        weights, code = weights_of(candidate), candidate.model.code
        precision = as_precision(candidate.arithmetic)
        device = for_heads(candidate.device)
        with reports_full_memory(candidate.model.name, candidate.device):
            if held or holds_head(candidate, self._memory):
                return load_head(weights, precision=precision, device=device, code=code)
            return load_stored_head(
                weights, precision=precision, device=device, code=code, scratch=self._scratch
            )

    def _head_groups(
        self, reference: Head, group: Sequence[Candidate], budget: int, scores: Scores
    ) -> Iterator[dict[str, tuple[Candidate, Head]]]:
        """Heads that fit in memory together and share a vocabulary; equal ones are held once."""
        heads: dict[str, tuple[Candidate, Head]] = {}
        held = 0
        for candidate in scores.not_failed(group):
            try:
                head = self._head(candidate)
            except StorageError:
                raise
            except BitlossError as error:
                scores.failed[candidate.label] = error
                continue
            if head.is_equivalent(reference):
                head = reference
            size = 0 if head is reference else head.weight.nbytes
            columns = min(head.vocabulary, reference.vocabulary)
            others = {min(h.vocabulary, reference.vocabulary) for _, h in heads.values()}
            if heads and (held + size > budget or others != {columns}):
                yield heads
                heads, held = {}, 0
            heads[candidate.label] = candidate, head
            held += size
        yield heads

    def _score_heads(
        self,
        todo: Sequence[Shard],
        reference: Head,
        heads: dict[str, tuple[Candidate, Head]],
        scores: Scores,
    ) -> None:
        total = sum(len(scored_tokens(piece.windows)) for piece in todo)
        label = f"compare {len(heads)} variant{'s'[len(heads) == 1 :]}"
        label = label if heads else "score the reference"
        with self.progress.task(label, total) as advance:
            for piece in todo:
                missing = [
                    (candidate, head)
                    for candidate, head in heads.values()
                    if candidate.label not in scores.failed
                    and not self.store.has_records(self.keys.pair(piece, candidate))
                ]
                if missing or not self.store.has_records(self.keys.reference(piece)):
                    with reports_full_memory(self.reference.model.name, self._device):
                        self._score_shard(piece, reference, missing, scores)
                advance(len(scored_tokens(piece.windows)))

    def _score_shard(
        self,
        piece: Shard,
        reference: Head,
        heads: Sequence[tuple[Candidate, Head]],
        scores: Scores,
    ) -> None:
        try:
            ours, theirs = self._positions(piece, reference, heads)
        except torch.OutOfMemoryError:
            if self._cache.let_go():
                self._score_shard(piece, reference, heads, scores)
                return
            if len(heads) < 2:
                raise
            for one in heads:
                self._score_shard(piece, reference, [one], scores)
            return
        except NumericalError:
            ours, _ = self._positions(piece, reference, [])  # raises where that one is at fault
            heads = [pair for pair in heads if self._gives_numbers(piece, reference, pair, scores)]
            ours, theirs = self._positions(piece, reference, heads)
        base = {"window": piece.window_index(), "token": scored_tokens(piece.windows)}
        shared = {"reference_nll": ours.nll, "reference_entropy": ours.entropy}
        for (candidate, _), pair in zip(heads, theirs, strict=True):
            self.store.write_records(
                self.keys.pair(piece, candidate), base | shared | _columns(piece, pair)
            )
        if self.store.has_records(self.keys.reference(piece)):
            return
        if any(head.vocabulary < reference.vocabulary for _, head in heads):
            # The reference's own numbers are over its own vocabulary.
            ours, _ = self._positions(piece, reference, [])
        self.store.write_records(self.keys.reference(piece), base | _columns(piece, ours))

    def _positions(
        self, piece: Shard, reference: Head, heads: Sequence[tuple[Candidate, Head]]
    ) -> tuple[ReferenceScores, list[PairScores]]:
        tokens = torch.from_numpy(scored_tokens(piece.windows).astype(np.int64))
        return score_states(
            tokens.to(self._device),
            StateLogits(reference, self._states(piece, self.reference)),
            [StateLogits(head, self._states(piece, candidate)) for candidate, head in heads],
            None if piece.rows is None else torch.from_numpy(piece.rows).to(self._device),
            roomy=self._memory is None,
        )

    def _gives_numbers(
        self, piece: Shard, reference: Head, pair: tuple[Candidate, Head], scores: Scores
    ) -> bool:
        """Whether a variant's logits are finite, given that the reference's are."""
        candidate, _ = pair
        try:
            self._positions(piece, reference, [pair])
        except NumericalError as error:
            scores.failed[candidate.label] = NumericalError(
                f"{candidate.model.name}: {error.message}", hint=error.hint
            )
        return candidate.label not in scores.failed

    def _states(self, piece: Shard, candidate: Candidate) -> torch.Tensor:
        return self._cache.read(self.keys.states(piece, candidate))


def _columns(piece: Shard, scores: ReferenceScores | PairScores) -> dict[str, NDArray[Any]]:
    """A record's columns; whether a token is the likeliest one is asked of tasks only."""
    names = [name for name in scores.__slots__ if piece.share_prefixes or name != "greedy"]
    return {name: getattr(scores, name) for name in names}
