"""One graph's simulated runtime: set for a model, cleared for the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bitloss.engines.dense.prefix_tree.attention_plan import AttentionPlan
from bitloss.engines.dense.simulation.cache import (
    StoredPlan,
    keys_in_pairs,
    require_reached,
    stored_attention,
)
from bitloss.engines.dense.simulation.cache_types import CacheTypes
from bitloss.spec.serving import Serving

__all__ = ["Simulation"]


class Simulation:
    """What the forwards of a module graph store in few bits.

    Args:
        body: transformers' module from token ids to hidden states.
    """

    def __init__(self, body: Any) -> None:
        self._body = body
        self._attention: str = body.config._attn_implementation
        self._types: CacheTypes | None = None

    def clear(self) -> None:
        """Store nothing."""
        self._types = None
        self._use(self._attention)

    def set(self, serving: Serving, name: str) -> None:
        """Store what a serving says, of a model that is loaded.

        Raises:
            UnsupportedModel: the model keeps its state in another form, or in sizes that a type
                does not fit.
        """
        self.clear()
        if serving.keys or serving.values:
            pairs = keys_in_pairs(self._body.config.model_type)
            types = CacheTypes.of(serving, in_pairs=pairs)
            require_reached(self._body, types, name)
            self._types = types
            self._use(stored_attention(self._attention, types))

    def storing(self, plan: AttentionPlan) -> AttentionPlan:
        """A packed forward's plan, given keys and values as they are read back."""
        return plan if self._types is None else StoredPlan(plan, self._types)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Store nothing for the block."""
        types, attention = self._types, self._body.config._attn_implementation
        self.clear()
        try:
            yield
        finally:
            self._types = types
            self._use(attention)

    def _use(self, attention: str) -> None:
        if self._body.config._attn_implementation != attention:
            self._body.config._attn_implementation = attention
