"""Values of a config, checked once, at the door: before anything is made, counted or read by them.

Every config passes here as plain values, from a ``config.json`` or made of GGUF metadata, and those
of a multimodal model's parts with it. transformers checks some types, and its model classes compute
with the rest: zero heads are a division by zero there, a billion layers hours and all memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bitloss.errors import CheckpointError

if TYPE_CHECKING:
    from bitloss.formats.base import Checkpoint

__all__ = ["check_relations", "check_values", "check_weights", "explain_refusal"]

_HINT = "download config.json again, or correct the value"
_OTHER = "download the config that belongs to the weights"
_MOST = 2**31 - 1
_ROOM = 8
_SIZES = frozenset({
    "hidden_size", "n_embd", "d_model", "num_attention_heads", "n_head", "n_heads", "vocab_size",
    "max_position_embeddings", "n_positions", "num_key_value_heads", "num_kv_heads", "n_head_kv",
    "head_dim", "intermediate_size", "ffn_dim", "n_inner", "moe_intermediate_size",
    "qk_nope_head_dim", "v_head_dim",
})  # fmt: skip
"""Whole numbers above zero. Each stands in the shape of a parameter (`_POSITIONS` need not)."""
_POSITIONS = ("max_position_embeddings", "n_positions")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_COUNTS = frozenset({
    "num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok",
    "n_shared_experts", "sliding_window", "first_k_dense_replace", "num_nextn_predict_layers",
    "q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "conv_kernel", "state_size",
})  # fmt: skip
"""Whole numbers, zero among them."""
_NULLABLE = frozenset({
    "num_key_value_heads", "num_kv_heads", "n_head_kv", "head_dim", "n_inner", "ffn_dim",
    "intermediate_size", "moe_intermediate_size", "v_head_dim", "qk_nope_head_dim", *_COUNTS,
})  # fmt: skip
# One number for each layer: Gemma 3n, OpenELM, and models that were pruned.
_BY_LAYER = frozenset({"intermediate_size", "num_attention_heads", "num_key_value_heads"})
_EPSILON = re.compile(r"(.*_)?(norm|layernorm|ln|rms)_(.*_)?(eps|epsilon)")
_POSITIVE = frozenset({
    "rope_theta", "rotary_emb_base", "rope_local_base_freq", "global_rope_theta", "factor",
    "attention_factor", "original_max_position_embeddings",
})  # fmt: skip
_SHARES = frozenset({"partial_rotary_factor", "rotary_pct"})
_FLAGS = frozenset({"tie_word_embeddings", "attention_bias", "mlp_bias"})
_NAMES = frozenset({"hidden_act", "activation_function"})
_NAMES_OR_NULL = frozenset({"hidden_activation", "hidden_act_function", "rope_type"})
_LISTS = frozenset({"architectures", "layer_types"})
_PARTS = frozenset({"text_config", "rope_parameters", "rope_scaling", "auto_map"})
_IDS = frozenset({"bos_token_id", "eos_token_id", "pad_token_id"})
# A head's width that is not the model's width over its heads.
_WIDTHS = ("head_dim", "attention_head_dim", "kv_channels", "d_kv", "qk_nope_head_dim")
_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings)\.weight$")
_PROJECTED = ("word_embed_proj_dim", "embedding_size", "d_embed")


def check_values(
    config: Mapping[str, Any], where: str, *, tensors: int, hint: str = _HINT, at: str = ""
) -> None:
    """Types and ranges of what is computed with; other keys are anyone's.

    Args:
        config: transformers config as plain values, parts of other models in it as dictionaries.
        where: the file, for messages.
        tensors: that the weights have: no model has more layers than that.
        hint: what to do about a value that cannot be.
        at: the part of a config that this is.

    Raises:
        CheckpointError: a value cannot be; says what was expected, and the value.
    """
    for key, value in config.items():
        expected = _expectation(key, value, tensors)
        if expected:
            raise _wrong(where, f"{at}{key}", expected, value, hint)
        if isinstance(value, Mapping):
            check_values(value, where, tensors=tensors, hint=hint, at=f"{at}{key}.")


def check_relations(config: Mapping[str, Any], parsed: Any, where: str) -> None:
    """What values must be to each other.

    Args:
        config: plain values of the text model.
        parsed: transformers' config of them, which has the defaults and one spelling.
        where: the model's name, for messages.

    Raises:
        CheckpointError: they do not fit together.
    """
    hidden, heads, groups = (
        getattr(parsed, name, None)
        for name in ("hidden_size", "num_attention_heads", "num_key_value_heads")
    )
    if not isinstance(hidden, int) or not isinstance(heads, int):
        return
    if all(config.get(key) is None for key in _WIDTHS) and hidden % heads:
        raise _wrong(where, "num_attention_heads", f"a divisor of the width {hidden}", heads, _HINT)
    if isinstance(groups, int) and heads % groups:
        expected = f"a divisor of the {heads} heads of queries"
        raise _wrong(where, "num_key_value_heads", expected, groups, _HINT)
    width = config.get("head_dim")
    if isinstance(width, int) and width % 2 and getattr(parsed, "rope_parameters", None):
        raise _wrong(where, "head_dim", "an even number, as rotary positions need", width, _HINT)
    vocabulary, padding = (getattr(parsed, name, None) for name in ("vocab_size", "pad_token_id"))
    numbers = isinstance(vocabulary, int) and isinstance(padding, int)
    if numbers and padding >= vocabulary and _pads_embedding(type(parsed).__module__):
        expected = f"a token below the {vocabulary} of `vocab_size`"
        raise _wrong(where, "pad_token_id", expected, padding, _HINT)


def explain_refusal(config: Mapping[str, Any], where: str) -> None:
    """The relation that transformers' class refuses a config for, if it is one of heads.

    Some classes want heads to divide the width although the head's own width is given.

    Raises:
        CheckpointError: there is such a one.
    """
    hidden, heads = (
        next((config[key] for key in keys if isinstance(config.get(key), int)), 0)
        for keys in (("hidden_size", "n_embd", "d_model"), _HEADS)
    )
    if hidden > 0 and heads > 0 and hidden % heads:
        raise _wrong(where, "num_attention_heads", f"a divisor of the width {hidden}", heads, _HINT)


def check_weights(config: Mapping[str, Any], parsed: Any, checkpoint: Checkpoint) -> None:
    """What the weights bound: the number of layers, the embedding's shape, every size.

    Args:
        config: plain values of the text model.
        parsed: transformers' config of them.
        checkpoint: the opened weights, of which shapes are read.

    Raises:
        CheckpointError: config and weights are not of one model.
    """
    names, where = checkpoint.names(), checkpoint.info.name
    layers = getattr(parsed, "num_hidden_layers", None)
    stored = {int(match[1]) for name in names if (match := _LAYER.search(name))}
    found = max(stored) + 1 if stored else len(names)
    if isinstance(layers, int) and layers > max(found, 1):
        what = "layers" if stored else "tensors"
        expected = f"at most {found}, as the weights have {what}"
        raise _wrong(where, "num_hidden_layers", expected, layers, _OTHER)
    shapes = {name: checkpoint.shape(name) for name in names}
    largest = max((side for shape in shapes.values() for side in shape), default=0)
    for key in sorted((_SIZES - {*_POSITIONS}) & config.keys()):
        value = config[key]
        # With room: a size may be one that a class computes the stored one from, or does not read.
        if isinstance(value, int) and value > _ROOM * largest:
            expected = f"a number near {largest}, the largest dimension of the weights, or below"
            raise _wrong(where, key, expected, value, _OTHER)
    embeddings = [name for name in names if _EMBEDDING.search(name) and len(shapes[name]) == 2]
    hidden = getattr(parsed, "hidden_size", None)
    if len(embeddings) == 1 and isinstance(hidden, int) and not any(
        config.get(key) for key in _PROJECTED
    ):  # fmt: skip
        width = shapes[embeddings[0]][1]
        if width != hidden:
            expected = f"{width}, as `{embeddings[0]}` has"
            raise _wrong(where, "hidden_size", expected, hidden, _OTHER)


def _pads_embedding(module: str) -> bool:
    """Whether a class of transformers' gives its embedding a row for padding."""
    import importlib
    import inspect

    try:
        own = importlib.import_module(module.replace(".configuration_", ".modeling_"))
        code = inspect.getsource(own)
    except (ImportError, OSError, TypeError):
        return False
    return "padding_idx" in code


def _expectation(key: str, value: Any, tensors: int) -> str:
    """What was expected of a value; empty if it can be."""
    if key in _LAYERS:
        return _whole(value, 1, max(tensors, 1))
    if key in _SIZES or key in _COUNTS:
        if value is None and key in _NULLABLE:
            return ""
        least = int(key in _SIZES)
        values = value if isinstance(value, list) and key in _BY_LAYER and value else [value]
        return next(filter(None, (_whole(item, least, _MOST) for item in values)), "")
    for keys, rule in _RULES:
        if key in keys:
            return rule(value)
    if isinstance(key, str) and _EPSILON.fullmatch(key):
        return "" if _is_number(value) and 0 <= value <= 1 else "a number from 0 to 1"
    return ""


def _whole(value: Any, least: int, most: int) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return ""
    return f"a whole number from {least} to {most}"


def _ids(value: Any) -> str:
    ids = value if isinstance(value, list) else [value]
    # Some configs have -1 where there is no such token.
    right = all(item is None or not _whole(item, -1, _MOST) for item in ids)
    return "" if right else "a token id, a list of them or null"


def _positive(value: Any) -> str:
    right = value is None or (_is_number(value) and value > 0)
    return "" if right else "a finite number above 0"


def _share(value: Any) -> str:
    right = value is None or (_is_number(value) and 0 <= value <= 1)
    return "" if right else "a number from 0 to 1"


def _of_type(kind: type, words: str, *, null: bool = True) -> Callable[[Any], str]:
    return lambda value: "" if isinstance(value, kind) or (null and value is None) else words


def _texts(value: Any) -> str:
    right = value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value))
    return "" if right else "a list of names"


_RULES: tuple[tuple[frozenset[str], Callable[[Any], str]], ...] = (
    (_IDS, _ids),
    (_POSITIVE, _positive),
    (_SHARES, _share),
    (_FLAGS, _of_type(bool, "true or false")),
    (_NAMES, _of_type(str, "the name of a function", null=False)),
    (_NAMES_OR_NULL, _of_type(str, "a name")),
    (_LISTS, _texts),
    (_PARTS, _of_type(dict, "a JSON object")),
)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e300 and math.isfinite(value)


def _wrong(where: str, key: str, expected: str, got: Any, hint: str) -> CheckpointError:
    return CheckpointError(
        f"{where}: `{key}`: expected {expected}, got {repr(got)[:80]}", hint=hint
    )
