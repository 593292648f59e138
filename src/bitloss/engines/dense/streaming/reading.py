"""Texts read by a model a layer at a time, in waves whose states fit in memory."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.layer_list import layers_of
from bitloss.engines.dense.prefix_tree.packed import can_pack
from bitloss.engines.dense.prefix_tree.states import Probe
from bitloss.engines.dense.scoring.keys import state_width
from bitloss.engines.dense.scoring.shards import Shard
from bitloss.engines.dense.streaming.budget import StreamPlan, plan_stream
from bitloss.engines.dense.streaming.layers import LayerPasses, layer_sizes
from bitloss.engines.dense.streaming.states import StatesRoom
from bitloss.engines.values import Candidate
from bitloss.formats.architectures import ARCHITECTURES
from bitloss.formats.base import Checkpoint
from bitloss.types import Progress

__all__ = ["can_stream", "read_by_layers"]


def can_stream(graph: ModelGraph, config: Mapping[str, Any]) -> bool:
    """Whether a model's layers can be run one after the other, each on all of the text.

    Of listed architectures alone, for which the tests compare it with a whole forward: what a class
    hands from layer to layer beside its state cannot be seen from outside.

    Args:
        graph: of the architecture.
        config: which it was made of.
    """
    return config.get("model_type") in ARCHITECTURES and bool(layers_of(graph.body)[1])


def read_by_layers(
    graph: ModelGraph,
    checkpoint: Checkpoint,
    pieces: Sequence[Shard],
    candidate: Candidate,
    *,
    batch_tokens: int,
    memory: int,
    progress: Progress,
    scratch: Path | None = None,
) -> Iterator[tuple[Shard, torch.Tensor]]:
    """Post-norm hidden states at scored positions, as `batches.hidden_states` gives them.

    Args:
        graph: of the reference's architecture, for which `can_stream` is true.
        checkpoint: of the model.
        pieces: what it reads.
        candidate: how it is run.
        batch_tokens: tokens in one forward.
        memory: bytes that the model may take.
        progress: where to report.
        scratch: folder for states that memory has no room for; None is the system's place for
            temporary files.

    Yields:
        A piece and its states, wave by wave.

    Raises:
        CheckpointError: the weights are incomplete or damaged.
        NumericalError: NaN or infinite values, with the layer that made them.
        StorageError: there is no room for states on disk either.
        UnsupportedModel: the model's forward does not go through its layers one by one.
    """
    weights = graph.begin(checkpoint)  # refuses what cannot be read, before any work
    size = 2 if graph.precision == "bf16" else 4
    plan = plan_stream(
        sum(piece.tokens for piece in pieces),
        layer_sizes(graph, weights),
        size * state_width(checkpoint.config),
        memory,
        shutil.disk_usage(scratch or tempfile.gettempdir()).free,
    )
    waves = list(_waves(pieces, plan.wave))
    read = _Reader(graph, checkpoint, candidate, batch_tokens, plan, scratch)
    label = f"read text with {candidate.label}, a layer at a time"
    with progress.task(label, len(plan.groups) * len(waves), "layers") as done:
        for wave in waves:
            try:
                yield from zip(wave, read.wave(wave, done), strict=True)
            except _CannotPack:  # its attention is not what packing takes it for
                yield from zip(wave, read.wave(wave, done), strict=True)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads waves of text.

    Attributes:
        graph: of the reference's architecture.
        checkpoint: of the model.
        candidate: how it is run.
        batch_tokens: tokens in one forward.
        plan: how much at a time.
        scratch: folder for states that memory has no room for.
    """

    graph: ModelGraph
    checkpoint: Checkpoint
    candidate: Candidate
    batch_tokens: int
    plan: StreamPlan
    scratch: Path | None

    def wave(self, wave: Sequence[Shard], done: Callable[[int], None]) -> Iterator[torch.Tensor]:
        """The states of each piece.

        Raises:
            _CannotPack: the model's attention does not suit packing, before the first is given.
        """
        graph, checkpoint = self.graph, self.checkpoint
        weights = graph.begin(checkpoint)
        shares = any(piece.share_prefixes for piece in wave)
        probe = Probe(graph) if shares and graph.packs is None else None
        room = StatesRoom(self.plan.states if self.plan.on_disk else sys.maxsize, self.scratch)
        passes = LayerPasses(graph, weights, self.plan.groups, room, lambda n: None)
        passes.begin()
        graph.end(checkpoint, weights, self.candidate.serving)
        works = [partial(self._states, piece) for piece in wave]
        if probe is None:
            yield from passes.run(works, done)
            return
        graph.packs = can_pack(graph)
        if not graph.packs:
            yield from passes.run(works, done)
            return
        # Known at the end only: first what would tell that it cannot be.
        run = passes.run([probe.flat, partial(_packed, probe), *works], done)
        with closing(run):
            try:
                graph.packs = probe.agrees(next(run), next(run))
            except _CannotPack:
                graph.packs = False
                raise
            if not graph.packs:
                raise _CannotPack
            yield from run

    def _states(self, piece: Shard) -> torch.Tensor:
        parts = hidden_states(
            self.graph,
            piece.windows,
            self.batch_tokens,
            share_prefixes=piece.share_prefixes,
            alone=self.candidate.alone,
        )
        return torch.cat(list(parts))


class _CannotPack(Exception):  # noqa: N818 - an answer, not an error
    """The model's attention takes more than packing gives it."""


def _packed(probe: Probe) -> torch.Tensor:
    found = probe.packed()
    if found is None:
        raise _CannotPack
    return found


def _waves(pieces: Sequence[Shard], tokens: int) -> Iterator[list[Shard]]:
    """Pieces of so many tokens together, one at least."""
    wave: list[Shard] = []
    held = 0
    for piece in pieces:
        if wave and held + piece.tokens > tokens:
            yield wave
            wave, held = [], 0
        wave.append(piece)
        held += piece.tokens
    if wave:
        yield wave
