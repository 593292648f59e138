"""Modules of decoders under transformers' names, and llama.cpp's tensors for them.

Blocks that the families in `bitloss.formats.gguf.families.table` are put together from. A plain
name is stored as it is. ``{i}`` is the layer, ``{j}`` a further index; a module stands for its
weight and its bias.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitloss.formats.gguf.families import operations as ops
from bitloss.formats.gguf.families.operations import Operation, Source

__all__ = [
    "ATTENTION",
    "CORRECTION",
    "DELTA_NET",
    "EXPERTS",
    "FUSED_MLP",
    "GEMMA_NORM",
    "GEMMA_NORMS",
    "GPT2_LAYER",
    "LATE_NORMS",
    "LFM2",
    "LFM2_NAMES",
    "LLAMA",
    "MAMBA",
    "MLA",
    "MLP",
    "NEXT_ATTENTION",
    "NORMS",
    "POST_NORMS",
    "QK_NORMS",
    "QWEN35_DELTA",
    "SHARED_EXPERT",
    "SHARED_EXPERTS",
    "Names",
    "bloom_layer",
    "decoder",
    "joined",
    "layered",
    "minus_one",
    "source",
    "transformer",
    "with_prefix",
]

Names = Mapping[str, str | Source]
"""Transformers name -> llama.cpp's name, or where it comes from."""


def source(operation: Operation, *stored: str) -> Source:
    """A parameter that is laid out differently."""
    return Source(operation, stored)


def joined(*stored: str) -> Source:
    """Tensors that the module graph keeps as one, rows below rows."""
    return Source(ops.JOINED, stored)


def minus_one(names: Names) -> dict[str, str | Source]:
    """Norms whose modules add 1 to their weight."""
    return {
        name: Source(ops.MINUS_ONE, (stored,)) if isinstance(stored, str) else stored
        for name, stored in names.items()
    }


def with_prefix(prefix: str, names: Names, block: str = "blk.{i}.") -> dict[str, str | Source]:
    """A layer's modules under their full names."""

    def full(stored: str | Source) -> str | Source:
        if isinstance(stored, str):
            return block + stored
        return Source(stored.operation, tuple(block + name for name in stored.stored))

    return {prefix + name: full(stored) for name, stored in names.items()}


def layered(*blocks: Names) -> dict[str, str | Source]:
    """Modules of ``model.layers``."""
    return with_prefix("model.layers.{i}.", {k: v for block in blocks for k, v in block.items()})


def decoder(*blocks: Names, norm: str | Source = "output_norm") -> dict[str, str | Source]:
    """Embedding, layers, norm and head of a decoder with the usual names."""
    return {
        "model.embed_tokens": "token_embd",
        **layered(*blocks),
        "model.norm": norm,
        "lm_head": "output",
    }


ATTENTION: Names = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
QK_NORMS: Names = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
NORMS: Names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
MLP: Names = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
FUSED_MLP: Names = {"mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
LLAMA: Names = {
    **NORMS,
    **ATTENTION,
    "self_attn.q_proj": source(ops.PERMUTED_Q, "attn_q"),
    "self_attn.k_proj": source(ops.PERMUTED_K, "attn_k"),
    **MLP,
}
EXPERTS: Names = {
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.experts.gate_up_proj": joined("ffn_gate_exps.weight", "ffn_up_exps.weight"),
    "mlp.experts.down_proj": "ffn_down_exps.weight",
}
SHARED_EXPERTS: Names = {
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
CORRECTION: Names = {"mlp.gate.e_score_correction_bias": "exp_probs_b.bias"}
DELTA_NET: Names = {
    "linear_attn.norm": "ssm_norm",
    "linear_attn.conv1d": source(ops.CONV1D, "ssm_conv1d"),
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.A_log": source(ops.NEGATIVE_LOG, "ssm_a"),
    "linear_attn.out_proj": "ssm_out",
}
MAMBA: Names = {
    "norm": "attn_norm",
    "mixer.in_proj": "ssm_in",
    "mixer.conv1d": source(ops.CONV1D, "ssm_conv1d"),
    "mixer.out_proj": "ssm_out",
}

# Norms around attention and feed-forward, before and behind.
GEMMA_NORMS: Names = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
GEMMA_NORM = source(ops.MINUS_ONE, "output_norm")
POST_NORMS: Names = {
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
LATE_NORMS: Names = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
}
GPT2_LAYER: Names = {
    "ln_1": "attn_norm",
    "attn.c_attn": source(ops.TRANSPOSED, "attn_qkv"),
    "attn.c_proj": source(ops.TRANSPOSED, "attn_output"),
    "ln_2": "ffn_norm",
    "mlp.c_fc": source(ops.TRANSPOSED, "ffn_up"),
    "mlp.c_proj": source(ops.TRANSPOSED, "ffn_down"),
}
MLA: Names = {
    **NORMS,
    "self_attn.q_proj": "attn_q",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": source(ops.KV_B, "attn_k_b", "attn_v_b"),
    "self_attn.o_proj": "attn_output",
}
SHARED_EXPERT: Names = {
    **{name.replace("experts", "expert"): stored for name, stored in SHARED_EXPERTS.items()},
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
}
NEXT_ATTENTION: Names = {**ATTENTION, **minus_one({**QK_NORMS, **LATE_NORMS})}
QWEN35_DELTA: Names = {
    **DELTA_NET,
    "linear_attn.in_proj_qkv": source(ops.DELTA_QKV["weight"], "attn_qkv"),
    "linear_attn.in_proj_z": source(ops.DELTA_ROWS, "attn_gate"),
    "linear_attn.in_proj_b": source(ops.DELTA_ROWS, "ssm_beta"),
    "linear_attn.in_proj_a": source(ops.DELTA_ROWS, "ssm_alpha"),
    "linear_attn.conv1d": source(ops.DELTA_QKV["conv"], "ssm_conv1d"),
    "linear_attn.dt_bias": source(ops.DELTA_SCALARS, "ssm_dt.bias"),
    "linear_attn.A_log": source(ops.DELTA_STATE, "ssm_a"),
    "linear_attn.out_proj": source(ops.DELTA_OUT, "ssm_out"),
}
LFM2: Names = {
    "operator_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
    "conv.conv": source(ops.CONV1D, "shortconv.conv"),
    "conv.in_proj": "shortconv.in_proj",
    "conv.out_proj": "shortconv.out_proj",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_output",
    "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w3": "ffn_up",
    "feed_forward.w2": "ffn_down",
    "feed_forward.gate": "ffn_gate_inp",
    "feed_forward.expert_bias": "exp_probs_b.bias",
    "feed_forward.experts.gate_up_proj": joined("ffn_gate_exps.weight", "ffn_up_exps.weight"),
    "feed_forward.experts.down_proj": "ffn_down_exps.weight",
}
LFM2_NAMES = {
    key.replace("model.norm", "model.embedding_norm"): value
    for key, value in decoder(LFM2, norm="token_embd_norm").items()
}


def transformer(layer: Names, **rest: str) -> Names:
    """A decoder whose parts are called as GPT-2's; `rest` is outside of the layers."""
    return {
        **{f"transformer.{name}": stored for name, stored in rest.items()},
        **with_prefix("transformer.h.{i}.", layer),
        "transformer.ln_f": "output_norm",
        "lm_head": "output",
    }


def bloom_layer(qkv: Operation) -> Names:
    """A layer of BLOOM or Falcon; either has some of these norms."""
    return {
        "input_layernorm": "attn_norm",
        "ln_attn": "attn_norm_2",
        "ln_mlp": "attn_norm",
        "self_attention.query_key_value": source(qkv, "attn_qkv"),
        "self_attention.dense": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.dense_h_to_4h": "ffn_up",
        "mlp.dense_4h_to_h": "ffn_down",
    }
