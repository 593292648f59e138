"""The place in the forward where attention gets keys and values, whatever the architecture.

transformers hands them over by name through its table of attention functions. A function under a
name of ours stores them and goes on to the model's own; packed forwards have their plan wrapped.
A type acts on each token's row alone, so it is the same whether tokens are read at once, one after
the other, or beside those of other sequences: what a later token reads is what was stored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from bitloss.engines.dense.prefix_tree.attention_plan import AttentionPlan
from bitloss.engines.dense.simulation.cache_types import CacheTypes, row_multiple
from bitloss.errors import UnsupportedModel
from bitloss.formats.gguf.families.operations import PERMUTED_K, Source
from bitloss.formats.gguf.families.table import FAMILIES

__all__ = ["StoredPlan", "keys_in_pairs", "require_reached", "stored_attention"]

# Kinds of layers that keep keys and values; what others keep, no cache type is about.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention", "hybrid"}
_Attention = Callable[..., tuple[torch.Tensor, Any]]


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """An `AttentionPlan` that is given keys and values as they are read back."""

    plan: AttentionPlan
    types: CacheTypes

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
        soft_cap: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """See `AttentionPlan.attend`."""
        key, value = self.types.store(key, value)
        return self.plan.attend(
            layer, query, key, value, scale=scale, soft_cap=soft_cap, window=window
        )


def keys_in_pairs(model_type: str) -> bool:
    """Whether llama.cpp's files hold a model's queries and keys in pairs: see `CacheTypes`."""
    family = FAMILIES.get(model_type)
    sources = () if family is None else family.names.values()
    return any(isinstance(s, Source) and s.operation is PERMUTED_K for s in sources)


def stored_attention(base: str, types: CacheTypes) -> str:
    """The name of an attention function that stores keys and values and goes on to `base`."""

    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **options: Any,
    ) -> tuple[torch.Tensor, Any]:
        key, value = types.store(key, value)
        return _function(base, module)(module, query, key, value, attention_mask, **options)

    return _register(f"bitloss_{types.name}_{base}", base, attention)


def require_reached(body: Any, types: CacheTypes, name: str) -> None:
    """Refuse a model whose cache is not what passes through attention, or whose heads do not fit.

    Two tokens are read to see what passes.

    Raises:
        UnsupportedModel: keys and values are kept in another form, or heads are no multiple of a
            type's block.
    """
    config = body.config
    if getattr(config, "kv_lora_rank", None):
        raise UnsupportedModel(
            f"{name}: expected keys and values in the cache, got `{config.model_type}`, which "
            "caches a latent vector of both (MLA)",
            hint="drop --cache-type",
        )
    seen = _heads(body)
    kinds = getattr(config, "layer_types", None)
    layers = config.num_hidden_layers if kinds is None else sum(k in _ATTENTION for k in kinds)
    if not layers:
        raise UnsupportedModel(
            f"{name}: expected layers that keep keys and values, got none in `{config.model_type}`",
            hint="drop --cache-type",
        )
    if len(seen) != layers:
        raise UnsupportedModel(
            f"{name}: expected keys and values of {layers} layers to pass through transformers' "
            f"table of attention functions, got those of {len(seen)} (`{config.model_type}`)",
            hint="drop --cache-type",
        )
    for position, (what, kind) in enumerate((("keys", types.keys), ("values", types.values))):
        for sizes in seen.values():
            if sizes[position] % row_multiple(kind):
                raise UnsupportedModel(
                    f"{name}: cache type `{kind}` of {what}: expected heads that are a multiple "
                    f"of {row_multiple(kind)}, got {sizes[position]}",
                    hint="choose another --cache-type (f16, bf16, fp8)",
                )


def _heads(body: Any) -> dict[int, tuple[int, int]]:
    """Sizes of a key's and a value's head by attention module."""
    seen: dict[int, tuple[int, int]] = {}
    config, base = body.config, body.config._attn_implementation

    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *args: Any,
        **options: Any,
    ) -> tuple[torch.Tensor, Any]:
        seen[id(module)] = key.shape[-1], value.shape[-1]
        return _function(base, module)(module, query, key, value, *args, **options)

    device = body.get_input_embeddings().weight.device
    try:
        config._attn_implementation = _register("bitloss_seen", base, attention)
        with torch.no_grad():
            body(input_ids=torch.zeros(1, 2, dtype=torch.long, device=device), use_cache=False)
    finally:
        config._attn_implementation = base
    return seen


def _function(base: str, module: torch.nn.Module) -> _Attention:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if base == "eager":  # each model's file has its own
        own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if own is None:
            raise UnsupportedModel(
                f"expected `eager_attention_forward` beside `{type(module).__name__}`, got none",
                hint="drop --cache-type",
            )
        return own  # type: ignore[no-any-return]
    function: _Attention = ALL_ATTENTION_FUNCTIONS[base]
    return function


def _register(name: str, base: str, attention: _Attention) -> str:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    # Names in transformers' own tables; what one means is in the name.
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    return name
