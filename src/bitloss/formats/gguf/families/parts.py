"""Parts of the config that one family has, or two; see `bitloss.formats.gguf.config`."""

from __future__ import annotations

from typing import Any

from bitloss.errors import UnsupportedModel
from bitloss.formats.gguf import config as c
from bitloss.formats.gguf.metadata import Metadata

__all__ = [
    "bloom",
    "exaone4",
    "falcon",
    "gpt2",
    "granite",
    "greedy",
    "latent_attention",
    "llama4",
    "llama4_code",
    "minimax",
    "ministral_rope",
    "mpt",
    "nemotron",
    "olmo",
    "parallel_residual",
    "phi3",
    "phimoe",
    "rope_by_kind",
    "routed",
    "shared_width",
    "untruncated_rope",
    "whole_window",
]


def whole_window(metadata: Metadata) -> dict[str, Any]:
    """Mistral's window, which holds for every layer; 0 and nothing mean none.

    The converter writes none for most of these models, and llama.cpp looks at the whole text.
    """
    window = metadata.whole("attention.sliding_window", None)
    return c.Implied(sliding_window=None) if window is None else {"sliding_window": window or None}


def gpt2(metadata: Metadata) -> dict[str, Any]:
    """GPT-2 has names of its own for everything."""
    sizes = c.sizes(metadata) | c.attention(metadata)
    return {
        "n_positions": sizes["max_position_embeddings"],
        "n_embd": sizes["hidden_size"],
        "n_layer": sizes["num_hidden_layers"],
        "n_head": sizes["num_attention_heads"],
        "n_inner": metadata.whole("feed_forward_length", least=1),
        "activation_function": "gelu_new",
    }


def phi3(metadata: Metadata) -> dict[str, Any]:
    """Phi 3 names the context it was first trained with."""
    context = metadata.whole("context_length", least=1)
    original = metadata.whole("rope.scaling.original_context_length", context, least=1)
    return {"original_max_position_embeddings": original}


def phimoe(metadata: Metadata) -> dict[str, Any]:
    """Its factors of the rope come with scales that files do not have."""
    if metadata.has_tensor("rope_factors_long.weight"):
        raise metadata.unsupported("rope.scaling.attn_factor", "of LongRoPE with two scales")
    context = metadata.whole("context_length", least=1)
    if metadata.whole("rope.scaling.original_context_length", context) != context:
        raise metadata.unsupported("rope.scaling.original_context_length", "another context")
    return {}


def shared_width(metadata: Metadata) -> dict[str, Any]:
    """The expert that every token goes through; older files leave its width to the tensors."""
    wide = metadata.whole("expert_shared_feed_forward_length", None)
    stored = metadata.files.tensors.get("blk.0.ffn_up_shexp.weight")
    if wide is None:
        wide = stored.shape[0] if stored else 0
    return {"shared_expert_intermediate_size": wide, "decoder_sparse_step": 1}


def routed(*, sigmoid: bool) -> c.Part:
    """DeepSeek's experts: first layers without, one for all tokens, groups, scaled weights."""

    def part(metadata: Metadata) -> dict[str, Any]:
        kind = c.gating(metadata, default=2 if sigmoid else 1)
        if (kind == 2) != sigmoid:
            raise metadata.unsupported("expert_gating_func", kind)
        groups = metadata.whole("expert_group_count", 1) or 1
        return c.experts("n_routed_experts")(metadata) | {
            "first_k_dense_replace": metadata.whole("leading_dense_block_count", 0),
            "n_shared_experts": metadata.whole("expert_shared_count", 0),
            "norm_topk_prob": metadata.flag("expert_weights_norm", False),
            "routed_scaling_factor": metadata.number("expert_weights_scale", 1.0) or 1.0,
            "n_group": groups,
            "topk_group": metadata.whole("expert_group_used_count", 1) or 1,
        }

    return part


def greedy(metadata: Metadata) -> dict[str, Any]:
    """DeepSeek 2 picks the best experts; its choice by groups and norm are another model's."""
    for key, plain in (("expert_group_count", 1), ("expert_weights_norm", False)):
        value = metadata.files.metadata.get(f"{metadata.prefix}.{key}", plain)
        if value not in (plain, 0):
            raise metadata.unsupported(key, value)
    return {"topk_method": "greedy", "n_group": None, "topk_group": None}


def latent_attention(metadata: Metadata) -> dict[str, Any]:
    """DeepSeek's attention over a latent; files keep it as one head of keys and values."""
    heads = metadata.whole("attention.head_count", least=1)
    if metadata.whole("attention.head_count_kv", 1) != 1:
        raise UnsupportedModel(
            f"{metadata.files.paths[0]}: keys and values are stored as in files of early 2025",
            hint="convert the model again with a current llama.cpp",
        )
    latent = metadata.whole("attention.kv_lora_rank", least=1)
    turned = metadata.whole("rope.dimension_count", least=2)
    values = metadata.whole("attention.value_length_mla", least=1)
    keys = metadata.whole("attention.key_length_mla", least=turned)
    if turned % 2:
        raise metadata.wrong("rope.dimension_count", "an even number", turned)
    for key, expected in (("key_length", latent + turned), ("value_length", latent)):
        if metadata.whole(f"attention.{key}", expected) != expected:
            raise metadata.wrong(
                f"attention.{key}", str(expected), metadata.whole(f"attention.{key}")
            )
    return {
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "q_lora_rank": metadata.whole("attention.q_lora_rank", None),
        "kv_lora_rank": latent,
        "qk_rope_head_dim": turned,
        "qk_nope_head_dim": keys - turned,
        "v_head_dim": values,
        "head_dim": turned,
        "rope_parameters": _latent_rope(metadata, turned),
    }


def _latent_rope(metadata: Metadata, turned: int) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_theta": metadata.positive("rope.freq_base", 10000.0)}
    rope |= c.scaling(metadata, turned)
    # The converter writes a tenth of it, for legacy reasons (TAG_DEEPSEEK2_YARN_LOG_MUL_FIX).
    stored = metadata.number("rope.scaling.yarn_log_multiplier", None)
    if rope["rope_type"] != "yarn" or not stored:
        return rope
    scale = round(stored * 10, 6)
    return rope | {"mscale": scale, "mscale_all_dim": scale}


def untruncated_rope(metadata: Metadata) -> dict[str, Any]:
    """gpt-oss does not round yarn's corner frequencies."""
    rope = c.rope_parameters(metadata)
    return {"rope_parameters": rope | {"truncate": False} if rope["rope_type"] == "yarn" else rope}


def ministral_rope(metadata: Metadata) -> dict[str, Any]:
    """Yarn, and queries scaled by position."""
    rope = c.rope_parameters(metadata)
    scale = metadata.number("rope.scaling.yarn_log_multiplier")
    if rope["rope_type"] != "yarn":
        raise metadata.unsupported("rope.scaling.type", rope["rope_type"])
    return {
        "rope_parameters": rope
        | {
            "mscale": 1.0,
            "mscale_all_dim": scale,
            "llama_4_scaling_beta": metadata.number("attention.temperature_scale"),
        }
    }


def llama4(metadata: Metadata) -> dict[str, Any]:
    """Experts in every n-th layer, chunks of 8,192 tokens, every fourth layer without rope."""
    if metadata.whole("attention.sliding_window", 8192) != 8192:
        raise metadata.unsupported(
            "attention.sliding_window", metadata.whole("attention.sliding_window")
        )
    routed = c.experts("num_local_experts", "intermediate_size")(metadata)
    return routed | {
        "intermediate_size_mlp": metadata.whole("feed_forward_length", least=1),
        "interleave_moe_layer_step": metadata.whole("interleave_moe_layer_step", least=1),
    }


def llama4_code(metadata: Metadata) -> dict[str, Any]:
    """What llama.cpp's code does for Llama 4; files do not state it."""
    return c.Implied(
        attention_chunk_size=8192,
        no_rope_layer_interval=4,
        attn_temperature_tuning=True,
        floor_scale=8192,
        attn_scale=0.1,
        use_qk_norm=metadata.whole("expert_count", least=1) != 128,
    )


def olmo(metadata: Metadata) -> dict[str, Any]:
    """Norms without weights, whose epsilon is in the code."""
    if metadata.positive("attention.layer_norm_epsilon") != 1e-5:
        raise metadata.unsupported("attention.layer_norm_epsilon", "not 1e-5")
    return {"clip_qkv": metadata.number("attention.clamp_kqv", 0.0) or None}


def rope_by_kind(metadata: Metadata) -> dict[str, Any]:
    """Olmo 3: only layers that see everything scale their rope."""
    full = c.rope_parameters(metadata)
    theta = metadata.positive("rope.freq_base_swa", full["rope_theta"])
    local = {"rope_type": "default", "rope_theta": theta}
    return {"rope_parameters": {"full_attention": full, "sliding_attention": local}}


def granite(metadata: Metadata) -> dict[str, Any]:
    """Multipliers of attention, embedding, residuals and logits."""
    if not metadata.flag("rope.scaling.finetuned", True):
        raise metadata.unsupported("rope.scaling.finetuned", False)
    width = c.head_dim(metadata)["head_dim"]
    return {
        "attention_multiplier": metadata.number("attention.scale", 0.0) or width**-0.5,
        "embedding_multiplier": metadata.number("embedding_scale", 0.0) or 1.0,
        "residual_multiplier": metadata.number("residual_scale", 0.0) or 1.0,
        "logits_scaling": metadata.positive("logit_scale"),
    }


def falcon(metadata: Metadata) -> dict[str, Any]:
    """One decoder with a group of keys, another with several and two norms."""
    groups = metadata.whole("attention.head_count_kv", 1, least=1)
    norms = metadata.has_tensor("blk.0.attn_norm_2.weight")
    return {
        "num_kv_heads": groups,
        "multi_query": groups == 1,
        "new_decoder_architecture": groups > 1 or norms,
        "num_ln_in_parallel_attn": 2 if norms else 1,
        "parallel_attn": True,
        "alibi": False,
        "bias": metadata.has_tensor("blk.0.attn_qkv.bias"),
        "ffn_hidden_size": metadata.whole("feed_forward_length", least=1),
    }


def bloom(metadata: Metadata) -> dict[str, Any]:
    """BLOOM, whose positions are slopes."""
    sizes = c.sizes(metadata) | c.attention(metadata)
    return {
        "seq_length": sizes["max_position_embeddings"],
        "hidden_size": sizes["hidden_size"],
        "n_layer": sizes["num_hidden_layers"],
        "n_head": sizes["num_attention_heads"],
    }


def parallel_residual(metadata: Metadata) -> dict[str, Any]:
    """Whether attention and feed-forward read the same input."""
    return {"use_parallel_residual": metadata.flag("use_parallel_residual", True)}


def mpt(metadata: Metadata) -> dict[str, Any]:
    """MPT, with slopes for positions and clipped projections."""
    sizes = c.sizes(metadata) | c.attention(metadata)
    width, wide = sizes["hidden_size"], sizes["intermediate_size"]
    slope = metadata.number("attention.max_alibi_bias", 0.0)
    if wide % width or not slope:
        key = "attention.max_alibi_bias" if wide % width == 0 else "feed_forward_length"
        raise metadata.unsupported(key, slope if wide % width == 0 else wide)
    return {
        "max_seq_len": sizes["max_position_embeddings"],
        "d_model": width,
        "n_layers": sizes["num_hidden_layers"],
        "n_heads": sizes["num_attention_heads"],
        "expansion_ratio": wide // width,
        "attn_config": {
            "alibi": True,
            "alibi_bias_max": int(slope),
            "clip_qkv": metadata.number("attention.clamp_kqv", 0.0) or None,
        },
    }


def exaone4(metadata: Metadata) -> dict[str, Any]:
    """Windows in three layers of four, and rope in those only; or neither."""
    if not metadata.whole("attention.sliding_window", 0):
        kinds = ["full_attention"] * metadata.layers()
        return {"sliding_window": None, "sliding_window_pattern": None, "layer_types": kinds}
    return c.sliding_window(4)(metadata) | {"sliding_window_pattern": 4}


def nemotron(metadata: Metadata) -> dict[str, Any]:
    """The root mean square's epsilon is there, and not used."""
    metadata.number("attention.layer_norm_rms_epsilon", 0.0)
    return {"hidden_act": "relu2"}


def minimax(metadata: Metadata) -> dict[str, Any]:
    """Experts weighed by sigmoids."""
    if c.gating(metadata, default=2) != 2:
        raise metadata.unsupported("expert_gating_func", c.gating(metadata, default=2))
    return {}
