"""Every format decoded into one module graph, and run by PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bitloss.engines.base import (
    PAIR_COLUMNS,
    Ability,
    Candidate,
    Cost,
    Setup,
    TextSetup,
    Work,
)
from bitloss.engines.dense.cost import estimate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import return_freed_memory, reuse_freed_memory
from bitloss.engines.dense.precision import as_precision, first_precision
from bitloss.engines.dense.scoring.head import Head, load_head
from bitloss.engines.dense.scoring.keys import ENGINE_VERSION, identity
from bitloss.engines.dense.scoring.scorer import DenseScorer, weights_of
from bitloss.engines.dense.text_model import DenseTextModel
from bitloss.formats.base import ModelIdentity
from bitloss.types import Window

__all__ = ["ENGINE", "DenseEngine"]


@dataclass(frozen=True, slots=True)
class DenseEngine:
    """The dense engine; satisfies `bitloss.engines.base.Engine`."""

    name: str = "dense"
    version: str = ENGINE_VERSION
    abilities: frozenset[Ability] = frozenset({"score", "generate"})
    columns: frozenset[str] = frozenset(PAIR_COLUMNS)
    reference_engine: str = "dense"

    def identity(self, candidate: Candidate, *, batch_tokens: int) -> Mapping[str, Any]:
        """See `Engine.identity`."""
        return identity(candidate, batch_tokens=batch_tokens)

    def arithmetic(self, asked: str, *, device: str, parameters: int, tokens: int) -> str:
        """See `Engine.arithmetic`."""
        return first_precision(asked, device=device, parameters=parameters, tokens=tokens)

    def cost(
        self, work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
    ) -> Cost:
        """See `Engine.cost`."""
        precision = as_precision(arithmetic)
        return estimate(work, model, precision=precision, device=device, measure=measure)

    def scorer(self, setup: Setup) -> DenseScorer:
        """See `Engine.scorer`."""
        reuse_freed_memory()
        return DenseScorer(setup)

    def logits(self, candidate: Candidate, *, batch_tokens: int) -> _DenseLogits:
        """See `Engine.logits`."""
        del batch_tokens  # one window is read at a time
        weights, precision = weights_of(candidate), as_precision(candidate.arithmetic)
        graph = ModelGraph(
            dict(candidate.model.identity.config),
            precision=precision,
            device=candidate.device,
            code=candidate.model.code,
        )
        graph.load(weights)
        return _DenseLogits(graph, load_head(weights, precision=precision, device=candidate.device))

    def text_model(self, candidate: Candidate, setup: TextSetup) -> DenseTextModel:
        """See `Engine.text_model`."""
        reuse_freed_memory()
        return DenseTextModel(candidate, setup)

    def release(self) -> None:
        """See `Engine.release`."""
        return_freed_memory()


ENGINE = DenseEngine()


@dataclass(frozen=True, slots=True)
class _DenseLogits:
    """Satisfies `bitloss.engines.base.LogitsModel`, one window at a time."""

    graph: ModelGraph
    head: Head

    @property
    def vocabulary(self) -> int:
        """See `LogitsModel.vocabulary`."""
        return self.head.vocabulary

    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        """See `LogitsModel.logits`."""
        ids = torch.from_numpy(window.ids[None, :-1].astype(np.int64))
        yield self.head.logits(self.graph.hidden(ids)[0, window.first - 1 :], 0, self.vocabulary)
