"""A model scored and writing by the product's own path, for benchmarks that ask it directly."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitloss.engines.evaluate import evaluate, load_engine, make_scorer
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.requests import Generated, GenerateRequest
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.records import WindowScores, window_scores
from bitloss.types import SilentProgress, Window

__all__ = ["Product"]


class Product:
    """One model in one engine, without a run around it.

    Args:
        path: the model's directory.
        arithmetic: of the engine.
        changes: of the config (a context that the model does not have).
        engine: name in the registry.
    """

    def __init__(
        self, path: Path, arithmetic: str, *, changes: dict[str, Any] | None = None,
        engine: str = "dense",
    ) -> None:  # fmt: skip
        checkpoint = open_checkpoint(path, name=path.name)
        identity = identify(checkpoint)
        identity = replace(identity, config={**identity.config, **(changes or {})})
        self.engine = load_engine(engine)
        self.candidate = Candidate(Model(path.name, identity, checkpoint, path), engine, arithmetic)

    def score(self, windows: Sequence[Window]) -> WindowScores:
        """Log-probability, greediness and tokens of each window, prefixes shared, as tasks are
        scored: the model is loaded, and records are written and read.
        """
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder))
            setup = Setup(store, self.candidate, SilentProgress(), share_prefixes=True)
            scorer = make_scorer(setup, self.candidate.engine)
            records = evaluate(scorer, scorer.pieces(windows), []).reference
            columns = store.read_records(records, ("window", "nll", "greedy"))
        return window_scores(columns, len(windows))

    def next_logits(self, ids: np.ndarray) -> np.ndarray:
        """Logits of the token after some ids, shape ``[vocabulary]``."""
        assert self.engine.logits is not None
        model = self.engine.logits(self.candidate, batch_tokens=2048)
        window = Window(np.append(ids, 0).astype(np.int32), len(ids))
        return torch.cat(list(model.logits(window)))[0].numpy()

    def generate(
        self, requests: Sequence[GenerateRequest], *, decode: Callable[[Sequence[int]], str],
        eos_ids: frozenset[int],
    ) -> Iterator[tuple[int, Generated]]:  # fmt: skip
        """Let it write."""
        assert self.engine.text_model is not None
        setup = TextSetup(self.candidate.model.identity.config, decode, eos_ids)
        return self.engine.text_model(self.candidate, setup).generate(requests)
