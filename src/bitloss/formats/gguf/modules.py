"""Modules of decoders under transformers' names, and llama.cpp's tensors for them.

Blocks that the families in `bitloss.formats.gguf.families` are put together from. A plain name is
stored as it is. ``{i}`` is the layer, ``{j}`` a further index; a module stands for its weight and
its bias.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitloss.formats.gguf import operations as ops
from bitloss.formats.gguf.operations import Operation, Source

__all__ = [
    "ATTENTION",
    "CORRECTION",
    "DELTA_NET",
    "EXPERTS",
    "FUSED_MLP",
    "LLAMA",
    "MAMBA",
    "MLP",
    "NORMS",
    "QK_NORMS",
    "SHARED_EXPERTS",
    "Names",
    "decoder",
    "joined",
    "layered",
    "minus_one",
    "source",
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
