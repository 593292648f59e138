"""What of a config decides the computation, in one form: two configs that compute alike are equal.

transformers' class fills in defaults and old spellings first (`parse_config`); what is left here
are values that follow from others, or that nothing reads in the setting they are in.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["canonical", "decides", "flatten", "same"]

# Names, versions and numbers of tokens; what models return; training; memory and speed. Each was
# changed in a tiny model of every listed architecture without a change of its logits
# (benchmarks/config_keys.py).
_INERT = re.compile(
    r"""
    _name_or_path | name_or_path | model_type | architectures | auto_map | tokenizer_class
    | transformers_version | .*_version | torch_dtype | dtype | _commit_hash | unsloth.*
    | (.*_)?token_id(s)? | .*_token_index | id2label | label2id | num_labels | problem_type
    | task_specific_params | finetuning_task | _attn_implementation.* | attn_implementation
    | quantization(_config)? | compression_config | cache_implementation | generation_config
    | output_.* | return_dict | use_return_dict | torchscript | use_cache | num_logits_to_keep
    | chunk_size_feed_forward | is_encoder_decoder | gradient_checkpointing
    | (.*_)?dropout(_.*)? | .*_pdrop | layerdrop | (.*_)?initializer_(range|factor) | init_std
    | rescale_prenorm_residual | time_step_(floor|min|max|scale) | router_aux_loss_coef
    | (router_)?z_loss_coef | aux_loss_alpha | seq_aux | ep_size | input_jitter_noise
    | summary_.* | n_ctx | seq_length | max_seq_len | pretraining_tp | slow_but_exact
    | (mamba_)?chunk_size | use_mamba_kernels | use_mambapy | use_associative_scan
    | residual_in_fp32 | .*softmax_in_fp32 | reorder_and_upcast_attn | attn_impl
    | num_nextn_predict_layers | vocab_size | tie_word_embeddings | tie_encoder_decoder
    """,
    re.VERBOSE,
)
# What a class has made `layer_types` or `no_rope_layers` of.
_MADE = {
    "layer_types": (
        "max_window_layers", "use_sliding_window", "sliding_window_pattern",
        "_sliding_window_pattern", "full_attention_interval", "full_attn_idxs",
    ),
    "no_rope_layers": ("no_rope_layer_interval",),
    # In the dictionary, with the class's own defaults; compared by `rope.describe_difference`.
    "rope_parameters": (
        "rope_theta", "rope_scaling", "partial_rotary_factor", "rotary_pct", "rotary_emb_base",
        "rope_local_base_freq", "original_max_position_embeddings", "max_position_embeddings",
        "rotary_dim",
    ),
}  # fmt: skip
# The same function; approximations by tanh differ in their rounding.
_ACTIVATIONS = {
    "swish": "silu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh", "gelu_python_tanh": "gelu_tanh",
}  # fmt: skip
_ACTIVATION = ("hidden_act", "hidden_activation", "activation_function", "activation")
# Above float32's rounding of a value, of its reciprocal or its square root.
_ROUNDING = 1e-6


def canonical(parsed: Any) -> dict[str, Any]:
    """A text model's values, without those that decide nothing.

    Args:
        parsed: transformers' config of the text model.

    Returns:
        By the class's own names; nested dictionaries stay as they are.
    """
    values: dict[str, Any] = parsed.to_dict()
    context = getattr(parsed, "max_position_embeddings", None)
    if values.get("head_dim") is None:
        values["head_dim"] = _head_dim(parsed)
    for source, made in _MADE.items():
        if values.get(source):
            for key in made:
                values.pop(key, None)
    _drop_unused_window(
        values, context, by_layer="sliding_attention" in _code(type(parsed).__module__)
    )
    _resolve(values)
    for key in _ACTIVATION:
        if isinstance(values.get(key), str):
            values[key] = _ACTIVATIONS.get(values[key], values[key])
    return {key: value for key, value in values.items() if not _INERT.fullmatch(key)}


def _head_dim(parsed: Any) -> int | None:
    hidden = getattr(parsed, "hidden_size", None)
    heads = getattr(parsed, "num_attention_heads", None)
    if not isinstance(hidden, int) or not isinstance(heads, int) or heads < 1:
        return None
    return hidden // heads


def _drop_unused_window(values: dict[str, Any], context: Any, *, by_layer: bool) -> None:
    """A window that no layer has, or that a whole text fits into, is none.

    Classes whose layers are of other kinds than windowed and full may have one for all (MiniMax).
    """
    kinds, window = values.get("layer_types"), values.get("sliding_window")
    unused = by_layer and isinstance(kinds, list) and "sliding_attention" not in kinds
    unused |= values.get("use_sliding_window") is False
    if unused or (isinstance(window, int) and isinstance(context, int) and window >= context):
        values["sliding_window"] = None


def _resolve(values: dict[str, Any]) -> None:
    """Values of single families that follow from others."""
    width = values.get("hidden_size", values.get("n_embd"))
    if "n_inner" in values and values["n_inner"] is None and isinstance(width, int):
        values["n_inner"] = 4 * width
    if "new_decoder_architecture" in values:  # Falcon
        if values["new_decoder_architecture"]:
            values.pop("multi_query", None)
        elif values.get("multi_query"):
            values["num_kv_heads"] = 1
        if values.get("num_ln_in_parallel_attn") is None:
            values["num_ln_in_parallel_attn"] = 1 + bool(values["new_decoder_architecture"])
    if values.get("topk_method") == "greedy":  # DeepSeek 2
        for key in ("n_group", "topk_group"):
            values.pop(key, None)
    if values.get("hidden_size_per_layer_input") == 0:  # Gemma 4
        values.pop("vocab_size_per_layer_input", None)
    if "block_auto_adjust_ff_dim" in values:  # LFM2
        values["intermediate_size"] = _adjusted_width(values)
        for key in ("auto_adjust_ff_dim", "ffn_dim_multiplier", "multiple_of", "ff_dim"):
            values.pop(f"block_{key}", None)


def _adjusted_width(values: Mapping[str, Any]) -> Any:
    """As ``Lfm2MLP`` computes it."""
    width, factor = values.get("intermediate_size"), values.get("block_ffn_dim_multiplier")
    if not values["block_auto_adjust_ff_dim"] or not isinstance(width, int):
        return width
    width = int(2 * width / 3)
    if factor is None:
        return width
    multiple: int = values["block_multiple_of"]
    return -(-int(factor * width) // multiple) * multiple


def decides(parsed: Any, key: str) -> bool:
    """Whether a class can read a key: one that it declares, or that its own code names."""
    code = _code(type(parsed).__module__)
    fields = getattr(type(parsed), "__dataclass_fields__", {})
    names = {key, *(name for pair in parsed.attribute_map.items() for name in pair if key in pair)}
    # Without code there is nothing to know it by.
    return not code or any(
        name in fields or re.search(rf"\b{re.escape(name)}\b", code + _helpers()) for name in names
    )


@lru_cache(maxsize=8)
def _code(module: str) -> str:
    """The modules of a model of transformers' own; empty for others."""
    if not module.startswith("transformers."):
        return ""
    folder = Path(str(importlib.import_module(module).__file__)).parent
    return "\n".join(file.read_text(encoding="utf-8") for file in folder.glob("modeling_*.py"))


@lru_cache(maxsize=1)
def _helpers() -> str:
    """What reads the configs of all models."""
    import transformers

    folder = Path(str(transformers.__file__)).parent
    files = [folder / f"{name}.py" for name in ("modeling_rope_utils", "masking_utils")]
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file())


def flatten(key: str, value: Any) -> dict[str, Any]:
    """Nested values by their paths, without those that decide nothing: ``attn_config.alibi``."""
    found: dict[str, Any] = {}
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not _INERT.fullmatch(str(name)):
                found |= flatten(f"{key}.{name}", inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            found |= flatten(f"{key}[{number}]", inner)
    else:
        found[key] = value
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal after rounding to float32; nothing is the same as False."""
    if isinstance(one, bool) or isinstance(other, bool):
        return bool(one) == bool(other)
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if numbers and (isinstance(one, float) or isinstance(other, float)):
        return math.isclose(one, other, rel_tol=_ROUNDING)
    return bool(one == other)
