"""Parts of the configs of Gemma; see `bitloss.formats.gguf.config`."""

from __future__ import annotations

from typing import Any

from bitloss.errors import UnsupportedModel
from bitloss.formats.gguf import config as c
from bitloss.formats.gguf.decoding import read_tensor
from bitloss.formats.gguf.metadata import Metadata

__all__ = ["final_cap", "gemma2_caps", "gemma3", "gemma4", "gemma_scale"]


def gemma_scale(large: int) -> c.Part:
    """What queries are scaled by: the model with `large` layers takes the width per head."""

    def part(metadata: Metadata) -> dict[str, Any]:
        sizes = c.sizes(metadata) | c.attention(metadata) | c.head_dim(metadata)
        wide = sizes["hidden_size"] // sizes["num_attention_heads"]
        deep = sizes["num_hidden_layers"] == large
        return {"query_pre_attn_scalar": wide if deep else sizes["head_dim"]}

    return part


def gemma2_caps(metadata: Metadata) -> dict[str, Any]:
    """Soft caps of attention and of the logits."""
    return {
        "attn_logit_softcapping": metadata.positive("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": metadata.positive("final_logit_softcapping", 30.0),
    }


def final_cap(metadata: Metadata) -> dict[str, Any]:
    """A soft cap of the logits, if there is one."""
    return {"final_logit_softcapping": metadata.number("final_logit_softcapping", 0.0) or None}


def gemma3(metadata: Metadata) -> dict[str, Any]:
    """Windows, and a rope for the layers that have one; only the other rope is scaled."""
    full = c.rope_parameters(metadata)
    local = {
        "rope_type": "default",
        "rope_theta": metadata.positive("rope.freq_base_swa", 10000.0),
    }
    window = metadata.whole("attention.sliding_window", 0)
    kinds = c.sliding_layers(metadata, 6) if window else ["full_attention"] * metadata.layers()
    return {
        "sliding_window": window or 4096,
        "layer_types": kinds,
        "rope_parameters": {"full_attention": full, "sliding_attention": local},
    }


def gemma4(metadata: Metadata) -> dict[str, Any]:
    """Layers of two kinds, with heads and ropes of their own; shared keys, experts, side inputs."""
    layers, hidden = metadata.layers(), metadata.whole("embedding_length", least=1)
    heads = metadata.whole("attention.head_count", least=1)
    kinds = c.sliding_layers(metadata, 6)
    groups = metadata.per_layer("attention.head_count_kv", layers, heads)
    local = sorted({g for g, k in zip(groups, kinds, strict=True) if k == "sliding_attention"})
    full = sorted({g for g, k in zip(groups, kinds, strict=True) if k == "full_attention"})
    if len(local) > 1 or len(full) > 1:
        raise metadata.unsupported("attention.head_count_kv", groups)
    last = next((i for i, kind in enumerate(kinds) if kind == "full_attention"), 0)
    shared = metadata.whole("attention.shared_kv_layers", 0)
    wide = metadata.per_layer("feed_forward_length", layers)
    doubled = [wide[0] * (1 if i < layers - shared else 2) for i in range(layers)]
    if wide not in ([wide[0]] * layers, doubled):
        raise metadata.unsupported("feed_forward_length", wide)
    stored = metadata.files.tensors.get("per_layer_token_embd.weight")
    config = {
        "max_position_embeddings": metadata.whole("context_length", least=1),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": wide[0],
        "use_double_wide_mlp": wide != [wide[0]] * layers,
        "num_attention_heads": heads,
        "num_key_value_heads": (local or full)[0],
        "num_global_key_value_heads": full[0] if full else None,
        "attention_k_eq_v": not metadata.has_tensor(f"blk.{last}.attn_v.weight"),
        "num_kv_shared_layers": shared,
        "sliding_window": metadata.whole("attention.sliding_window", least=1),
        "layer_types": kinds,
        "hidden_size_per_layer_input": metadata.whole("embedding_length_per_layer_input", 0),
        "vocab_size_per_layer_input": stored.shape[0] if stored else 0,
        "enable_moe_block": metadata.has("expert_count"),
    }
    if config["enable_moe_block"]:
        routed = c.experts()(metadata)
        config |= routed | {"top_k_experts": routed["num_experts_per_tok"]}
    return config | _gemma4_rope(metadata)


def _gemma4_rope(metadata: Metadata) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, end in (("global_head_dim", ""), ("head_dim", "_swa")):
        config[name] = metadata.whole(f"attention.key_length{end}", least=2)
        for key in (f"attention.value_length{end}", f"rope.dimension_count{end}"):
            if metadata.whole(key, config[name]) != config[name]:
                raise metadata.unsupported(key, metadata.whole(key))
    factors = read_tensor(metadata.files.tensors["rope_freqs.weight"]).tolist()
    turned = sum(factor == 1 for factor in factors)
    # Frequencies that are not used are divided by 1e30 (conversion/gemma.py).
    if factors[:turned] != [1.0] * turned or any(factor < 1e29 for factor in factors[turned:]):
        raise UnsupportedModel(
            f"{metadata.files.paths[0]}: `rope_freqs.weight` does not select frequencies",
            hint="convert the model again with a current llama.cpp",
        )
    return config | {
        "rope_parameters": {
            "full_attention": {
                "rope_type": "proportional",
                "rope_theta": metadata.positive("rope.freq_base", 10000.0),
                "partial_rotary_factor": turned / len(factors),
            },
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": metadata.positive("rope.freq_base_swa", 10000.0),
            },
        }
    }
