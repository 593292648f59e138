"""One model of the dense engine that writes; satisfies `bitloss.engines.base.TextModel`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch

from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.generation.row_blocks import BlockLinear, use_row_blocks
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import as_precision
from bitloss.engines.dense.scoring.head import Head, load_head, weights_of
from bitloss.engines.dense.streaming.room import head_bytes, require_room
from bitloss.engines.devices import reports_full_memory, room_in
from bitloss.engines.values import Candidate, TextSetup
from bitloss.formats.base import context_length
from bitloss.requests import Generated, GenerateRequest

__all__ = ["DenseTextModel"]


class DenseTextModel:
    """A model loaded into the module graph of the run's reference.

    Args:
        candidate: the model, its arithmetic and its device.
        setup: the reference's config, how tokens become text, and what ends one.

    Raises:
        CheckpointError: the weights are incomplete or damaged.
        UnsupportedModel: transformers has no causal language model for the config, its serving
            cannot be simulated, or its weights do not fit in memory: a step of writing needs all.
    """

    def __init__(self, candidate: Candidate, setup: TextSetup) -> None:
        precision = as_precision(candidate.arithmetic)
        device, weights = candidate.device, weights_of(candidate)
        self._setup = setup
        self._context = context_length(setup.config) or 1 << 30
        self._graph = ModelGraph(
            dict(setup.config),
            precision=precision,
            device=device,
            code=candidate.model.code,
            rooms={one: room_in(setup.memory, one) for one in setup.devices},
            beside=head_bytes(candidate),
        )
        if not self._graph.spread:
            require_room(candidate, setup.memory, setup.devices)
        self._graph.load(weights, serving=candidate.serving)
        head = load_head(weights, precision=precision, device=device, code=candidate.model.code)
        self._head = _tied(head, self._graph)
        use_row_blocks(self._graph)

    @property
    def nbytes(self) -> int:
        """See `TextModel.nbytes`."""
        held: dict[int, int] = {
            p.data_ptr(): p.nbytes for p in (*self._graph.body.parameters(), self._head.held)
        }
        packed: Iterator[int] = (
            m.packed.nbytes for m in self._graph.body.modules() if isinstance(m, BlockLinear)
        )
        return sum(held.values()) + sum(packed)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """See `TextModel.generate`."""
        texts = generate(
            self._graph,
            self._head,
            requests,
            decode=self._setup.decode,
            eos_ids=self._setup.eos_ids,
            context=self._context,
            batch_tokens=self._setup.batch_tokens,
        )
        return self._one_by_one(texts)

    def _one_by_one(
        self, texts: Iterator[tuple[int, Generated]]
    ) -> Iterator[tuple[int, Generated]]:
        with reports_full_memory(self._graph.loaded, str(self._graph.device)):
            yield from texts


def _tied(head: Head, graph: ModelGraph) -> Head:
    """The head over the embedding's own memory, where the two are equal."""
    embedding: torch.Tensor = graph.body.get_input_embeddings().weight.detach()
    same = embedding.shape == head.held.shape and torch.equal(embedding, head.held)
    return dataclasses.replace(head, weight=embedding) if same else head
