"""A tiny random model of each GGUF family, with every switch set that its files can carry."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["CASES", "VOCABULARY", "build", "make"]

VOCABULARY = 320
_AROUND_ONE = ("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight", "norm_f.weight",
               "layer_scalar", ".D", "norms.0.weight", "router.scale", "per_expert_scale",
               "norm_1.weight", "norm_2.weight", "layernorm_1.weight", "layernorm_2.weight",
               "ln_attn.weight", "ln_mlp.weight")  # fmt: skip
_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
_HEAD = {"head_dim": 32}
_TIED = {"tie_word_embeddings": True}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
}
_LAYERS = {"num_hidden_layers": 4}
_ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"] * 2}
_THREE_OF_FOUR = {"layer_types": ["sliding_attention"] * 3 + ["full_attention"]}
_MLA: dict[str, Any] = {
    **_SIZES,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "q_lora_rank": 24,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "moe_intermediate_size": 32,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.5,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}

# case -> transformers' model type, and its config
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {**_SIZES, **_HEAD, "rope_parameters": _LLAMA3, "attention_bias": True}),
    "llama-linear": (
        "llama",
        {**_SIZES, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}},
    ),
    "llama-yarn": ("llama", {**_SIZES, "rope_parameters": _YARN}),
    "mistral": ("mistral", {**_SIZES, **_HEAD, "sliding_window": None}),
    "mixtral": (
        "mixtral",
        {**_SIZES, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    ),
    "qwen2": ("qwen2", {**_SIZES, **_TIED}),
    "qwen3": ("qwen3", {**_SIZES, **_HEAD}),
    "gpt2": ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY,
                      "n_positions": 256, "n_ctx": 256, "bos_token_id": 0, "eos_token_id": 0}),
    "gemma": ("gemma", {**_SIZES, **_HEAD, **_TIED}),
    "gemma2": (
        "gemma2",
        {**_SIZES, **_LAYERS, **_HEAD, **_TIED, **_ALTERNATING, "sliding_window": 16,
         "query_pre_attn_scalar": 32},
    ),
    "gemma3": (
        "gemma3_text",
        {**_SIZES, **_HEAD, **_TIED, "num_hidden_layers": 7, "sliding_window": 16,
         "query_pre_attn_scalar": 32,
         "rope_parameters": {
             "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
             "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
         }},
    ),
    "gemma4": (
        "gemma4_text",
        {**_SIZES, **_TIED, "num_hidden_layers": 6, "head_dim": 16, "global_head_dim": 32,
         "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 16,
         "vocab_size_per_layer_input": VOCABULARY, "sliding_window": 16,
         "layer_types": ["sliding_attention", "full_attention"] * 3,
         # llama.cpp caps at 30 where the file is silent.
         "final_logit_softcapping": 30.0,
         "use_double_wide_mlp": True},
    ),
    "gemma4-moe": (
        "gemma4_text",
        {**_SIZES, **_TIED, "num_hidden_layers": 4, "head_dim": 16, "global_head_dim": 32,
         "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0, "sliding_window": 16,
         "enable_moe_block": True, "num_experts": 4, "top_k_experts": 2,
         "moe_intermediate_size": 32, "num_global_key_value_heads": 1,
         "final_logit_softcapping": 30.0,
         "attention_k_eq_v": True,
         "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention",
                         "full_attention"]},
    ),
    "phi2": ("phi", {**_SIZES, "num_key_value_heads": 4, "intermediate_size": 256,
                     "partial_rotary_factor": 0.5}),
    "phi3": ("phi3", {**_SIZES, "original_max_position_embeddings": 256, "sliding_window": None}),
    "phi3-long": (
        "phi3",
        {**_SIZES, **_TIED, "num_key_value_heads": 4, "sliding_window": None,
         "original_max_position_embeddings": 64,
         "rope_parameters": {
             "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
             "original_max_position_embeddings": 64,
             "short_factor": [1.0, 1.1, 1.2, 1.3, 1.5, 1.6],
             "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 6.0],
         }},
    ),
    "phimoe": (
        "phimoe",
        {**_SIZES, "num_local_experts": 4, "num_experts_per_tok": 2, "attention_bias": True,
         "lm_head_bias": True, "original_max_position_embeddings": 256, "sliding_window": None},
    ),
    "qwen2moe": (
        "qwen2_moe",
        {**_SIZES, **_EXPERTS, "shared_expert_intermediate_size": 48, "norm_topk_prob": False},
    ),
    "qwen3moe": ("qwen3_moe", {**_SIZES, **_EXPERTS, **_HEAD, "norm_topk_prob": True}),
    "qwen3next": (
        "qwen3_next",
        {**_SIZES, **_LAYERS, **_HEAD, **_EXPERTS, **_DELTA,
         "shared_expert_intermediate_size": 48, "norm_topk_prob": True},
    ),
    "qwen35": ("qwen3_5_text", {**_SIZES, **_LAYERS, **_HEAD, **_DELTA}),
    "qwen35moe": (
        "qwen3_5_moe_text",
        {**_SIZES, **_LAYERS, **_HEAD, **_EXPERTS, **_DELTA, "shared_expert_intermediate_size": 48},
    ),
    "glm4": ("glm4", {**_SIZES, **_HEAD, "attention_bias": True}),
    "glm4moe": (
        "glm4_moe",
        {**_SIZES, **_HEAD, "num_hidden_layers": 3, "n_routed_experts": 4, "n_shared_experts": 1,
         "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1,
         "attention_bias": True, "use_qk_norm": True, "routed_scaling_factor": 1.5},
    ),
    "deepseek2": (
        "deepseek_v2",
        {**_MLA, "n_routed_experts": 4, "topk_method": "greedy", "norm_topk_prob": False},
    ),
    "deepseek2-lite": (
        "deepseek_v2",
        {**_MLA, "num_hidden_layers": 27, "q_lora_rank": None, "n_routed_experts": 4,
         "topk_method": "greedy",
         "rope_parameters": {**_YARN, "mscale": 0.707, "mscale_all_dim": 0.707}},
    ),
    "deepseek3": (
        "deepseek_v3",
        {**_MLA, "n_routed_experts": 8, "n_group": 2, "topk_group": 1, "norm_topk_prob": True,
         "rope_parameters": {**_YARN, "mscale": 1.0, "mscale_all_dim": 1.0}},
    ),
    "gpt-oss": (
        "gpt_oss",
        {**_SIZES, **_LAYERS, **_ALTERNATING, "head_dim": 16, "num_local_experts": 4,
         "num_experts_per_tok": 2, "sliding_window": 16,
         "rope_parameters": {**_YARN, "truncate": False}},
    ),
    "mistral3": (
        "ministral3",
        {**_SIZES, **_HEAD, "sliding_window": None,
         "rope_parameters": {**_YARN, "mscale": 1.0, "mscale_all_dim": 1.0,
                             "llama_4_scaling_beta": 0.1}},
    ),
    "llama4": (
        "llama4_text",
        {**_SIZES, **_LAYERS, **_HEAD, "intermediate_size": 32, "intermediate_size_mlp": 96,
         "num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2,
         "use_qk_norm": True,
         "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    ),
    "olmo": ("olmo", {**_SIZES, "clip_qkv": 3.0}),
    "olmo2": ("olmo2", {**_SIZES}),
    "olmo3": ("olmo3", {**_SIZES, **_LAYERS, **_THREE_OF_FOUR, "sliding_window": 16}),
    "olmoe": (
        "olmoe",
        {**_SIZES, "num_key_value_heads": 4, "num_experts": 4, "num_experts_per_tok": 2,
         "norm_topk_prob": False},
    ),
    "granite": (
        "granite",
        {**_SIZES, **_TIED, "attention_multiplier": 0.1, "embedding_multiplier": 3.0,
         "residual_multiplier": 0.3, "logits_scaling": 2.0},
    ),
    "granitemoe": (
        "granitemoe",
        {**_SIZES, "num_local_experts": 4, "num_experts_per_tok": 2, "attention_multiplier": 0.1,
         "embedding_multiplier": 3.0, "residual_multiplier": 0.3, "logits_scaling": 2.0},
    ),
    "command-r": ("cohere", {**_SIZES, **_TIED, "logit_scale": 0.25}),
    # llama.cpp knows the norms by the number of layers.
    "command-r-norm": (
        "cohere",
        {**_SIZES, **_TIED, "num_hidden_layers": 64, "logit_scale": 0.25, "use_qk_norm": True},
    ),
    "cohere2": (
        "cohere2",
        {**_SIZES, **_LAYERS, **_TIED, **_THREE_OF_FOUR, "logit_scale": 0.25, "sliding_window": 16,
         "rotary_pct": 1.0},
    ),
    "starcoder2": ("starcoder2", {**_SIZES, **_TIED, "use_bias": True, "sliding_window": None}),
    "falcon": (
        "falcon",
        {**_SIZES, **_TIED, "num_kv_heads": 1, "multi_query": True, "parallel_attn": True,
         "alibi": False,
         "new_decoder_architecture": False, "bias": False},
    ),
    "falcon-40b": (
        "falcon",
        {**_SIZES, **_TIED, "num_kv_heads": 2, "new_decoder_architecture": True, "bias": False,
         "num_ln_in_parallel_attn": 2},
    ),
    "stablelm": ("stablelm", {**_SIZES, "use_qkv_bias": True, "partial_rotary_factor": 0.25}),
    "stablelm-12b": (
        "stablelm",
        {**_SIZES, "use_parallel_residual": True, "qk_layernorm": True,
         "partial_rotary_factor": 0.5},
    ),
    "smollm3": ("smollm3", {**_SIZES, **_LAYERS, **_TIED}),
    "lfm2": (
        "lfm2",
        {**_SIZES, **_TIED, "num_hidden_layers": 3, "conv_L_cache": 3,
         "block_auto_adjust_ff_dim": False, "block_ff_dim": 96, "block_multiple_of": 8,
         "layer_types": ["conv", "full_attention", "conv"]},
    ),
    "lfm2moe": (
        "lfm2_moe",
        {**_SIZES, **_EXPERTS, **_TIED, "num_hidden_layers": 3, "num_dense_layers": 1,
         "layer_types": ["conv", "full_attention", "conv"], "use_expert_bias": True},
    ),
    "exaone4": (
        "exaone4",
        {**_SIZES, "num_hidden_layers": 64, "sliding_window": 16,
         "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 16,
         "sliding_window_pattern": 4, "rope_parameters": _LLAMA3},
    ),
    "mamba": (
        "mamba",
        {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8, "vocab_size": VOCABULARY,
         "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0},
    ),
    "mamba2": (
        "mamba2",
        {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 16, "vocab_size": VOCABULARY,
         "head_dim": 16, "num_heads": 8, "n_groups": 2, "expand": 2, "chunk_size": 16,
         "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "tie_word_embeddings": False},
    ),
    "gptneox": ("gpt_neox", {**_SIZES, "rotary_pct": 0.25}),
    "gptneox-serial": (
        "gpt_neox",
        {**_SIZES, "rotary_pct": 0.5, "use_parallel_residual": False},
    ),
    "bloom": (
        "bloom",
        {"hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY,
         "seq_length": 256, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0},
    ),
    "mpt": (
        "mpt",
        {"d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": VOCABULARY, "max_seq_len": 256,
         "expansion_ratio": 4, "attn_config": {"alibi": True, "clip_qkv": 3.0}},
    ),
    "nemotron": ("nemotron", {**_SIZES, "partial_rotary_factor": 0.5}),
    "seed-oss": ("seed_oss", {**_SIZES, **_HEAD, "attention_bias": True}),
    "ernie4_5": ("ernie4_5", {**_SIZES, **_HEAD, **_TIED}),
    "hunyuan-dense": ("hunyuan_v1_dense", {**_SIZES, **_HEAD, **_TIED}),
    "arcee": ("arcee", {**_SIZES}),
    "dots1": (
        "dots1",
        {**_SIZES, "num_key_value_heads": 4, "head_dim": 16, "num_hidden_layers": 3,
         "n_routed_experts": 4, "n_shared_experts": 1,
         "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1,
         "norm_topk_prob": True, "routed_scaling_factor": 1.5, "n_group": 1, "topk_group": 1},
    ),
    "minimax-m2": (
        "minimax_m2",
        {**_SIZES, **_HEAD, "num_local_experts": 4, "num_experts_per_tok": 2,
         "rotary_dim": 16},
    ),
}  # fmt: skip


# What published configs say and `save_pretrained` does not, or says otherwise.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "deepseek3": {"scoring_func": "sigmoid"},
    "dots1": {"scoring_func": "sigmoid"},
    "minimax-m2": {"scoring_func": "sigmoid"},
    "gptneox": {"rotary_pct": 0.25},
    "gptneox-serial": {"rotary_pct": 0.5},
    "mpt": {"architectures": ["MPTForCausalLM"]},
    "phimoe": {"architectures": ["PhiMoEForCausalLM"]},
}


def make(case: str) -> Any:
    """transformers' model of a case, filled with values that depend on nothing but the names."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, values = CASES[case]
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **values)).eval()
    model = model.to(torch.float32)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            uniform = np.random.default_rng(zlib.crc32(name.encode())).random(tuple(tensor.shape))
            noise = torch.from_numpy(np.asarray(uniform - 0.5, np.float32)).reshape(tensor.shape)
            start = 1.0 if name.endswith(_AROUND_ONE) and not _is_offset(kind, name) else 0.0
            tensor.copy_(start + (0.5 * noise if tensor.ndim > 1 else 0.3 * noise))
    model.tie_weights()
    return model


def build(case: str, folder: Path) -> None:
    """Write the model of a case with a byte-level tokenizer, as it would be published."""
    make(case).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | _PUBLISHED.get(case, {})))
    _tokenizer().save_pretrained(folder)


def _is_offset(kind: str, name: str) -> bool:
    """Whether a module adds 1 to its weight."""
    added = kind.startswith(("gemma", "qwen3_next", "qwen3_5", "nemotron"))
    return added and not kind.startswith("gemma4") and "linear_attn" not in name


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|user|>", "<pad>", "<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Pairs of letters, so that training finds enough merges whatever the library's ties are.
    words = [a + b for a in "abcdefgh" for b in "ijklmnopq"]
    tokenizer.train_from_iterator([" ".join(words)] * 3, trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[0], pad_token=special[2]
    )
