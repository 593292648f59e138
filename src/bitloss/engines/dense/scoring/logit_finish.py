"""What a model class does between its output embeddings and its logits, found by running it.

Classes multiply logits by a factor of the config, cap them, or do neither although the config holds
a value (Gemma 3's multimodal class has no cap, its text class has one). So the class's own forward
is run on made-up hidden states and a head of a few tokens, and the finish that gives its logits is
taken. A class that does something else is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from bitloss.engines.dense.architecture import Architecture
from bitloss.errors import UnsupportedModel

__all__ = ["Finish", "finish_of"]

# Powers of config values that transformers' classes multiply logits by.
_FACTORS = {"logit_scale": 1, "logits_scaling": -1, "lm_head_multiplier": 1}
_TOKENS = 11
# Sizes of the made-up logits: far below a cap and far above it, so that a cap shows.
_SIZES = (0.5, 5.0, 50.0, 500.0)


@dataclass(frozen=True, slots=True)
class Finish:
    """`Head.scale` and `Head.soft_cap`."""

    scale: float = 1.0
    soft_cap: float | None = None

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits as the model gives them, in a new tensor."""
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.soft_cap is not None:
            logits = torch.tanh(logits / self.soft_cap) * self.soft_cap
        return logits


@lru_cache(maxsize=8)
def finish_of(architecture: Architecture) -> Finish:
    """How an architecture's head ends.

    Raises:
        UnsupportedModel: the class does something that is not known here.
    """
    name = type(architecture.model).__name__
    width = _head(architecture).in_features
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(_TOKENS, width, generator=generator) * width**-0.5
    bias = torch.randn(_TOKENS, generator=generator) if _has_bias(architecture) else None
    states = torch.randn(len(_SIZES), width, generator=generator)
    states *= torch.tensor(_SIZES).unsqueeze(1)
    plain = torch.nn.functional.linear(states, weight, bias)
    try:
        logits = _class_logits(architecture, states, weight, bias)
    except Exception as error:
        if architecture.code is not None:
            return next(_known(architecture.model.config))  # as its config says
        raise _refused(name, f"its forward cannot be followed ({error})") from error
    for finish in _known(architecture.model.config):
        expected = finish.apply(plain)
        if torch.allclose(logits.float(), expected, rtol=1e-5, atol=1e-5):
            return finish
    raise _refused(name, "they are neither scaled nor capped as the config's values say")


class _Output(tuple[torch.Tensor]):
    """A body's output with nothing in it but hidden states."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return self[0] if name == "last_hidden_state" else None


def _class_logits(
    architecture: Architecture, states: torch.Tensor, weight: torch.Tensor, bias: Any
) -> torch.Tensor:
    """The class's forward around a body that gives `states` and a head of a few tokens."""
    model, head = architecture.model, _head(architecture)
    output = _Output((states.unsqueeze(0),))
    # OPT's class calls its decoder without the module around it.
    inner = (model.base_model, model.get_submodule(architecture.body), model.get_decoder())
    stand_ins = [module for module in inner if module is not model]
    try:
        for module in stand_ins:
            module.forward = lambda *_, **__: output
        head.forward = lambda hidden: torch.nn.functional.linear(hidden, weight, bias)
        with torch.no_grad():
            ids = torch.zeros(1, len(states), dtype=torch.long)
            given = model(input_ids=ids, use_cache=False, return_dict=True)
        logits: torch.Tensor = given.logits[0]
        return logits
    finally:
        for module in (*stand_ins, head):
            module.__dict__.pop("forward", None)


def _known(config: Any) -> Iterator[Finish]:
    """Finishes that the config's values may mean, the fullest first."""
    text = config.get_text_config()
    cap = _number(text, "final_logit_softcapping")
    scales = [
        value**power
        for key, power in _FACTORS.items()
        if (value := _number(text, key)) not in (None, 0.0)
    ]
    base, width = _number(text, "dim_model_base"), _number(text, "hidden_size")
    if base and width:
        scales.append(base / width)
    for scale in (*scales, 1.0):
        for soft_cap in dict.fromkeys((cap, None)):
            yield Finish(scale, soft_cap)


def _number(config: Any, key: str) -> float | None:
    value = getattr(config, key, None)
    return float(value) if isinstance(value, int | float) and value is not True else None


def _head(architecture: Architecture) -> Any:
    head = (
        None if architecture.head is None else architecture.model.get_submodule(architecture.head)
    )
    if not isinstance(head, torch.nn.Linear):
        kind = type(architecture.model).__name__
        got = "none" if head is None else f"`{type(head).__name__}`"
        raise _refused(kind, f"expected a linear layer as output embeddings, got {got}")
    return head


def _has_bias(architecture: Architecture) -> bool:
    return _head(architecture).bias is not None


def _refused(name: str, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"`{name}` makes its logits in a way that is not supported: {reason}",
        hint="choose another architecture (`bitloss list architectures`), or report this one",
    )
