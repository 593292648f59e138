"""One graph's simulated runtime: set for a model, cleared for the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bitloss.engines.dense.checkpoint_names import CheckpointNames
from bitloss.engines.dense.prefix_tree.attention_plan import AttentionPlan
from bitloss.engines.dense.simulation.cache import (
    StoredPlan,
    keys_in_pairs,
    require_reached,
    stored_attention,
)
from bitloss.engines.dense.simulation.cache_types import CacheTypes
from bitloss.engines.dense.simulation.inputs import add_inputs
from bitloss.engines.dense.simulation.linear import InputHooks
from bitloss.spec.serving import Serving

__all__ = ["Simulation"]


class Simulation:
    """What the forwards of a module graph store in few bits.

    Args:
        body: transformers' module from token ids to hidden states.
        prefix: its path in its model.

    Attributes:
        active: whether anything is stored in few bits.
        per_sequence: whether a scale is of everything that a forward reads, so that it has to read
            one sequence alone.
    """

    def __init__(self, body: Any, prefix: str) -> None:
        self.active = self.per_sequence = False
        self._body = body
        self._prefix = prefix
        self._attention: str = body.config._attn_implementation
        self._types: CacheTypes | None = None
        self._hooks = InputHooks()

    def clear(self) -> None:
        """Store nothing."""
        self._types = None
        self._use(self._attention)
        self._hooks.remove()
        self.active = self.per_sequence = False

    def set(self, serving: Serving, names: CheckpointNames) -> None:
        """Store what a serving says, of a model that is loaded.

        Raises:
            Incomparable: the checkpoint is to be run as it declares, and declares nothing.
            UnsupportedModel: the model keeps its state in another form, or in sizes that a type
                does not fit.
        """
        self.clear()
        name = names.checkpoint.info.name
        try:
            if serving.keys or serving.values:
                pairs = keys_in_pairs(self._body.config.model_type)
                types = CacheTypes.of(serving, in_pairs=pairs)
                require_reached(self._body, types, name)
                self._types = types
                self._use(stored_attention(self._attention, types))
            if serving.activations:
                self.per_sequence = add_inputs(
                    self._hooks, self._body, self._prefix, names, serving.activations
                )
                self._try()
                self._hooks.require_seen(name)
            self.active = bool(serving)
        except BaseException:
            self.clear()
            raise

    def storing(self, plan: AttentionPlan) -> AttentionPlan:
        """A packed forward's plan, given keys and values as they are read back."""
        return plan if self._types is None else StoredPlan(plan, self._types)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Store nothing for the block."""
        types, attention = self._types, self._body.config._attn_implementation
        self._types, self._hooks.enabled = None, False
        self._use(self._attention)
        try:
            yield
        finally:
            self._types, self._hooks.enabled = types, True
            self._use(attention)

    def _use(self, attention: str) -> None:
        if self._body.config._attn_implementation != attention:
            self._body.config._attn_implementation = attention

    def _try(self) -> None:
        """Read two tokens."""
        device = self._body.get_input_embeddings().weight.device
        ids = torch.zeros(1, 2, dtype=torch.long, device=device)
        with torch.no_grad():
            self._body(input_ids=ids, use_cache=False)
