"""What a runtime holds beside a model's file: arithmetic, held against llama.cpp's own buffers.

`benchmarks/memory.py` prints what this says beside what llama.cpp takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitloss.formats.base import text_config
from bitloss.spec.serving import Serving, cache_groups

__all__ = ["buffer_bytes", "cache_bytes", "context_bytes"]

_BITS = {
    "f32": 32.0, "fp8": 8.0, "q8_0": 8.5, "q5_1": 6.0, "q5_0": 5.5, "q4_1": 5.0, "q4_0": 4.5,
    "iq4_nl": 4.5,
}  # fmt: skip
"""Bits of a cached number with its share of its block's scales; 16 for any other type."""

# Tokens of one forward, and what caches are multiples of: llama.cpp's own.
_FORWARD = 512
_PAD = 256
# Measured on two models: what a token's text and lookup take, and what a process takes besides.
_ENTRY = 160
_PROCESS = 16 << 20


def cache_bytes(config: Mapping[str, Any], serving: Serving) -> int | None:
    """Bytes of keys and values for one token of context.

    Layers with a window keep no more than that of it (`context_bytes`): it is what a token takes at
    most.

    Args:
        config: the model's.
        serving: types of keys and values; the engine's own are taken for 16 bits.

    Returns:
        None if the config does not say how wide they are.
    """
    layer = _layer_bytes(config, serving)
    return None if layer is None else round(layer * int(text_config(config)["num_hidden_layers"]))


def context_bytes(config: Mapping[str, Any], serving: Serving, context: int) -> int | None:
    """Bytes of keys and values for a context, in the cells that llama.cpp makes for it.

    A layer with a sliding window keeps the window and one forward.

    Args:
        config: the model's.
        serving: see `cache_bytes`.
        context: tokens.
    """
    own, layer = text_config(config), _layer_bytes(config, serving)
    if layer is None:
        return None
    kinds, window = own.get("layer_types"), own.get("sliding_window")
    sliding = 0
    window = window if isinstance(window, int) else 0
    if window and isinstance(kinds, list):
        sliding = sum(kind == "sliding_attention" for kind in kinds)
    cells = _padded(context)
    some = min(cells, _padded(window + _FORWARD)) if sliding else 0
    full = int(own["num_hidden_layers"]) - sliding
    return round(layer * (full * cells + sliding * some))


def buffer_bytes(config: Mapping[str, Any], vocabulary: int) -> int | None:
    """Bytes of a forward's activations, of the tokenizer and of the process.

    Args:
        config: the model's.
        vocabulary: entries of its tokenizer.
    """
    own = text_config(config)
    width, inner = own.get("hidden_size"), own.get("intermediate_size")
    if not isinstance(width, int) or not isinstance(inner, int):
        return None
    return _FORWARD * 4 * (4 * width + 2 * inner) + _ENTRY * vocabulary + _PROCESS


def _layer_bytes(config: Mapping[str, Any], serving: Serving) -> float | None:
    """Of one token, in one layer."""
    own = text_config(config)
    layers, heads = own.get("num_hidden_layers"), own.get("num_attention_heads")
    if not isinstance(layers, int) or not isinstance(heads, int) or own.get("kv_lora_rank"):
        return None
    width = own.get("head_dim") or (own.get("hidden_size") or 0) // max(1, heads)
    keys = own.get("num_key_value_heads") or heads
    if not isinstance(width, int) or not isinstance(keys, int) or not width:
        return None
    return keys * width * sum(_bits(name) for name in (serving.keys, serving.values)) / 8


def _padded(tokens: int) -> int:
    return -(-tokens // _PAD) * _PAD


def _bits(name: str) -> float:
    groups = cache_groups(name)
    if groups is not None:
        bits, size = groups
        return bits + 32 / size  # a scale and a zero point of 16 bits each
    return _BITS.get(name, 16.0)
