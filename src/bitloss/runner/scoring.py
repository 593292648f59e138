"""Bodies first, heads after: models scored on a corpus, shard by shard, resumed from the store.

For each model the hidden states at scored positions are computed once and put on disk. When the
states of all models are there, the heads run shard by shard over the vocabulary, the reference's
logits being computed once for all variants. A variant's states are then dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from bitloss._version import __version__
from bitloss.engines.dense import (
    Head,
    ModelGraph,
    PairScores,
    Precision,
    ReferenceScores,
    hidden_states,
    load_head,
    score_positions,
    targets,
)
from bitloss.errors import BitlossError, Incomparable, NumericalError, StorageError
from bitloss.runner.models import Model
from bitloss.runner.shards import Shard, shards
from bitloss.runner.store import RunStore
from bitloss.spec.fingerprint import fingerprint
from bitloss.types import Progress, Window

if TYPE_CHECKING:
    import torch

__all__ = ["ENGINE_VERSION", "Candidate", "Scorer", "Scores", "state_width"]

ENGINE_VERSION = "dense-1"
"""Raised by hand whenever a change of the engine may change a number."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model in an arithmetic, to be scored beside the reference.

    Attributes:
        model: the model.
        precision: the arithmetic.
        alone: read a window at a time: other shapes, hence other rounding, for the noise floor.
    """

    model: Model
    precision: Precision
    alone: bool = False

    @property
    def label(self) -> str:
        """For progress and keys."""
        return f"{self.model.name} ({self.precision}{', alone' * self.alone})"


@dataclass(slots=True)
class Scores:
    """Where the records of one scoring are.

    Attributes:
        reference: fingerprints of the reference's own records, a shard each.
        variants: by the candidate's label, fingerprints of its records, a shard each.
        failed: by the candidate's label, why it could not be scored.
    """

    reference: list[str]
    variants: dict[str, list[str]]
    failed: dict[str, BitlossError]

    def records_of(self, candidate: Candidate) -> list[str]:
        """Fingerprints of a candidate's records, a shard each.

        Raises:
            BitlossError: it could not be scored.
        """
        if candidate.label in self.failed:
            raise self.failed[candidate.label]
        return self.variants[candidate.label]


class Scorer:
    """Scores candidates against one reference in one arithmetic.

    Args:
        store: the run directory.
        reference: the reference and its arithmetic.
        batch_tokens: tokens in one forward.
        device: a torch device.
        state_bytes: variants' hidden states kept on disk at once, at most; more variants than
            fit are scored in several rounds.
        progress: where to report.
    """

    def __init__(
        self,
        store: RunStore,
        reference: Candidate,
        *,
        batch_tokens: int,
        device: str,
        progress: Progress,
        state_bytes: int = 8 << 30,
    ) -> None:
        self.store = store
        self.reference = reference
        self.batch_tokens = batch_tokens
        self.device = device
        self.progress = progress
        self.state_bytes = state_bytes

    def score(self, windows: Sequence[Window], candidates: Sequence[Candidate]) -> Scores:
        """Score every candidate on the windows; what the store already has is not done again.

        A candidate whose files or numbers are at fault is among the failed, and the others go on.

        Raises:
            CheckpointError: the reference's weights are incomplete or damaged.
            NumericalError: the reference itself gives NaN or infinite values.
            StorageError: the run directory cannot be written or holds a damaged file.
        """
        pieces = shards(windows, self.batch_tokens)
        scores = Scores([self._reference_key(piece) for piece in pieces], {}, {})
        scores.failed.update(_too_few_tokens(windows, candidates))
        known = [c for c in candidates if c.label not in scores.failed]
        for group in self._rounds(pieces, known):
            self._bodies(pieces, group, scores)
            self._heads(pieces, group, scores)
            for candidate in _whole(group, scores):
                scores.variants[candidate.label] = [self._pair_key(p, candidate) for p in pieces]
        return scores

    # Keys ---------------------------------------------------------------------------------

    def _states_key(self, shard: Shard, candidate: Candidate) -> str:
        return fingerprint(
            {
                "kind": "states",
                "engine": ENGINE_VERSION,
                "bitloss": __version__,
                "torch": version("torch"),
                "transformers": version("transformers"),
                "model": candidate.model.checkpoint.info.digest,
                "config": candidate.model.checkpoint.config,
                "precision": candidate.precision,
                "device": self.device.partition(":")[0],
                "batch_tokens": 1 if candidate.alone else self.batch_tokens,
                "windows": shard.digest,
                "first": shard.first,
            }
        )

    def _reference_key(self, shard: Shard) -> str:
        states = self._states_key(shard, self.reference)
        return fingerprint({"kind": "reference", "states": states})

    def _pair_key(self, shard: Shard, candidate: Candidate) -> str:
        return fingerprint(
            {
                "kind": "pair",
                "reference": self._states_key(shard, self.reference),
                "variant": self._states_key(shard, candidate),
            }
        )

    # Rounds -------------------------------------------------------------------------------

    def _rounds(
        self, pieces: Sequence[Shard], candidates: Sequence[Candidate]
    ) -> Iterator[list[Candidate]]:
        """Candidates whose states fit on disk together; an empty round scores the reference."""
        scored = sum(window.n_scored for piece in pieces for window in piece.windows)
        size = (
            scored
            * state_width(self.reference.model)
            * (2 if self.reference.precision == "bf16" else 4)
        )
        fit = max(1, self.state_bytes // max(1, size))
        for at in range(0, max(1, len(candidates)), fit):
            yield list(candidates[at : at + fit])

    # Bodies -------------------------------------------------------------------------------

    def _bodies(self, pieces: Sequence[Shard], group: Sequence[Candidate], scores: Scores) -> None:
        graph: ModelGraph | None = None
        for candidate in (self.reference, *group):
            todo = [piece for piece in pieces if self._needs_states(piece, candidate, group)]
            if not todo:
                continue
            if graph is None or graph.precision != candidate.precision:
                graph = None  # the old one's memory goes before the new one's comes
                graph = ModelGraph(
                    self.reference.model.checkpoint.config,
                    precision=candidate.precision,
                    device=self.device,
                )
            with self._blamed(candidate, scores):
                self._body(graph, candidate, todo)

    @contextmanager
    def _blamed(self, candidate: Candidate, scores: Scores) -> Iterator[None]:
        """A fault of a variant's is noted; the reference's, and the disk's, end the run."""
        try:
            yield
        except BitlossError as error:
            if candidate is self.reference or isinstance(error, StorageError):
                raise
            scores.failed[candidate.label] = error

    def _needs_states(self, piece: Shard, candidate: Candidate, group: Sequence[Candidate]) -> bool:
        if self.store.has_states(self._states_key(piece, candidate)):
            return False
        if candidate is not self.reference:
            return not self.store.has_records(self._pair_key(piece, candidate))
        return not self._finished(piece, group)

    def _finished(self, piece: Shard, group: Sequence[Candidate]) -> bool:
        keys = [self._reference_key(piece), *(self._pair_key(piece, c) for c in group)]
        return all(self.store.has_records(key) for key in keys)

    def _body(self, graph: ModelGraph, candidate: Candidate, todo: Sequence[Shard]) -> None:
        import torch

        checkpoint = candidate.model.checkpoint
        with self.progress.task(f"load {candidate.model.name}", None, "bytes") as advance:
            graph.load(checkpoint, advance)
        tokens = sum(piece.tokens for piece in todo)
        with self.progress.task(f"read text with {candidate.label}", tokens) as advance:
            for piece in todo:
                batch = 1 if candidate.alone else self.batch_tokens
                parts = list(hidden_states(graph, piece.windows, batch))
                self.store.write_states(self._states_key(piece, candidate), torch.cat(parts))
                advance(piece.tokens)

    # Heads --------------------------------------------------------------------------------

    def _heads(self, pieces: Sequence[Shard], group: Sequence[Candidate], scores: Scores) -> None:
        todo = [piece for piece in pieces if not self._finished(piece, _whole(group, scores))]
        if todo:
            reference = self._head(self.reference)
            budget = 3 * _dense_bytes(self.reference) // 2
            for heads in self._head_groups(reference, group, budget, scores):
                self._score_heads(todo, reference, heads, scores)
        for piece in pieces:
            for candidate in group:
                self.store.drop_states(self._states_key(piece, candidate))

    def _head(self, candidate: Candidate) -> Head:
        return load_head(
            candidate.model.checkpoint, precision=candidate.precision, device=self.device
        )

    def _head_groups(
        self, reference: Head, group: Sequence[Candidate], budget: int, scores: Scores
    ) -> Iterator[dict[str, tuple[Candidate, Head]]]:
        """Heads that fit in memory together and share a vocabulary; equal ones are held once."""
        heads: dict[str, tuple[Candidate, Head]] = {}
        held = 0
        for candidate in _whole(group, scores):
            with self._blamed(candidate, scores):
                head = self._head(candidate)
            if candidate.label in scores.failed:
                continue
            if head.same_as(reference):
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
        total = sum(len(targets(piece.windows)) for piece in todo)
        label = f"compare {len(heads)} variant{'s'[len(heads) == 1 :]}"
        label = label if heads else "score the reference"
        with self.progress.task(label, total) as advance:
            for piece in todo:
                missing = [
                    (candidate, head)
                    for candidate, head in heads.values()
                    if candidate.label not in scores.failed
                    and not self.store.has_records(self._pair_key(piece, candidate))
                ]
                if missing or not self.store.has_records(self._reference_key(piece)):
                    self._score_shard(piece, reference, missing, scores)
                advance(len(targets(piece.windows)))

    def _score_shard(
        self,
        piece: Shard,
        reference: Head,
        heads: Sequence[tuple[Candidate, Head]],
        scores: Scores,
    ) -> None:
        try:
            ours, theirs = self._positions(piece, reference, heads)
        except NumericalError:
            ours, _ = self._positions(piece, reference, [])  # raises where that one is at fault
            heads = [pair for pair in heads if self._gives_numbers(piece, reference, pair, scores)]
            ours, theirs = self._positions(piece, reference, heads)
        base = {"window": piece.window_index(), "token": targets(piece.windows)}
        shared = {"reference_nll": ours.nll, "reference_entropy": ours.entropy}
        for (candidate, _), pair in zip(heads, theirs, strict=True):
            values = {name: getattr(pair, name) for name in pair.__slots__}
            self.store.write_records(self._pair_key(piece, candidate), base | shared | values)
        if self.store.has_records(self._reference_key(piece)):
            return
        if any(head.vocabulary < reference.vocabulary for _, head in heads):
            # The reference's own numbers are over its own vocabulary.
            ours, _ = self._positions(piece, reference, [])
        self.store.write_records(
            self._reference_key(piece), base | {"nll": ours.nll, "entropy": ours.entropy}
        )

    def _positions(
        self, piece: Shard, reference: Head, heads: Sequence[tuple[Candidate, Head]]
    ) -> tuple[ReferenceScores, list[PairScores]]:
        import torch

        tokens = torch.from_numpy(targets(piece.windows).astype(np.int64))
        return score_positions(
            tokens.to(self.device),
            (reference, self._states(piece, self.reference)),
            [(head, self._states(piece, candidate)) for candidate, head in heads],
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
        states: torch.Tensor = self.store.read_states(self._states_key(piece, candidate))
        return states.to(self.device)


def state_width(model: Model) -> int:
    """Numbers kept for a scored position: the model's hidden size."""
    config = model.checkpoint.config
    return int(config.get("hidden_size") or config["n_embd"])


def _whole(group: Sequence[Candidate], scores: Scores) -> list[Candidate]:
    return [candidate for candidate in group if candidate.label not in scores.failed]


def _too_few_tokens(
    windows: Sequence[Window], candidates: Sequence[Candidate]
) -> Iterator[tuple[str, Incomparable]]:
    """Candidates that lack tokens of the text: they have neither rows nor logits for them."""
    highest = max(int(window.ids.max()) for window in windows)
    for candidate in candidates:
        size = candidate.model.checkpoint.config.get("vocab_size")
        if size is not None and highest >= size:
            yield (
                candidate.label,
                Incomparable(
                    f"{candidate.model.name} knows tokens 0 to {size - 1}, the text has {highest}",
                    hint="a variant must be a quantized copy of the reference, all rows included",
                ),
            )


def _dense_bytes(candidate: Candidate) -> int:
    return candidate.model.checkpoint.info.parameters * (2 if candidate.precision == "bf16" else 4)
