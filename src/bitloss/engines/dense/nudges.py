"""Layers whose outputs move by their last bit, as rounding moves them: what arithmetic alone does.

A result of a layer is rounded to the nearest number that its type has. The error is spread evenly
over a unit in the last place, so its mean square is a twelfth of that unit's square. What is stored
already lies on those numbers; one number in twelve, chosen at random, is moved to a neighbor, which
has the same mean square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bitloss.engines.dense.layer_list import layer_list
from bitloss.errors import UnsupportedModel

__all__ = ["Nudges", "nudge"]

_SEED = 0
_SHARE = 1 / 12


class Nudges:
    """Hooks on the layers of one body, until they are removed."""

    def __init__(self) -> None:
        self._removers: list[Callable[[], None]] = []

    def add(self, body: nn.Module, name: str) -> None:
        """Move the output of every layer, in each forward otherwise, by a fixed seed.

        Args:
            body: transformers' module from token ids to hidden states.
            name: the model's, for errors.

        Raises:
            UnsupportedModel: no layers are found.
        """
        generator = torch.Generator().manual_seed(_SEED)

        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (nudge(output[0], generator), *output[1:])
            return nudge(output, generator)

        for layer in _layers(body, name):
            self._removers.append(layer.register_forward_hook(hook).remove)

    def remove(self) -> None:
        """Take all hooks away."""
        while self._removers:
            self._removers.pop()()


def nudge(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One number in twelve moved to its neighbor above or below, in the type that it has.

    Args:
        x: floating point numbers of any shape.
        generator: on the CPU.
    """
    chance = torch.rand(x.shape, generator=generator).to(x.device)
    up = torch.nextafter(x, torch.full_like(x, torch.inf))
    down = torch.nextafter(x, torch.full_like(x, -torch.inf))
    return torch.where(chance < _SHARE / 2, down, torch.where(chance > 1 - _SHARE / 2, up, x))


def _layers(body: nn.Module, name: str) -> list[Any]:
    """The model's layers."""
    _, layers = layer_list(body)
    if not layers:
        count = getattr(body.config, "num_hidden_layers", None)
        raise UnsupportedModel(
            f"{name}: expected a list of {count} layers, found none",
            hint="choose another --engine to learn how far a model is from itself",
        )
    return layers
