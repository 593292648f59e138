"""Parts of the configs of models with a state; see `bitloss.formats.gguf.config`."""

from __future__ import annotations

from typing import Any

from bitloss.formats.gguf import config as c
from bitloss.formats.gguf.metadata import Metadata

__all__ = ["delta_net", "interleaved_rope", "lfm2", "lfm2moe", "mamba", "mamba2"]


def delta_net(metadata: Metadata) -> dict[str, Any]:
    """Gated delta nets in all layers but every fourth."""
    keys = metadata.whole("ssm.group_count", least=1)
    values = metadata.whole("ssm.time_step_rank", least=1)
    inner = metadata.whole("ssm.inner_size", least=1)
    if values % keys or inner % values:
        raise metadata.wrong("ssm.time_step_rank", f"a multiple of {keys} dividing {inner}", values)
    every = metadata.whole("full_attention_interval", 4, least=1)
    return {
        "linear_num_key_heads": keys,
        "linear_num_value_heads": values,
        "linear_key_head_dim": metadata.whole("ssm.state_size", least=1),
        "linear_value_head_dim": inner // values,
        "linear_conv_kernel_dim": metadata.whole("ssm.conv_kernel", least=1),
        "layer_types": [
            "linear_attention" if (i + 1) % every else "full_attention"
            for i in range(metadata.layers())
        ],
    }


def interleaved_rope(metadata: Metadata) -> dict[str, Any]:
    """Positions in three dimensions, which are equal for text."""
    rope = c.rope_parameters(metadata, partial=True)
    sections = metadata.per_layer("rope.dimension_sections", 3)
    return {"rope_parameters": rope | {"mrope_section": sections, "mrope_interleaved": True}}


def lfm2(metadata: Metadata) -> dict[str, Any]:
    """Convolutions where a layer has no heads of keys."""
    layers = metadata.layers()
    groups = metadata.per_layer("attention.head_count_kv", layers)
    counts = sorted({group for group in groups if group})
    if len(counts) != 1:
        raise metadata.unsupported("attention.head_count_kv", groups)
    if metadata.whole("attention.sliding_window", 0):
        raise metadata.unsupported(
            "attention.sliding_window", metadata.whole("attention.sliding_window")
        )
    return c.sizes(metadata) | {
        "num_attention_heads": metadata.whole("attention.head_count", least=1),
        "num_key_value_heads": counts[0],
        "layer_types": ["full_attention" if group else "conv" for group in groups],
        "conv_L_cache": metadata.whole("shortconv.l_cache", least=1),
        "conv_bias": metadata.has_tensor("blk.0.shortconv.conv.bias"),
        "block_auto_adjust_ff_dim": False,
        "norm_eps": metadata.positive("attention.layer_norm_rms_epsilon"),
    }


def lfm2moe(metadata: Metadata) -> dict[str, Any]:
    """Experts behind the first layers, chosen with a bias."""
    if c.gating(metadata, default=0) != 2:
        raise metadata.unsupported("expert_gating_func", c.gating(metadata, default=0))
    dense = metadata.whole("leading_dense_block_count", 0)
    return {
        "num_dense_layers": dense,
        "use_expert_bias": metadata.has_tensor(f"blk.{dense}.exp_probs_b.bias"),
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
    }


def _state_space(metadata: Metadata) -> dict[str, Any]:
    sizes = c.sizes(metadata)
    inner = metadata.whole("ssm.inner_size", least=1)
    if inner % sizes["hidden_size"]:
        raise metadata.unsupported("ssm.inner_size", inner)
    metadata.whole("attention.head_count", 0)  # a 0, there for llama.cpp's loader
    return {
        "hidden_size": sizes["hidden_size"],
        "num_hidden_layers": sizes["num_hidden_layers"],
        "state_size": metadata.whole("ssm.state_size", least=1),
        "conv_kernel": metadata.whole("ssm.conv_kernel", least=1),
        "expand": inner // sizes["hidden_size"],
        "layer_norm_epsilon": metadata.positive("attention.layer_norm_rms_epsilon"),
        "use_bias": metadata.has_tensor("blk.0.ssm_in.bias"),
        "use_conv_bias": metadata.has_tensor("blk.0.ssm_conv1d.bias"),
    }


def mamba(metadata: Metadata) -> dict[str, Any]:
    """Mamba, without the norms that Falcon's has."""
    if metadata.flag("ssm.dt_b_c_rms", False):
        raise metadata.unsupported("ssm.dt_b_c_rms", True)
    rank = metadata.whole("ssm.time_step_rank", least=1)
    return _state_space(metadata) | {"time_step_rank": rank}


def mamba2(metadata: Metadata) -> dict[str, Any]:
    """Mamba 2, whose state has heads."""
    heads, inner = (
        metadata.whole(f"ssm.{key}", least=1) for key in ("time_step_rank", "inner_size")
    )
    if inner % heads:
        raise metadata.wrong("ssm.time_step_rank", f"a divisor of {inner}", heads)
    return _state_space(metadata) | {
        "num_heads": heads,
        "head_dim": inner // heads,
        "n_groups": metadata.whole("ssm.group_count", least=1),
    }
