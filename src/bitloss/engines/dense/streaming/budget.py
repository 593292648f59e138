"""What a model that is read a layer at a time takes, and how much of it at once.

Of the memory that a model may take, states have a quarter and weights a half: a layer and the one
that is read meanwhile. Where two layers take more, their experts are read in groups. Where states
of all of the text take more, either the text is read in waves, for each of which all weights are
read again, or states lie on disk from layer to layer: whichever moves fewer bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitloss.formats.base import text_config

__all__ = ["LayerSize", "StreamPlan", "chosen_experts", "plan_stream"]

_STATES, _WEIGHTS, _EXPERTS = 0.25, 0.5, 0.25
_CHOSEN = (
    "num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts", "num_experts_per_token",
)  # fmt: skip
# Of what is free on disk, what states may take.
_DISK = 0.8


@dataclass(frozen=True, slots=True)
class LayerSize:
    """Bytes of a layer's weights.

    Attributes:
        rest: of all but its experts.
        experts: how many experts can be read by themselves; 0 where it has none.
        expert: of one of them.
        extra: how many states' room a token takes on its way through experts in groups.
    """

    rest: int
    experts: int = 0
    expert: int = 0
    extra: int = 0

    @property
    def total(self) -> int:
        """All of its weights."""
        return self.rest + self.experts * self.expert


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How a model is read.

    Attributes:
        wave: tokens that go through all layers together.
        waves: how many times all weights are read.
        states: bytes of states in memory.
        on_disk: bytes of states on disk at most; 0 where memory has room for all.
        moved: bytes of states that are written to disk, and read from it as often.
        groups: of each layer, experts that are held at once; 0 where the layer is held whole.
        weights: bytes of weights in memory at most, the ones that are read ahead included.
    """

    wave: int
    waves: int
    states: int
    on_disk: int
    moved: int
    groups: tuple[int, ...]
    weights: int


def chosen_experts(config: Mapping[str, Any]) -> int:
    """Experts that a token is sent to, by a config; some usual number where it does not say."""
    values = text_config(config)
    for key in _CHOSEN:
        value = values.get(key)
        value = max(value) if isinstance(value, list) and value else value
        if isinstance(value, int) and value > 0:
            return value
    return 8


def plan_stream(
    tokens: int, layers: Sequence[LayerSize], state: int, memory: int, disk: int
) -> StreamPlan:
    """How to read a text.

    Args:
        tokens: of the text.
        layers: of the model.
        state: bytes of a token's state.
        memory: that the model may take, in bytes.
        disk: free bytes where states may be written.
    """
    groups = tuple(_group(layer, memory) for layer in layers)
    # From layer to layer one state, which makes room for the next.
    grouped = [one.extra for one, at_once in zip(layers, groups, strict=True) if at_once]
    each = state * (1 + max(grouped, default=0))
    room = int(_STATES * memory)
    fitting = max(1, room // max(1, each))
    weights = _weights(layers, groups)
    if fitting >= tokens:
        return StreamPlan(max(1, tokens), 1, tokens * each, 0, 0, groups, weights)
    total = sum(layer.total for layer in layers)
    waves = -(-tokens // fitting)
    # What is read of a row of states is given back to the disk when all of it was.
    largest = fitting + int(_DISK * disk) // max(1, 2 * each)
    spooled = -(-tokens // largest)
    wave = min(tokens, largest)
    moved = len(layers) * each * max(0, tokens - spooled * fitting)
    if spooled < waves and spooled * total + 2 * moved < waves * total:
        return StreamPlan(
            wave, spooled, room, 2 * each * max(0, wave - fitting), moved, groups, weights
        )
    return StreamPlan(fitting, waves, room, 0, 0, groups, weights)


def _group(layer: LayerSize, memory: int) -> int:
    if not layer.experts or 2 * layer.total <= _WEIGHTS * memory:
        return 0
    return min(layer.experts, max(1, int(_EXPERTS * memory) // (2 * layer.expert)))


def _weights(layers: Sequence[LayerSize], groups: Sequence[int]) -> int:
    """Two neighbors, or a layer without its experts and two groups of them."""
    held = [
        layer.rest if group else layer.total for layer, group in zip(layers, groups, strict=True)
    ]
    pairs = [a + b for a, b in zip(held, [*held[1:], 0], strict=True)]
    grouped = [
        pair + 2 * group * layer.expert
        for pair, group, layer in zip(pairs, groups, layers, strict=True)
    ]
    return max(grouped, default=0)
