"""Every format decoded into one module graph, and run by PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from bitloss.engines.base import Engine
from bitloss.engines.dense.cost import estimate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import return_freed_memory, reuse_freed_memory
from bitloss.engines.dense.precision import as_precision, first_precision
from bitloss.engines.dense.scoring.head import Head, load_head, weights_of
from bitloss.engines.dense.scoring.scorer import DenseScorer
from bitloss.engines.dense.text_model import DenseTextModel
from bitloss.engines.values import Candidate, Setup, TextSetup
from bitloss.types import Window

__all__ = ["ENGINE"]


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


def _scorer(setup: Setup) -> DenseScorer:
    reuse_freed_memory()
    return DenseScorer(setup, identity=partial(ENGINE.identity, batch_tokens=setup.batch_tokens))


def _logits(candidate: Candidate, *, batch_tokens: int) -> _DenseLogits:
    del batch_tokens  # one window is read at a time
    weights, precision = weights_of(candidate), as_precision(candidate.arithmetic)
    graph = ModelGraph(
        dict(candidate.model.identity.config),
        precision=precision,
        device=candidate.device,
        code=candidate.model.code,
    )
    graph.load(weights, serving=candidate.serving, nudged=candidate.nudged)
    head = load_head(
        weights, precision=precision, device=candidate.device, code=candidate.model.code
    )
    return _DenseLogits(graph, head)


def _text_model(candidate: Candidate, setup: TextSetup) -> DenseTextModel:
    reuse_freed_memory()
    return DenseTextModel(candidate, setup)


ENGINE = Engine(
    name="dense",
    version="dense-4",
    writing="2",
    packages=("torch", "transformers"),
    logits=_logits,
    scorer=_scorer,
    text_model=_text_model,
    arithmetic=first_precision,
    cost=estimate,
    release=return_freed_memory,
    offers=frozenset({"keys", "values", "activations"}),
    nudges=True,
)
