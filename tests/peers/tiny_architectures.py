"""A tiny random model of every listed architecture, saved to a directory.

The directories are written by transformers' `save_pretrained`, in the layout that is published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["TINY", "save_tiny"]

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 96, "n_positions": 64, "n_ctx": 64}
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_EXPERTS = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
_LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "head_dim": 8,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
_MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "patch_size": 4,
    "image_size": 8,
}
_QWEN_VISION = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "out_hidden_size": 32,
    "patch_size": 4,
    "deepstack_visual_indexes": [0],
    "num_position_embeddings": 4,
}


def _wrapped(text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    return {"text_config": text, "vision_config": vision}


# By the name in the table: the config's values beside `model_type`.
TINY: dict[str, dict[str, Any]] = {
    "apertus": _SIZES,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 96, **_IDS},
    "cohere": {**_SIZES, "logit_scale": 0.25},
    "cohere2": {**_SIZES, "logit_scale": 0.25, "sliding_window": 8},
    "deepseek_v2": {**_SIZES, **_LATENT, "topk_method": "greedy"},
    "deepseek_v3": {**_SIZES, **_LATENT},
    "ernie4_5": _SIZES,
    "ernie4_5_moe": {
        **_SIZES, "moe_intermediate_size": 16, "moe_num_experts": 4, "moe_k": 2,
        "moe_num_shared_experts": 1, "moe_layer_start_index": 1,
    },
    "exaone4": {**_SIZES, "sliding_window": 8, "sliding_window_pattern": 2},
    "falcon": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 96,
        "multi_query": True, "parallel_attn": True, "new_decoder_architecture": False,
        "bias": False, **_IDS,
    },
    "falcon_h1": {
        **_SIZES, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1,
        "mamba_d_state": 8, "lm_head_multiplier": 0.5, "mamba_chunk_size": 8,
    },
    "gemma": _SIZES,
    "gemma2": {**_SIZES, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 8,
               "sliding_window": 8},
    "gemma3": _wrapped(
        {**_SIZES, "model_type": "gemma3_text", "sliding_window": 8, "query_pre_attn_scalar": 8},
        {**_VISION, "model_type": "siglip_vision_model"},
    ),
    "gemma3_text": {**_SIZES, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "gemma3n_text": {
        **_SIZES, "intermediate_size": [48, 48], "layer_types":
        ["sliding_attention", "full_attention"], "sliding_window": 8, "num_kv_shared_layers": 0,
        "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 96, "laurel_rank": 4,
        "altup_num_inputs": 2, "activation_sparsity_pattern": [0.0, 0.0],
        "final_logit_softcapping": 5.0,
    },
    "gemma4_text": {
        **_SIZES, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8,
        "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 96, "global_head_dim": 16, "final_logit_softcapping": 5.0,
    },
    "glm4": _SIZES,
    "glm4_moe": {
        **_SIZES, "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
    },
    "gpt2": {**_GPT, **_IDS},
    "gpt_bigcode": {**_GPT, **_IDS, "multi_query": True},
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 96, "window_size": 8,
        "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 64, **_IDS,
    },
    "gpt_neox": _SIZES,
    "gpt_oss": {
        **_SIZES, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
    },
    "gptj": {**_GPT, **_IDS, "rotary_dim": 4},
    "granite": {**_SIZES, "logits_scaling": 4.0, "embedding_multiplier": 2.0,
                "residual_multiplier": 0.5, "attention_multiplier": 0.2},
    "granitemoe": {**_SIZES, "num_local_experts": 4, "num_experts_per_tok": 2,
                   "logits_scaling": 4.0},
    "hunyuan_v1_dense": _SIZES,
    "hunyuan_v1_moe": {**_SIZES, "num_experts": 4, "moe_topk": [2, 2], "moe_intermediate_size":
                       [16, 16]},
    "jamba": {
        **_SIZES, "num_experts": 4, "num_experts_per_tok": 2, "attn_layer_period": 2,
        "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
        "mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False,
    },
    "lfm2": {
        **_SIZES, "layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False,
    },
    "llama": _SIZES,
    "llama4": _wrapped(
        {
            **_SIZES, "model_type": "llama4_text", "intermediate_size_mlp": 48,
            "num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2,
            "attention_chunk_size": 8, "no_rope_layers": [1, 0],
        },
        {**_VISION, "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16},
    ),
    "llama4_text": {
        **_SIZES, "intermediate_size_mlp": 48, "num_local_experts": 4, "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 2, "attention_chunk_size": 8, "no_rope_layers": [1, 0],
    },
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "vocab_size": 96, **_IDS},
    "mamba2": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "vocab_size": 96,
               "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8, **_IDS},
    "minimax": {**_SIZES, "num_local_experts": 4, "num_experts_per_tok": 2,
                "layer_types": ["linear_attention", "full_attention"], "block_size": 8},
    "mistral": {**_SIZES, "sliding_window": 8},
    "mistral3": _wrapped(
        {**_SIZES, "model_type": "mistral"}, {**_VISION, "model_type": "pixtral", "head_dim": 8}
    ),
    "mixtral": {**_SIZES, "num_local_experts": 4, "num_experts_per_tok": 2},
    "mpt": {
        "d_model": 32, "n_heads": 4, "n_layers": 2, "vocab_size": 96, "max_seq_len": 64, **_IDS,
    },
    "nemotron": _SIZES,
    "olmo": _SIZES,
    "olmo2": _SIZES,
    "olmo3": {**_SIZES, "sliding_window": 8},
    "olmoe": {**_SIZES, "num_experts": 4, "num_experts_per_tok": 2},
    "opt": {
        "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "vocab_size": 96, "max_position_embeddings": 64, "word_embed_proj_dim": 32, **_IDS,
    },
    "phi": _SIZES,
    "phi3": _SIZES,
    "phimoe": {**_SIZES, "num_local_experts": 4, "num_experts_per_tok": 2, "lm_head_bias": True},
    "qwen2": _SIZES,
    "qwen2_5_vl": _wrapped(
        {**_SIZES, "model_type": "qwen2_5_vl_text", "rope_parameters": _MROPE},
        {**_QWEN_VISION, "fullatt_block_indexes": [0]},
    ),
    "qwen2_moe": {**_SIZES, **_EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen2_vl": _wrapped(
        {**_SIZES, "model_type": "qwen2_vl_text", "rope_parameters": _MROPE},
        {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 4},
    ),
    "qwen3": _SIZES,
    "qwen3_5": _wrapped(
        {**_SIZES, **_DELTA, "model_type": "qwen3_5_text"}, _QWEN_VISION
    ),
    "qwen3_5_moe": _wrapped(
        {**_SIZES, **_DELTA, **_EXPERTS, "shared_expert_intermediate_size": 16,
         "model_type": "qwen3_5_moe_text"},
        _QWEN_VISION,
    ),
    "qwen3_moe": {**_SIZES, **_EXPERTS, "norm_topk_prob": True},
    "qwen3_next": {**_SIZES, **_DELTA, **_EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3_vl": _wrapped(
        {**_SIZES, "model_type": "qwen3_vl_text", "rope_parameters": _MROPE}, _QWEN_VISION
    ),
    "qwen3_vl_moe": _wrapped(
        {**_SIZES, **_EXPERTS, "model_type": "qwen3_vl_moe_text", "rope_parameters": _MROPE},
        _QWEN_VISION,
    ),
    "seed_oss": _SIZES,
    "smollm3": {**_SIZES, "no_rope_layers": [1, 0]},
    "stablelm": _SIZES,
    "starcoder2": _SIZES,
}  # fmt: skip


def save_tiny(name: str, folder: Path, **changes: Any) -> Any:
    """Write the model of an architecture with random weights; returns transformers' model.

    Weights are drawn wide enough that a missing, swapped or transposed tensor shows.
    """
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(name, **{**TINY[name], **changes})
    autos = ("AutoModelForCausalLM", "AutoModelForImageTextToText")
    # A wrapper is saved as published: with its vision part.
    autos = autos if config.get_text_config() is config else autos[::-1]
    auto = next(
        getattr(transformers, auto)
        for auto in autos
        if type(config) in getattr(transformers, auto)._model_mapping
    )
    torch.manual_seed(0)
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for key, buffer in model.named_buffers():
            if key.endswith("e_score_correction_bias"):
                buffer.copy_(torch.randn_like(buffer))
    model.save_pretrained(folder)
    # Llama 4's multimodal class fails on text alone in transformers 5.24; it has one for text.
    oracle = transformers.AutoModelForCausalLM if name == "llama4" else type(model)
    return oracle.from_pretrained(folder, dtype=torch.float32).eval()
