"""A transformers config as the metadata of a GGUF file: what `bitloss.formats.gguf.config` reads.

Keys and values are those of llama.cpp's converter (conversion/base.py, `set_gguf_parameters`, and
the classes of each architecture), which the tests compare with. A key that says what llama.cpp
takes for granted may be there besides. `bitloss.quantizers.gguf_check` reads the metadata back, so
what a file cannot say of a config is refused and never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["CONVERT_INSTEAD", "WRITTEN", "metadata"]

CONVERT_INSTEAD = (
    "convert the model with llama.cpp's convert_hf_to_gguf.py and give the .gguf file as the "
    "reference"
)
"""The hint where bitloss cannot write a model as GGUF."""

Values = dict[str, Any]
_Part = Callable[[Any], Values]


def metadata(config: Any) -> Values:
    """Values by key, without the architecture's name.

    Args:
        config: a transformers config whose model type is in `WRITTEN`.
    """
    values: Values = {}
    for part in WRITTEN[config.model_type]:
        values |= part(config)
    return {key: value for key, value in values.items() if value is not None}


def _first(config: Any, *names: str) -> Any:
    return next((v for n in names if (v := getattr(config, n, None)) is not None), None)


def _sizes(config: Any) -> Values:
    heads = config.num_attention_heads
    return {
        "block_count": config.num_hidden_layers,
        "context_length": _first(config, "max_position_embeddings", "n_positions"),
        "embedding_length": config.hidden_size,
        "feed_forward_length": _first(config, "intermediate_size"),
        "attention.head_count": heads,
        "attention.head_count_kv": _first(config, "num_key_value_heads") or heads,
        "vocab_size": config.vocab_size,
    }


def _width(config: Any) -> int:
    width: int = _first(config, "head_dim") or config.hidden_size // config.num_attention_heads
    return width


def _head(config: Any) -> Values:
    return {"attention.key_length": _width(config), "attention.value_length": _width(config)}


def _rms(config: Any) -> Values:
    return {"attention.layer_norm_rms_epsilon": float(_first(config, "rms_norm_eps", "norm_eps"))}


def _layer_norm(config: Any) -> Values:
    names = ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
    return {"attention.layer_norm_epsilon": float(_first(config, *names))}


def _rope(config: Any) -> Values:
    """Positions; those of layers that see everything where there are two kinds."""
    kinds = config.rope_parameters
    rope = kinds.get("full_attention", kinds)
    values: Values = {"rope.freq_base": float(rope["rope_theta"])}
    if "full_attention" in kinds:
        values["rope.freq_base_swa"] = float(kinds["sliding_attention"]["rope_theta"])
    share = rope.get("partial_rotary_factor") or 1.0
    values["rope.dimension_count"] = int(_width(config) * share)
    kind = rope.get("rope_type", "default")
    if kind in ("linear", "yarn"):
        values |= {"rope.scaling.type": kind, "rope.scaling.factor": float(rope["factor"])}
    if kind == "yarn":
        values |= {
            "rope.scaling.original_context_length": rope["original_max_position_embeddings"],
            "rope.scaling.yarn_beta_fast": float(rope.get("beta_fast") or 32.0),
            "rope.scaling.yarn_beta_slow": float(rope.get("beta_slow") or 1.0),
        }
    return values


def _experts(config: Any) -> Values:
    return {
        "expert_count": _first(config, "num_local_experts", "num_experts", "n_routed_experts"),
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": _first(config, "moe_intermediate_size"),
        "expert_shared_feed_forward_length": _first(config, "shared_expert_intermediate_size"),
    }


def _wide_experts(config: Any) -> Values:
    return {"expert_feed_forward_length": config.intermediate_size}


def _sigmoid(config: Any) -> Values:
    del config
    return {"expert_gating_func": 2}


def _routed(config: Any) -> Values:
    return {
        "leading_dense_block_count": config.first_k_dense_replace,
        "expert_shared_count": config.n_shared_experts,
        "expert_weights_norm": bool(config.norm_topk_prob),
        "expert_weights_scale": float(config.routed_scaling_factor),
        "expert_group_count": config.n_group,
        "expert_group_used_count": config.topk_group,
    }


def _window(config: Any) -> Values:
    return {"attention.sliding_window": config.sliding_window or None}


def _window_or_0(config: Any) -> Values:
    return {"attention.sliding_window": config.sliding_window or 0}


def _window_kinds(config: Any) -> Values:
    kinds = [kind == "sliding_attention" for kind in config.layer_types]
    pattern = {"attention.sliding_window_pattern": kinds} if any(kinds) else {}
    return pattern | (_window(config) if any(kinds) else {})


def _gemma3(config: Any) -> Values:
    cap = config.final_logit_softcapping
    return _window(config) | {"final_logit_softcapping": None if not cap else float(cap)}


def _gemma2(config: Any) -> Values:
    # Without a cap there is nothing to write, and llama.cpp would take its own: refused later.
    caps = ("attn_logit_softcapping", "final_logit_softcapping")
    return {name: float(cap) for name in caps if (cap := getattr(config, name))}


def _granite(config: Any) -> Values:
    return {
        "attention.scale": float(config.attention_multiplier),
        "embedding_scale": float(config.embedding_multiplier),
        "residual_scale": float(config.residual_multiplier),
        "logit_scale": float(config.logits_scaling),
    }


def _logit_scale(config: Any) -> Values:
    return {"logit_scale": float(config.logit_scale), "rope.scaling.type": "none"}


def _phi3(config: Any) -> Values:
    original = _first(config, "original_max_position_embeddings")
    return {"rope.scaling.original_context_length": original}


def _long_rope(config: Any) -> Values:
    """The scale of attention, where it is not what llama.cpp computes (conversion/phi.py)."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    if config.rope_parameters.get("rope_type") != "longrope":
        return {}
    _, scale = ROPE_INIT_FUNCTIONS["longrope"](config, device=None)
    return {"rope.scaling.attn_factor": float(scale)}


def _parallel(config: Any) -> Values:
    return {"use_parallel_residual": bool(config.use_parallel_residual)}


def _no_groups(config: Any) -> Values:
    """A key for each query, whatever a config says that the architecture does not read."""
    return {"attention.head_count_kv": config.num_attention_heads}


def _clip(config: Any) -> Values:
    return {"attention.clamp_kqv": None if config.clip_qkv is None else float(config.clip_qkv)}


def _olmo(config: Any) -> Values:
    return _clip(config) | {"attention.layer_norm_epsilon": 1e-5}


def _gpt2(config: Any) -> Values:
    return {"feed_forward_length": config.n_inner or 4 * config.n_embd, "vocab_size": None}


def _falcon(config: Any) -> Values:
    wide = config.num_kv_heads if config.new_decoder_architecture else 1
    groups = wide if config.new_decoder_architecture or config.multi_query else None
    return {
        "context_length": config.max_position_embeddings,
        "feed_forward_length": config.ffn_hidden_size,
        "attention.head_count_kv": groups or config.num_attention_heads,
        "tensor_data_layout": "jploski",
    }


def _nemotron(config: Any) -> Values:
    rope = {} if config.rope_parameters.get("factor") else {"rope.scaling.type": "none"}
    return {"attention.layer_norm_rms_epsilon": float(config.norm_eps), **rope}


_CORE: tuple[_Part, ...] = (_sizes, _rope)
_LLAMA: tuple[_Part, ...] = (*_CORE, _head, _rms)

WRITTEN: Mapping[str, tuple[_Part, ...]] = MappingProxyType(
    {
        "arcee": _LLAMA,
        "cohere": (*_CORE, _layer_norm, _logit_scale),
        "cohere2": (*_CORE, _head, _layer_norm, _window, _logit_scale),
        "dots1": (*_LLAMA, _experts, _routed, _sigmoid),
        "ernie4_5": _LLAMA,
        "exaone4": (*_LLAMA, _window_kinds),
        "falcon": (*_CORE, _falcon, _layer_norm),
        "gemma": _LLAMA,
        "gemma2": (*_LLAMA, _window, _gemma2),
        "gemma3_text": (*_LLAMA, _gemma3),
        "glm4": _LLAMA,
        "glm4_moe": (*_LLAMA, _experts, _routed, _sigmoid),
        "gpt2": (_sizes, _layer_norm, _gpt2),
        "gpt_neox": (*_CORE, _no_groups, _layer_norm, _parallel),
        "gpt_oss": (*_LLAMA, _experts, _wide_experts, _window),
        "granite": (*_LLAMA, _granite),
        "granitemoe": (*_LLAMA, _granite, _experts),
        "hunyuan_v1_dense": _LLAMA,
        "llama": _LLAMA,
        "minimax_m2": (*_LLAMA, _experts, _wide_experts, _sigmoid),
        "mistral": (*_LLAMA, _window),
        "mixtral": (*_LLAMA, _window, _experts),
        "nemotron": (*_CORE, _head, _layer_norm, _nemotron),
        "olmo": (*_CORE, _olmo),
        "olmo2": _LLAMA,
        "olmo3": (*_LLAMA, _window_kinds),
        "olmoe": (*_LLAMA, _experts, _clip),
        "phi": (*_CORE, _layer_norm),
        "phi3": (*_LLAMA, _window_or_0, _phi3, _long_rope),
        "phimoe": (*_LLAMA, _window_or_0, _phi3, _experts),
        "qwen2": _LLAMA,
        "qwen2_moe": (*_LLAMA, _experts),
        "qwen3": _LLAMA,
        "qwen3_moe": (*_LLAMA, _experts),
        "seed_oss": _LLAMA,
        "smollm3": _LLAMA,
        "stablelm": (*_CORE, _layer_norm, _parallel),
        "starcoder2": (*_CORE, _layer_norm),
    }
)
"""By transformers' model type: the parts of the metadata, later ones over earlier ones."""
