"""Texts read by a model a layer at a time, in waves whose states fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.prefix_tree.packed import can_pack
from bitloss.engines.dense.prefix_tree.states import Probe
from bitloss.engines.dense.scoring.keys import state_width
from bitloss.engines.dense.scoring.shards import Shard
from bitloss.engines.dense.streaming.layers import LayerPasses, layers_of
from bitloss.engines.values import Candidate
from bitloss.formats.architectures import ARCHITECTURES
from bitloss.formats.base import Checkpoint
from bitloss.types import Progress

__all__ = ["can_stream", "read_by_layers"]

# Of the memory that a model may take, what the states of a wave may.
_STATES = 0.25


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

    Yields:
        A piece and its states, wave by wave.

    Raises:
        CheckpointError: the weights are incomplete or damaged.
        NumericalError: NaN or infinite values, with the layer that made them.
        UnsupportedModel: the model's forward does not go through its layers one by one.
    """
    size = 2 if graph.precision == "bf16" else 4
    at_a_time = max(1, int(_STATES * memory) // (size * state_width(checkpoint.config)))
    layers = len(layers_of(graph.body)[1])
    waves = list(_waves(pieces, at_a_time))
    label = f"read text with {candidate.label}, a layer at a time"
    with progress.task(label, layers * len(waves), "layers") as done:
        for wave in waves:
            read = partial(_one_wave, graph, checkpoint, wave, candidate, batch_tokens, done)
            found = read()
            if found is None:  # its attention is not what packing takes it for
                found = read()
                assert found is not None
            yield from zip(wave, found, strict=True)


def _one_wave(
    graph: ModelGraph,
    checkpoint: Checkpoint,
    wave: Sequence[Shard],
    candidate: Candidate,
    batch_tokens: int,
    done: Callable[[int], None],
) -> list[torch.Tensor] | None:
    """The states of each piece; None where they were read in a way that does not suit the model."""
    weights = graph.begin(checkpoint)
    shares = any(piece.share_prefixes for piece in wave)
    probe = Probe(graph) if shares and graph.packs is None else None
    passes = LayerPasses(graph, weights, lambda n: None)
    passes.begin()
    graph.end(checkpoint, weights, candidate.serving)
    works = [partial(_states, graph, piece, candidate, batch_tokens) for piece in wave]
    if probe is None:
        return passes.run(works, done)
    graph.packs = can_pack(graph)
    if not graph.packs:
        return passes.run(works, done)
    # Known at the end only: first what would tell that it cannot be.
    try:
        flat, packed, *states = passes.run([probe.flat, partial(_packed, probe), *works], done)
    except _CannotPack:
        graph.packs = False
        return None
    graph.packs = probe.agrees(flat, packed)
    return states if graph.packs else None


class _CannotPack(Exception):  # noqa: N818 - an answer, not an error
    """The model's attention takes more than packing gives it."""


def _packed(probe: Probe) -> torch.Tensor:
    found = probe.packed()
    if found is None:
        raise _CannotPack
    return found


def _states(
    graph: ModelGraph, piece: Shard, candidate: Candidate, batch_tokens: int
) -> torch.Tensor:
    parts = hidden_states(
        graph,
        piece.windows,
        batch_tokens,
        share_prefixes=piece.share_prefixes,
        alone=candidate.alone,
    )
    return torch.cat(list(parts))


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
