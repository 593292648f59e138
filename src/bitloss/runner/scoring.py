"""Bodies first, heads after: models scored on a corpus, shard by shard, resumed from the store.

For each model the hidden states at scored positions are computed once and put on disk. When the
states of all models are there, the heads run shard by shard over the vocabulary, the reference's
logits being computed once for all variants. A variant's states are then dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitloss.engines.dense import ModelGraph, hidden_states, return_freed_memory
from bitloss.errors import Incomparable
from bitloss.runner.candidates import Candidate, Keys, Scores, state_width
from bitloss.runner.heads import Heads
from bitloss.runner.shards import Shard, forwards, shards
from bitloss.runner.store import RunStore
from bitloss.types import Progress, Window

__all__ = ["Scorer"]


class Scorer:
    """Scores candidates against one reference in one arithmetic.

    Args:
        store: the run directory.
        reference: the reference and its arithmetic.
        batch_tokens: tokens in one forward.
        device: a torch device.
        state_bytes: variants' hidden states kept on disk at once, at most; more variants than
            fit are scored in several rounds.
        share_prefixes: compute what windows begin with in common once (tasks; running text has
            nothing of the kind). Records then say besides whether a token is the likeliest one
            (column ``greedy``).
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
        share_prefixes: bool = False,
    ) -> None:
        self.store = store
        self.reference = reference
        self.batch_tokens = batch_tokens
        self.device = device
        self.progress = progress
        self.state_bytes = state_bytes
        self.share_prefixes = share_prefixes
        self._keys = Keys(reference, batch_tokens=batch_tokens, device=device)
        self._heads = Heads(store, reference, keys=self._keys, device=device, progress=progress)

    def score(self, windows: Sequence[Window], candidates: Sequence[Candidate]) -> Scores:
        """Score every candidate on the windows: see `score_shards`."""
        return self.score_shards(self.shards(windows), candidates)

    def shards(self, windows: Sequence[Window]) -> list[Shard]:
        """The windows in pieces.

        A piece of which a run in random order has left forwards goes on by forwards, so that none
        of them is done again.
        """
        pieces = shards(windows, self.batch_tokens, share_prefixes=self.share_prefixes)
        if self.share_prefixes:
            return pieces
        found: list[Shard] = []
        for piece in pieces:
            parts = forwards(piece.windows, self.batch_tokens, first=piece.first)
            left = any(map(self._has_reference, parts)) and not self._has_reference(piece)
            found += parts if left else [piece]
        return found

    def score_shards(self, pieces: Sequence[Shard], candidates: Sequence[Candidate]) -> Scores:
        """Score every candidate on the pieces; what the store already has is not done again.

        A candidate whose files or numbers are at fault is among the failed, and the others go on.

        Raises:
            CheckpointError: the reference's weights are incomplete or damaged.
            NumericalError: the reference itself gives NaN or infinite values.
            StorageError: the run directory cannot be written or holds a damaged file.
        """
        scores = Scores([self._keys.reference(piece) for piece in pieces], {}, {})
        scores.failed.update(_too_few_tokens(pieces, candidates))
        known = [c for c in candidates if c.label not in scores.failed]
        for group in self._rounds(pieces, known):
            self._bodies(pieces, group, scores)
            return_freed_memory()
            self._heads.score(pieces, group, scores)
            return_freed_memory()
            for candidate in scores.whole(group):
                scores.variants[candidate.label] = [self._keys.pair(p, candidate) for p in pieces]
        return scores

    def _has_reference(self, piece: Shard) -> bool:
        return self.store.has_records(self._keys.reference(piece))

    def _rounds(
        self, pieces: Sequence[Shard], candidates: Sequence[Candidate]
    ) -> Iterator[list[Candidate]]:
        """Candidates whose states fit on disk together; an empty round scores the reference."""
        size = (
            sum(piece.states for piece in pieces)
            * state_width(self.reference.model)
            * (2 if self.reference.precision == "bf16" else 4)
        )
        fit = max(1, self.state_bytes // max(1, size))
        for at in range(0, max(1, len(candidates)), fit):
            yield list(candidates[at : at + fit])

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
                    code=self.reference.model.code,
                )
            if candidate is self.reference:
                self._body(graph, candidate, todo)
                continue
            with scores.blame(candidate):
                self._body(graph, candidate, todo)

    def _needs_states(self, piece: Shard, candidate: Candidate, group: Sequence[Candidate]) -> bool:
        if self.store.has_states(self._keys.states(piece, candidate)):
            return False
        if candidate is not self.reference:
            return not self.store.has_records(self._keys.pair(piece, candidate))
        return not self._heads.finished(piece, group)

    def _body(self, graph: ModelGraph, candidate: Candidate, todo: Sequence[Shard]) -> None:
        import torch

        checkpoint = candidate.model.checkpoint
        with self.progress.task(f"load {candidate.model.name}", None, "bytes") as advance:
            graph.load(checkpoint, advance)
        tokens = sum(piece.tokens for piece in todo)
        with self.progress.task(f"read text with {candidate.label}", tokens) as advance:
            for piece in todo:
                parts = hidden_states(
                    graph,
                    piece.windows,
                    self.batch_tokens,
                    share_prefixes=piece.share_prefixes,
                    alone=candidate.alone,
                )
                self.store.write_states(self._keys.states(piece, candidate), torch.cat(list(parts)))
                advance(piece.tokens)


def _too_few_tokens(
    pieces: Sequence[Shard], candidates: Sequence[Candidate]
) -> Iterator[tuple[str, Incomparable]]:
    """Candidates that lack tokens of the text: they have neither rows nor logits for them."""
    highest = max(int(window.ids.max()) for piece in pieces for window in piece.windows)
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
