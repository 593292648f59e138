"""An engine in one file, as a contributor would write it: transformers' own forward, no tricks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bitloss.engines.base import Engine
from bitloss.engines.values import Candidate, Cost
from bitloss.errors import NumericalError, UnsupportedModel
from bitloss.types import Window

__all__ = ["BESIDE_DENSE", "ENGINE", "NUDGED", "OTHER", "REFUSES"]


@dataclass(frozen=True)
class _Loaded:
    model: Any
    name: str

    @property
    def vocabulary(self) -> int:
        return int(self.model.config.vocab_size)

    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        ids = torch.from_numpy(window.ids[None, :-1].astype(np.int64))
        with torch.no_grad():
            logits = self.model(ids).logits[0, window.first - 1 :].float()
        if not torch.isfinite(logits).all():
            raise NumericalError("NaN or infinite logits", hint="use another file")
        yield logits


def load(candidate: Candidate, *, batch_tokens: int) -> _Loaded:
    from transformers import AutoConfig, AutoModelForCausalLM

    weights = candidate.model.weights
    if weights is None:
        raise UnsupportedModel(f"{candidate.model.name}: no weights", hint="use a file")
    config = AutoConfig.for_model(**candidate.model.identity.config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    tensors = {name: weights.read(name).float() for name in weights.names()}
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    return _Loaded(model, candidate.model.name)


_FACTS: dict[str, Any] = {"packages": ("torch", "transformers"), "logits": load}

ENGINE = Engine(name="logits", version="logits-1", reference_engine="logits", **_FACTS)
"""The reference runs in this engine, too: a copy of it has a divergence of exactly 0."""

BESIDE_DENSE = Engine(name="logits-beside-dense", version="logits-1", **_FACTS)
"""The reference runs in the dense engine: what a native runtime is compared with."""

OTHER = Engine(
    name="other",
    version="other-1",
    arithmetic=lambda asked, **facts: "own",
    cost=lambda work, model, *, arithmetic, **facts: Cost(disk_bytes=len(arithmetic)),
    **_FACTS,
)
"""Beside the dense engine, too, with an arithmetic and costs of its own."""


def _refuse(candidate: Candidate, *, batch_tokens: int) -> _Loaded:
    if candidate.alone:  # it measures its floor, and runs none of the variants
        return load(candidate, batch_tokens=batch_tokens)
    raise UnsupportedModel(
        f"{candidate.model.name}: expected a file of another kind", hint="use another engine"
    )


REFUSES = Engine(name="refuses", version="refuses-1", packages=("torch",), logits=_refuse)
"""Beside the dense engine, with a format of its own that no model here is in."""


@dataclass(frozen=True)
class _Nudged(_Loaded):
    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        for block in super().logits(window):
            yield block + 0.1 * (torch.arange(block.shape[1]) % 2)


def _nudged(candidate: Candidate, *, batch_tokens: int) -> _Loaded:
    loaded = load(candidate, batch_tokens=batch_tokens)
    quantized = candidate.model.name != "reference" and "tiny" not in candidate.model.name
    if candidate.nudged and quantized:
        return _Nudged(loaded.model, loaded.name)
    return loaded


NUDGED = Engine(name="nudged", version="nudged-1", packages=("torch",), logits=_nudged, nudges=True)
"""Beside the dense engine; nudged, variants prefer odd tokens, and the reference moves nowhere."""
