"""Every GGUF architecture that can be read, as data: its names, and the parts of its config.

Names are those of transformers' module graph. Constants are what llama.cpp's code does for the
architecture (src/models), where its files do not say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bitloss.formats.gguf import config as c
from bitloss.formats.gguf.families import gemma as g
from bitloss.formats.gguf.families import operations as ops
from bitloss.formats.gguf.families import parts as p
from bitloss.formats.gguf.families import recurrent as r
from bitloss.formats.gguf.families.modules import (
    ATTENTION,
    CORRECTION,
    DELTA_NET,
    EXPERTS,
    FUSED_MLP,
    GEMMA_NORM,
    GEMMA_NORMS,
    GPT2_LAYER,
    LATE_NORMS,
    LFM2_NAMES,
    LLAMA,
    MAMBA,
    MLA,
    MLP,
    NEXT_ATTENTION,
    NORMS,
    POST_NORMS,
    QK_NORMS,
    QWEN35_DELTA,
    SHARED_EXPERT,
    SHARED_EXPERTS,
    Names,
    bloom_layer,
    decoder,
    joined,
    minus_one,
    source,
    transformer,
    with_prefix,
)
from bitloss.formats.gguf.metadata import Metadata

__all__ = ["FAMILIES", "Family", "choose"]


@dataclass(frozen=True, eq=False)
class Family:
    """Models that are stored alike.

    Attributes:
        arch: llama.cpp's name of the architecture.
        model_type: transformers' name of it.
        architecture: transformers' class.
        names: where each module or parameter comes from.
        parts: of the config.
    """

    arch: str
    model_type: str
    architecture: str
    names: Names
    parts: tuple[c.Part, ...]


_CORE = (c.vocabulary, c.sizes, c.attention)
_RMS = (*_CORE, c.head_dim, c.rms_norm)
_BIASES = {"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_down.bias"}
_OUT_BIAS = c.bias(attention_bias="blk.0.attn_output.bias")
_Q_BIAS = c.bias(attention_bias="blk.0.attn_q.bias")
_SILU = c.fixed(hidden_act="silu")

_ALL = (
    Family("llama", "llama", "LlamaForCausalLM", decoder(LLAMA), (
        *_RMS, c.rope(), _SILU,
        c.bias(attention_bias="blk.0.attn_output.bias", mlp_bias="blk.0.ffn_down.bias"),
    )),
    Family("llama", "mistral", "MistralForCausalLM", decoder(LLAMA), (
        *_RMS, c.rope(), _SILU, p.whole_window,
    )),
    Family("llama", "mixtral", "MixtralForCausalLM", decoder(LLAMA, EXPERTS), (
        *_RMS, c.rope(), p.whole_window, c.experts("num_local_experts", "intermediate_size"),
    )),
    Family("qwen2", "qwen2", "Qwen2ForCausalLM", decoder(NORMS, ATTENTION, MLP), (
        *_CORE, c.rms_norm, c.rope(), _SILU,
    )),
    Family("qwen3", "qwen3", "Qwen3ForCausalLM", decoder(NORMS, ATTENTION, QK_NORMS, MLP), (
        *_RMS, c.rope(), _SILU, _OUT_BIAS,
    )),
    Family("gpt2", "gpt2", "GPT2LMHeadModel",
           transformer(GPT2_LAYER, wte="token_embd", wpe="position_embd"), (
        c.vocabulary, p.gpt2, c.layer_norm("layer_norm_epsilon"),
    )),
    Family("gemma", "gemma", "GemmaForCausalLM",
           decoder(ATTENTION, MLP, minus_one(NORMS), norm=GEMMA_NORM), (*_RMS, c.rope())),
    Family("gemma2", "gemma2", "Gemma2ForCausalLM",
           decoder(ATTENTION, MLP, minus_one(GEMMA_NORMS), norm=GEMMA_NORM), (
        *_RMS, c.rope(), c.sliding_window(2), g.gemma_scale(46), g.gemma2_caps,
    )),
    Family("gemma3", "gemma3_text", "Gemma3ForCausalLM",
           decoder(ATTENTION, MLP, minus_one({**QK_NORMS, **GEMMA_NORMS}), norm=GEMMA_NORM), (
        *_RMS, g.gemma3, g.gemma_scale(62), g.final_cap,
    )),
    Family("gemma4", "gemma4_text", "Gemma4ForCausalLM", {
        **decoder(ATTENTION, QK_NORMS, MLP, GEMMA_NORMS, {
            "layer_scalar": "layer_output_scale.weight",
            "per_layer_input_gate": "inp_gate",
            "per_layer_projection": "proj",
            "post_per_layer_input_norm": "post_norm",
            "router.proj": "ffn_gate_inp",
            "router.scale": "ffn_gate_inp.scale",
            "router.per_expert_scale": "ffn_down_exps.scale",
            "experts.gate_up_proj": "ffn_gate_up_exps.weight",
            "experts.down_proj": "ffn_down_exps.weight",
            "post_feedforward_layernorm_1": "post_ffw_norm_1",
            "post_feedforward_layernorm_2": "post_ffw_norm_2",
            "pre_feedforward_layernorm_2": "pre_ffw_norm_2",
        }),
        "model.embed_tokens_per_layer": "per_layer_token_embd",
        "model.per_layer_model_projection": "per_layer_model_proj",
        "model.per_layer_projection_norm": "per_layer_proj_norm",
    }, (c.vocabulary, c.rms_norm, g.gemma4, g.final_cap)),
    Family("phi2", "phi", "PhiForCausalLM", {
        "model.embed_tokens": "token_embd",
        **with_prefix("model.layers.{i}.", {
            **ATTENTION, "self_attn.dense": "attn_output", "input_layernorm": "attn_norm",
            "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down",
        }),
        "model.final_layernorm": "output_norm",
        "lm_head": "output",
    }, (*_CORE, c.layer_norm("layer_norm_eps"), c.rope(partial=True))),
    Family("phi3", "phi3", "Phi3ForCausalLM", decoder(NORMS, FUSED_MLP, {
        "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output",
    }), (*_RMS, c.rope(partial=True), p.phi3, p.whole_window)),
    Family("phimoe", "phimoe", "PhimoeForCausalLM",
           decoder(NORMS, ATTENTION, EXPERTS, {"mlp.router": "ffn_gate_inp"}), (
        *_RMS, c.rope(), p.phimoe, p.whole_window, _Q_BIAS, c.bias(lm_head_bias="output.bias"),
        c.experts("num_local_experts", "intermediate_size"),
    )),
    Family("qwen2moe", "qwen2_moe", "Qwen2MoeForCausalLM",
           decoder(NORMS, ATTENTION, EXPERTS, SHARED_EXPERT), (
        *_CORE, c.rms_norm, c.rope(), c.experts(), p.shared_width, c.fixed(norm_topk_prob=False),
        c.bias(qkv_bias="blk.0.attn_q.bias"),
    )),
    Family("qwen3moe", "qwen3_moe", "Qwen3MoeForCausalLM",
           decoder(NORMS, ATTENTION, QK_NORMS, EXPERTS), (
        *_RMS, c.rope(), c.experts(), c.fixed(norm_topk_prob=True), _OUT_BIAS,
    )),
    Family("qwen3next", "qwen3_next", "Qwen3NextForCausalLM",
           decoder(NEXT_ATTENTION, DELTA_NET, EXPERTS, SHARED_EXPERT, {
        "linear_attn.in_proj_qkvz.weight": source(
            ops.DELTA_QKVZ, "attn_qkv.weight", "attn_gate.weight"),
        "linear_attn.in_proj_ba": "ssm_ba",
    }, norm=GEMMA_NORM), (
        *_RMS, c.rope(partial=True), r.delta_net, c.experts(), p.shared_width,
        c.fixed(norm_topk_prob=True), _OUT_BIAS,
    )),
    Family("qwen35", "qwen3_5_text", "Qwen3_5ForCausalLM",
           decoder(NEXT_ATTENTION, QWEN35_DELTA, MLP, norm=GEMMA_NORM), (
        *_RMS, r.interleaved_rope, r.delta_net, _OUT_BIAS,
    )),
    Family("qwen35moe", "qwen3_5_moe_text", "Qwen3_5MoeForCausalLM",
           decoder(NEXT_ATTENTION, QWEN35_DELTA, EXPERTS, SHARED_EXPERT, norm=GEMMA_NORM), (
        *_RMS, r.interleaved_rope, r.delta_net, c.experts(), p.shared_width, _OUT_BIAS,
    )),
    Family("glm4", "glm4", "Glm4ForCausalLM", decoder(ATTENTION, FUSED_MLP, {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "post_self_attn_layernorm": "post_attention_norm",
        "post_mlp_layernorm": "post_ffw_norm",
    }), (*_RMS, c.rope(partial=True), _Q_BIAS)),
    Family("glm4moe", "glm4_moe", "Glm4MoeForCausalLM",
           decoder(ATTENTION, QK_NORMS, LATE_NORMS, MLP, EXPERTS, SHARED_EXPERTS, CORRECTION), (
        *_RMS, c.rope(partial=True), p.routed(sigmoid=True), _Q_BIAS,
        c.bias(use_qk_norm="blk.0.attn_q_norm.weight"),
    )),
    Family("deepseek2", "deepseek_v2", "DeepseekV2ForCausalLM",
           decoder(MLA, MLP, EXPERTS, SHARED_EXPERTS), (
        c.vocabulary, c.sizes, c.rms_norm, p.latent_attention, p.routed(sigmoid=False),
        p.greedy,
    )),
    Family("deepseek2", "deepseek_v3", "DeepseekV3ForCausalLM",
           decoder(MLA, MLP, EXPERTS, SHARED_EXPERTS, CORRECTION), (
        c.vocabulary, c.sizes, c.rms_norm, p.latent_attention, p.routed(sigmoid=True),
    )),
    Family("dots1", "dots1", "Dots1ForCausalLM",
           decoder(NORMS, ATTENTION, QK_NORMS, MLP, EXPERTS, SHARED_EXPERTS, CORRECTION), (
        *_RMS, c.rope(), p.routed(sigmoid=True), _Q_BIAS,
    )),
    Family("gpt-oss", "gpt_oss", "GptOssForCausalLM", decoder(ATTENTION, LATE_NORMS, {
        "self_attn.sinks": "attn_sinks.weight",
        "mlp.router": "ffn_gate_inp",
        "mlp.experts.gate_up_proj": source(
            ops.DEINTERLEAVED_EXPERTS, "ffn_gate_exps.weight", "ffn_up_exps.weight"),
        "mlp.experts.gate_up_proj_bias": source(
            ops.INTERLEAVED_LAST, "ffn_gate_exps.bias", "ffn_up_exps.bias"),
        "mlp.experts.down_proj": source(ops.TRANSPOSED, "ffn_down_exps.weight"),
        "mlp.experts.down_proj_bias": "ffn_down_exps.bias",
    }), (
        *_RMS, p.untruncated_rope, c.sliding_window(2),
        c.experts("num_local_experts", "intermediate_size"),
    )),
    Family("mistral3", "mistral", "MistralForCausalLM", decoder(LLAMA), (
        *_RMS, c.rope(), _SILU, p.whole_window,
    )),
    Family("mistral3", "ministral3", "Ministral3ForCausalLM", decoder(LLAMA), (
        *_RMS, p.ministral_rope, p.whole_window,
    )),
    Family("llama4", "llama4_text", "Llama4ForCausalLM",
           decoder(LLAMA, ATTENTION, {
        "feed_forward.gate_proj": "ffn_gate",
        "feed_forward.up_proj": "ffn_up",
        "feed_forward.down_proj": "ffn_down",
        "feed_forward.router": "ffn_gate_inp",
        "feed_forward.experts.gate_up_proj": source(
            ops.TURNED_EXPERTS, "ffn_gate_exps.weight", "ffn_up_exps.weight"),
        "feed_forward.experts.down_proj": source(ops.TRANSPOSED, "ffn_down_exps.weight"),
        "feed_forward.shared_expert.gate_proj": "ffn_gate_shexp",
        "feed_forward.shared_expert.up_proj": "ffn_up_shexp",
        "feed_forward.shared_expert.down_proj": "ffn_down_shexp",
    }), (*_RMS, c.rope(), p.llama4, p.llama4_code)),
    Family("olmo", "olmo", "OlmoForCausalLM", decoder(LLAMA), (*_CORE, c.rope(), p.olmo)),
    Family("olmo2", "olmo2", "Olmo2ForCausalLM",
           decoder(ATTENTION, QK_NORMS, MLP, POST_NORMS), (*_RMS, c.rope())),
    Family("olmo2", "olmo3", "Olmo3ForCausalLM",
           decoder(ATTENTION, QK_NORMS, MLP, POST_NORMS), (
        *_RMS, c.sliding_window(4), p.rope_by_kind,
    )),
    Family("olmoe", "olmoe", "OlmoeForCausalLM", decoder(NORMS, ATTENTION, QK_NORMS, EXPERTS), (
        *_RMS, c.rope(), c.experts(width="intermediate_size"), c.fixed(norm_topk_prob=False),
    )),
    Family("granite", "granite", "GraniteForCausalLM", decoder(LLAMA), (
        *_RMS, c.rope(), p.granite, c.bias(**_BIASES),
    )),
    Family("granitemoe", "granitemoe", "GraniteMoeForCausalLM", decoder(LLAMA, {
        "block_sparse_moe.router": "ffn_gate_inp",
        "block_sparse_moe.experts.gate_up_proj": joined(
            "ffn_gate_exps.weight", "ffn_up_exps.weight"),
        "block_sparse_moe.experts.down_proj": "ffn_down_exps.weight",
    }), (
        *_RMS, c.rope(), p.granite, c.experts("num_local_experts", "intermediate_size"),
    )),
    Family("command-r", "cohere", "CohereForCausalLM",
           decoder(ATTENTION, QK_NORMS, MLP, {"input_layernorm": "attn_norm"}), (
        *_CORE, c.head_dim, c.layer_norm("layer_norm_eps"), c.rope(),
        c.numbers(logit_scale="logit_scale"), c.bias(use_qk_norm="blk.0.attn_q_norm.weight"),
    )),
    Family("cohere2", "cohere2", "Cohere2ForCausalLM",
           decoder(ATTENTION, MLP, {"input_layernorm": "attn_norm"}), (
        *_CORE, c.head_dim, c.layer_norm("layer_norm_eps"), c.rope(),
        c.numbers(logit_scale="logit_scale"), c.sliding_window(4),
    )),
    Family("starcoder2", "starcoder2", "Starcoder2ForCausalLM", decoder(NORMS, ATTENTION, {
        "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
    }), (
        *_CORE, c.layer_norm("norm_epsilon"), c.rope(), c.bias(use_bias="blk.0.attn_q.bias"),
        c.fixed(sliding_window=None),
    )),
    Family("falcon", "falcon", "FalconForCausalLM",
           transformer(bloom_layer(ops.FALCON_QKV), word_embeddings="token_embd"), (
        *_CORE, c.layer_norm("layer_norm_epsilon"), c.rope(), p.falcon,
    )),
    Family("bloom", "bloom", "BloomForCausalLM",
           transformer(bloom_layer(ops.GROUPED_QKV), word_embeddings="token_embd",
                        word_embeddings_layernorm="token_embd_norm"), (
        c.vocabulary, p.bloom, c.layer_norm("layer_norm_epsilon"),
    )),
    Family("gptneox", "gpt_neox", "GPTNeoXForCausalLM", {
        "gpt_neox.embed_in": "token_embd",
        **with_prefix("gpt_neox.layers.{i}.", {
            **NORMS,
            "attention.query_key_value": source(ops.GROUPED_QKV, "attn_qkv"),
            "attention.dense": "attn_output",
            "mlp.dense_h_to_4h": "ffn_up",
            "mlp.dense_4h_to_h": "ffn_down",
        }),
        "gpt_neox.final_layer_norm": "output_norm",
        "lm_head": "output",
    }, (*_CORE, c.layer_norm("layer_norm_eps"), c.rope(partial=True), p.parallel_residual)),
    Family("mpt", "mpt", "MptForCausalLM", {
        "transformer.wte": "token_embd",
        **with_prefix("transformer.blocks.{i}.", {
            "norm_1": "attn_norm", "attn.Wqkv": "attn_qkv", "attn.out_proj": "attn_output",
            "norm_2": "ffn_norm", "ffn.up_proj": "ffn_up", "ffn.down_proj": "ffn_down",
        }),
        "transformer.norm_f": "output_norm",
        "lm_head": "output",
    }, (c.vocabulary, p.mpt, c.layer_norm("layer_norm_epsilon"))),
    Family("stablelm", "stablelm", "StableLmForCausalLM", decoder(NORMS, ATTENTION, MLP, {
        "self_attn.q_layernorm.norms.{j}.weight": source(ops.ROW, "attn_q_norm.weight"),
        "self_attn.k_layernorm.norms.{j}.weight": source(ops.ROW, "attn_k_norm.weight"),
    }), (
        *_CORE, c.layer_norm("layer_norm_eps"), c.rope(partial=True), p.parallel_residual,
        c.bias(use_qkv_bias="blk.0.attn_q.bias", qk_layernorm="blk.0.attn_q_norm.weight"),
    )),
    Family("smollm3", "smollm3", "SmolLM3ForCausalLM", decoder(LLAMA), (
        *_RMS, c.rope(), c.bias(**_BIASES),
        c.fixed(no_rope_layer_interval=4, use_sliding_window=False, sliding_window=None),
    )),
    Family("lfm2", "lfm2", "Lfm2ForCausalLM", LFM2_NAMES, (c.vocabulary, r.lfm2, c.rope())),
    Family("lfm2moe", "lfm2_moe", "Lfm2MoeForCausalLM", LFM2_NAMES, (
        c.vocabulary, r.lfm2, c.rope(), c.experts(), r.lfm2moe,
    )),
    Family("exaone4", "exaone4", "Exaone4ForCausalLM",
           decoder(ATTENTION, QK_NORMS, MLP, POST_NORMS), (*_RMS, c.rope(), p.exaone4)),
    Family("mamba", "mamba", "MambaForCausalLM", {
        "backbone.embeddings": "token_embd",
        **with_prefix("backbone.layers.{i}.", {
            **MAMBA,
            "mixer.A_log": source(ops.NEGATIVE_LOG, "ssm_a"),
            "mixer.D": "ssm_d",
            "mixer.x_proj": "ssm_x",
            "mixer.dt_proj": "ssm_dt",
        }),
        "backbone.norm_f": "output_norm",
        "lm_head": "output",
    }, (c.vocabulary, r.mamba)),
    Family("mamba2", "mamba2", "Mamba2ForCausalLM", {
        "backbone.embeddings": "token_embd",
        **with_prefix("backbone.layers.{i}.", {
            **MAMBA,
            "mixer.A_log": source(ops.FLAT["log"], "ssm_a"),
            "mixer.D": source(ops.FLAT["column"], "ssm_d"),
            "mixer.dt_bias": "ssm_dt.bias",
            "mixer.norm.weight": source(ops.FLAT["groups"], "ssm_norm.weight"),
        }),
        "backbone.norm_f": "output_norm",
        "lm_head": "output",
    }, (c.vocabulary, r.mamba2)),
    Family("nemotron", "nemotron", "NemotronForCausalLM",
           decoder(ATTENTION, minus_one(NORMS), {
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }, norm=GEMMA_NORM), (
        *_CORE, c.head_dim, c.layer_norm("norm_eps"), c.rope(partial=True), p.nemotron,
        c.bias(attention_bias="blk.0.attn_q.bias", mlp_bias="blk.0.ffn_up.bias"),
    )),
    Family("seed_oss", "seed_oss", "SeedOssForCausalLM",
           decoder(ATTENTION, MLP, LATE_NORMS), (
        *_RMS, c.rope(), c.bias(
            attention_bias="blk.0.attn_q.bias", attention_out_bias="blk.0.attn_output.bias",
            mlp_bias="blk.0.ffn_down.bias"),
    )),
    Family("ernie4_5", "ernie4_5", "Ernie4_5ForCausalLM", decoder(NORMS, ATTENTION, MLP), (
        *_RMS, c.rope(), c.bias(use_bias="blk.0.attn_q.bias"),
    )),
    Family("hunyuan-dense", "hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM",
           decoder(NORMS, ATTENTION, MLP, {
        "self_attn.query_layernorm": "attn_q_norm", "self_attn.key_layernorm": "attn_k_norm",
    }), (*_RMS, c.rope(), _Q_BIAS)),
    Family("arcee", "arcee", "ArceeForCausalLM", decoder(LLAMA), (
        *_RMS, c.rope(), c.bias(**_BIASES),
    )),
    Family("minimax-m2", "minimax_m2", "MiniMaxM2ForCausalLM",
           decoder(NORMS, ATTENTION, QK_NORMS, EXPERTS, {
        "mlp.e_score_correction_bias": "exp_probs_b.bias",
    }), (
        *_RMS, c.rope(partial=True), c.experts("num_local_experts", "intermediate_size"),
        p.minimax,
    )),
)  # fmt: skip

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.model_type: family for family in reversed(_ALL)}
)
"""By transformers' model type; `mistral` is the one stored as llama."""


def _of_llama(metadata: Metadata) -> str:
    if metadata.whole("expert_count", 0):
        return "mixtral"
    # llama.cpp has one architecture for both; only the window tells Mistral from Llama.
    return "mistral" if metadata.whole("attention.sliding_window", 0) else "llama"


def _of_deepseek(metadata: Metadata) -> str:
    return "deepseek_v3" if c.gating(metadata, default=1) == 2 else "deepseek_v2"


_CHOICES: Mapping[str, Callable[[Metadata], str]] = {
    "llama": _of_llama,
    "deepseek2": _of_deepseek,
    "mistral3": lambda m: "ministral3" if m.has("attention.temperature_scale") else "mistral",
    "olmo2": lambda m: "olmo3" if m.whole("attention.sliding_window", 0) else "olmo2",
}


def choose(metadata: Metadata) -> Family | None:
    """The family of a file, None where its architecture is not known."""
    known = {family.model_type: family for family in _ALL if family.arch == metadata.prefix}
    if metadata.prefix in _CHOICES:
        return known[_CHOICES[metadata.prefix](metadata)]
    return next(iter(known.values()), None)
