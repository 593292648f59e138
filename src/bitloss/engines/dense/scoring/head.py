"""A model's own head: post-norm hidden states to logits, a block of the vocabulary at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from bitloss.engines.dense.graph import resolve_names
from bitloss.engines.dense.precision import Precision, arithmetic, storage_dtype
from bitloss.engines.values import Candidate
from bitloss.errors import CheckpointError, NumericalError, UnsupportedModel
from bitloss.formats.base import Checkpoint

__all__ = ["Head", "load_head", "weights_of"]

_HEAD = "lm_head.weight"
_EMBEDDINGS = ("model.embed_tokens.weight", "transformer.wte.weight", "gpt_neox.embed_in.weight")
# What transformers' model classes apply after the head, by the config key that holds the value.
_SCALES = {"logit_scale": 1, "logits_scaling": -1}


@dataclass(frozen=True, slots=True)
class Head:
    """Everything between a model's final norm and its logits.

    Attributes:
        weight: shape ``[vocabulary, d_model]``.
        precision: the arithmetic of the product.
        bias: shape ``[vocabulary]`` or None.
        scale: logits are multiplied by it (Cohere, Granite).
        soft_cap: logits become ``soft_cap * tanh(logits / soft_cap)`` (Gemma 2); None is none.
    """

    weight: torch.Tensor
    precision: Precision
    bias: torch.Tensor | None = None
    scale: float = 1.0
    soft_cap: float | None = None

    @property
    def vocabulary(self) -> int:
        """Number of logits."""
        return self.weight.shape[0]

    def logits(self, hidden: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Logits of the tokens ``start`` to ``stop - 1``.

        Args:
            hidden: post-norm hidden states, shape ``[positions, d_model]``.
            start: first column.
            stop: one past the last column.

        Returns:
            Shape ``[positions, stop - start]``, float32.
        """
        bias = None if self.bias is None else self.bias[start:stop]
        with arithmetic(self.precision):
            block = torch.nn.functional.linear(hidden, self.weight[start:stop], bias).float()
        return self._finished(block)

    def _finished(self, block: torch.Tensor) -> torch.Tensor:
        if self.scale != 1.0:
            block *= self.scale
        if self.soft_cap is not None:
            block = torch.tanh(block / self.soft_cap) * self.soft_cap
        return block

    def is_equivalent(self, other: Head) -> bool:
        """Whether both give the same logits for the same hidden states."""
        return (
            (self.scale, self.soft_cap) == (other.scale, other.soft_cap)
            and self.precision == other.precision
            and torch.equal(self.weight, other.weight)
            and (self.bias is None) == (other.bias is None)
            and (self.bias is None or other.bias is None or torch.equal(self.bias, other.bias))
        )


def weights_of(candidate: Candidate) -> Checkpoint:
    """The candidate's tensors.

    Raises:
        CheckpointError: it has none that can be decoded.
    """
    if candidate.model.weights is None:
        raise CheckpointError(
            f"{candidate.model.name}: expected weights to decode, got a model without any",
            hint="evaluate it with the engine it is served by (--engine)",
        )
    return candidate.model.weights


def load_head(checkpoint: Checkpoint, *, precision: Precision, device: str) -> Head:
    """Read a model's head; a tied one is its embedding.

    Raises:
        CheckpointError: neither a head nor an embedding is among the weights.
        NumericalError: NaN or infinite weights.
        UnsupportedModel: the config asks for something after the head that is not applied here.
    """
    config = checkpoint.config
    names = set(checkpoint.names())
    if _HEAD in names:  # also where the config ties it: a variant may store another one
        name = _HEAD
    else:
        candidates = [e for e in _EMBEDDINGS if e in names or e.split(".", 1)[1] in names]
        if not candidates:
            raise CheckpointError(
                f"{checkpoint.info.name}: the weights have neither `{_HEAD}` nor an embedding",
                hint="the checkpoint is incomplete",
            )
        prefix = candidates[0].split(".", 1)[0]
        name = resolve_names(checkpoint, (candidates[0],), prefix)[candidates[0]]
    bias = checkpoint.read("lm_head.bias") if "lm_head.bias" in names else None
    dtype = storage_dtype(precision)
    weight = checkpoint.read(name).to(device=device, dtype=dtype)
    if not torch.isfinite(weight).all():
        raise NumericalError(
            f"{checkpoint.info.name}: NaN or infinite values in `{name}`",
            hint="the file may be damaged: download or make it again",
        )
    return Head(
        weight=weight,
        precision=precision,
        bias=None if bias is None else bias.to(device=device, dtype=dtype),
        scale=_scale(config),
        soft_cap=config.get("final_logit_softcapping"),
    )


def _scale(config: dict[str, Any]) -> float:
    scale = 1.0
    for key, power in _SCALES.items():
        if config.get(key) is not None:
            scale *= float(config[key]) ** power
    for key in ("lm_head_multiplier", "dim_model_base"):
        if config.get(key) not in (None, 1, 1.0):
            raise UnsupportedModel(
                f"the config's `{key}` changes the logits in a way that is not supported",
                hint="please report the architecture",
            )
    return scale
