"""Bodies first, heads after: models evaluated on windows, shard by shard, resumed from the store.

`DenseScorer.prepare` computes a model's hidden states at scored positions and keeps them in the
store. When the states of a group are there, `DenseScorer.score` runs all heads shard by shard over
the vocabulary, with the reference's logits computed once for all variants, and drops the variants'
states. It satisfies `bitloss.engines.base.PairScorer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from bitloss.engines.base import Piece
from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import return_freed_memory
from bitloss.engines.dense.precision import Precision, as_precision
from bitloss.engines.dense.scoring.head import weights_of
from bitloss.engines.dense.scoring.heads import Heads
from bitloss.engines.dense.scoring.keys import Identity, Keys, state_width
from bitloss.engines.dense.scoring.shards import Shard, forwards, shards
from bitloss.engines.dense.scoring.state_cache import StateCache
from bitloss.engines.dense.streaming import can_stream, read_by_layers
from bitloss.engines.dense.streaming.room import fits_in_memory, head_bytes, require_room
from bitloss.engines.devices import for_heads, reports_full_memory, room_in
from bitloss.engines.values import Candidate, Scores, Setup
from bitloss.errors import BitlossError, Incomparable, StorageError
from bitloss.formats.base import text_config
from bitloss.spec.serving import Serving
from bitloss.types import Window

__all__ = ["DenseScorer"]


class DenseScorer:
    """Evaluates candidates beside one reference in the dense engine.

    Args:
        setup: store, reference, batch size and the rest.
        identity: everything that decides a candidate's numbers.
    """

    def __init__(self, setup: Setup, *, identity: Identity) -> None:
        self.setup = setup
        self.identity = identity
        self.store = setup.store
        self.reference = setup.reference
        self._keys = Keys(setup.reference, identity=identity)
        self._states = StateCache(setup.store, for_heads(setup.reference.device))
        self._heads = Heads(setup, keys=self._keys, cache=self._states)
        # Asked once: what is free changes with what is loaded.
        devices = setup.devices or (setup.reference.device,)
        self._rooms = {device: room_in(setup.memory, device) for device in devices}
        self._room = self._rooms[devices[0]]
        self._graph: ModelGraph | None = None
        self._loaded: Candidate | None = None  # all of it, in the graph
        self._packs: dict[Precision, bool | None] = {}  # found out once, not for every graph

    def pieces(self, windows: Sequence[Window]) -> list[Shard]:
        """See `PairScorer.pieces`.

        A shard of which a run in random order has scored some forwards is resumed by forwards, so
        that none of them is done again.
        """
        setup = self.setup
        cut = shards(windows, setup.batch_tokens, share_prefixes=setup.share_prefixes)
        if setup.share_prefixes:
            return cut
        pieces: list[Shard] = []
        for piece in cut:
            parts = forwards(piece.windows, setup.batch_tokens, first=piece.first)
            begun = any(map(self._has_reference, parts)) and not self._has_reference(piece)
            pieces += parts if begun else [piece]
        return pieces

    def smallest_pieces(self, windows: Sequence[Window], enough: int) -> list[Shard]:
        """See `PairScorer.smallest_pieces`: single forwards."""
        tokens = sum(len(window.ids) - 1 for window in windows)
        return forwards(windows, min(self.setup.batch_tokens, tokens // enough))

    def unscored(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> list[Piece]:
        """See `PairScorer.unscored`."""
        return [piece for piece in pieces if not self._heads.finished(_shard(piece), group)]

    def rounds(self, pieces: Sequence[Piece], candidates: int) -> int:
        """See `PairScorer.rounds`: as many as have room on disk for their hidden states."""
        size = (
            sum(_shard(piece).states for piece in pieces)
            * state_width(self.reference.model.identity.config)
            * (2 if self.reference.arithmetic == "bf16" else 4)
        )
        return min(max(1, candidates), max(1, self.setup.state_bytes // max(1, size)))

    def prepare(
        self, pieces: Sequence[Piece], candidate: Candidate, group: Sequence[Candidate]
    ) -> None:
        """See `PairScorer.prepare`: hidden states, where they are not there yet.

        A candidate at fault leaves none, since `score` is not called with it.
        """
        cut = [_shard(piece) for piece in pieces]
        if candidate is not self.reference:
            _require_tokens(cut, candidate)
        todo = [piece for piece in cut if self._needs_states(piece, candidate, group)]
        if not todo:
            return
        try:
            with reports_full_memory(candidate.model.name, candidate.device):
                self._read_in_turn(candidate, todo, group)
        except StorageError:  # the run ends, to be resumed
            raise
        except BitlossError:
            self._heads.drop_states(cut, candidate)
            raise

    def score(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> Scores:
        """See `PairScorer.score`."""
        self._graph = self._loaded = None  # its memory goes before the heads' comes
        return_freed_memory()
        cut = [_shard(piece) for piece in pieces]
        scores = Scores([self._keys.reference(piece) for piece in cut])
        self._heads.score(cut, group, scores)
        return_freed_memory()
        for candidate in scores.not_failed(group):
            scores.variants[candidate.label] = [self._keys.pair(p, candidate) for p in cut]
        return scores

    def reference_logits(self, piece: Piece) -> Iterator[torch.Tensor]:
        """See `PairScorer.reference_logits`: the hidden states through the reference's head."""
        return self._heads.reference_logits(_shard(piece))

    def kept_states(self, pieces: Sequence[Piece], candidate: Candidate | None = None) -> list[str]:
        """See `PairScorer.kept_states`: hidden states, a file for each piece.

        Args:
            pieces: from `pieces`.
            candidate: whose; None is the reference.
        """
        owner = candidate or self.reference
        return [self._keys.states(_shard(piece), owner) for piece in pieces]

    def noise_floor(self, windows: Sequence[Window]) -> list[str]:
        """See `PairScorer.noise_floor`: this arithmetic against float32, which itself is read in
        batches of another shape.
        """
        exact = self.exact() or self
        rounded = replace(self.reference, alone=self.reference.arithmetic == "fp32")
        pieces = exact.pieces(windows)
        for candidate in (exact.reference, rounded):
            exact.prepare(pieces, candidate, [rounded])
        return exact.score(pieces, [rounded]).records_of(rounded)

    def rounding_noise(
        self, windows: Sequence[Window], serving: Serving, candidate: Candidate | None = None
    ) -> list[str]:
        """See `PairScorer.rounding_noise`."""
        plain = candidate or replace(self.reference, serving=serving)
        nudged = replace(plain, nudged=True)
        scorer = DenseScorer(replace(self.setup, reference=plain), identity=self.identity)
        pieces = scorer.pieces(windows)
        for candidate in (plain, nudged):
            scorer.prepare(pieces, candidate, [nudged])
        return scorer.score(pieces, [nudged]).records_of(nudged)

    def exact(self) -> DenseScorer | None:
        """See `PairScorer.exact`: float32."""
        if self.reference.arithmetic == "fp32":
            return None
        reference = replace(self.reference, arithmetic="fp32")
        return DenseScorer(replace(self.setup, reference=reference), identity=self.identity)

    def _has_reference(self, piece: Shard) -> bool:
        return self.store.has_records(self._keys.reference(piece))

    def _needs_states(self, piece: Shard, candidate: Candidate, group: Sequence[Candidate]) -> bool:
        if self.store.has_states(self._keys.states(piece, candidate)):
            return False
        if candidate is not self.reference:
            return not self.store.has_records(self._keys.pair(piece, candidate))
        return not self._heads.finished(piece, group)

    def _graph_for(self, candidate: Candidate) -> ModelGraph:
        precision = as_precision(candidate.arithmetic)
        if self._graph is None or self._graph.precision != precision:
            self._graph = self._loaded = None  # its memory goes before the new one's comes
            self._graph = ModelGraph(
                dict(self.reference.model.identity.config),
                precision=precision,
                device=candidate.device,
                code=self.reference.model.code,
                rooms=self._rooms,
                beside=head_bytes(candidate),
            )
            self._graph.packs = self._packs.get(precision)
        return self._graph

    def _read_in_turn(
        self, candidate: Candidate, cut: Sequence[Shard], group: Sequence[Candidate]
    ) -> None:
        """Read what is missing; once more if states that the device keeps left no room for it."""
        try:
            self._read(self._graph_for(candidate), candidate, cut)
        except torch.OutOfMemoryError:
            if not self._states.let_go():
                raise
            todo = [piece for piece in cut if self._needs_states(piece, candidate, group)]
            self._read(self._graph_for(candidate), candidate, todo)

    def _read(self, graph: ModelGraph, candidate: Candidate, todo: Sequence[Shard]) -> None:
        held = graph.spread or fits_in_memory(candidate, self._room)
        streams = not held and self._streams(graph, candidate)
        if not streams:
            if not held:
                require_room(candidate, self.setup.memory, self.setup.devices)
            self._load(graph, candidate)
        else:
            self._loaded = None
        read = self._by_layers if streams else self._as_a_whole
        with self._states.writing() as keep:
            for piece, states in read(graph, candidate, todo):
                keep(self._keys.states(piece, candidate), states)
        self._packs[graph.precision] = graph.packs

    def _streams(self, graph: ModelGraph, candidate: Candidate) -> bool:
        """Whether it can be read a layer at a time; simulations are tried on all layers."""
        simulated = bool(candidate.serving) or candidate.nudged
        return not simulated and can_stream(graph, self.reference.model.identity.config)

    def _load(self, graph: ModelGraph, candidate: Candidate) -> None:
        """Load all of a model, unless it was the last one and is loaded still: where a text is
        read in parts, each would load it again.
        """
        if self._loaded is not None and _has_weights_of(self._loaded, candidate):
            return
        self._loaded = None
        progress = self.setup.progress
        with progress.task(f"load {candidate.model.name}", None, "bytes") as advance:
            graph.load(
                weights_of(candidate), advance, serving=candidate.serving, nudged=candidate.nudged
            )
        self._loaded = candidate

    def _as_a_whole(
        self, graph: ModelGraph, candidate: Candidate, todo: Sequence[Shard]
    ) -> Iterator[tuple[Shard, torch.Tensor]]:
        tokens = sum(piece.tokens for piece in todo)
        label = f"read text with {candidate.label}"
        with self.setup.progress.task(label, tokens) as advance:
            for piece in todo:
                parts = hidden_states(
                    graph,
                    piece.windows,
                    self.setup.batch_tokens,
                    share_prefixes=piece.share_prefixes,
                    alone=candidate.alone,
                )
                yield piece, torch.cat(list(parts))
                advance(piece.tokens)

    def _by_layers(
        self, graph: ModelGraph, candidate: Candidate, todo: Sequence[Shard]
    ) -> Iterator[tuple[Shard, torch.Tensor]]:
        yield from read_by_layers(
            graph,
            weights_of(candidate),
            todo,
            candidate,
            batch_tokens=self.setup.batch_tokens,
            memory=self._room,
            progress=self.setup.progress,
            scratch=self.setup.scratch,
        )


def _shard(piece: Piece) -> Shard:
    """The piece, which this engine cut."""
    assert isinstance(piece, Shard), "pieces of another engine"
    return piece


def _has_weights_of(loaded: Candidate, candidate: Candidate) -> bool:
    """Whether a graph with one candidate loaded computes the other's states. One that is nudged is
    loaded again, since loading resets its random numbers.
    """
    same = loaded.model is candidate.model and loaded.serving == candidate.serving
    return same and loaded.device == candidate.device and not (loaded.nudged or candidate.nudged)


def _require_tokens(pieces: Sequence[Shard], candidate: Candidate) -> None:
    """Refuse a candidate that lacks tokens of the text: it has neither rows nor logits for them."""
    highest = max(int(window.ids.max()) for piece in pieces for window in piece.windows)
    size = text_config(candidate.model.identity.config).get("vocab_size")
    if size is not None and highest >= size:
        raise Incomparable(
            f"{candidate.model.name} knows tokens 0 to {size - 1}, the text has {highest}",
            hint="use a quantized copy of the reference, with all of its rows",
        )
