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
    "intermediate_size", "ffn_dim", "n_inner", "moe_intermediate_size",
    "qk_nope_head_dim", "v_head_dim",
})  # fmt: skip
"""Whole numbers above zero. Each stands in the shape of a parameter (`_POSITIONS` need not)."""
_POSITIONS = ("max_position_embeddings", "n_positions")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_COUNTS = frozenset({
    "num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok",
    "n_shared_experts", "sliding_window", "first_k_dense_replace", "num_nextn_predict_layers",
    "q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "state_size", "head_dim",
})  # fmt: skip
"""Whole numbers, zero among them."""
_EXPERTS = frozenset({"num_experts", "num_local_experts", "n_routed_experts", "head_dim"})
"""Of these the ones that stand in a shape, or count modules."""
_NULLABLE = frozenset({
    "num_key_value_heads", "num_kv_heads", "n_head_kv", "n_inner", "ffn_dim", "vocab_size",
    "intermediate_size", "moe_intermediate_size", "v_head_dim", "qk_nope_head_dim", *_COUNTS,
})  # fmt: skip
# One number for each layer: Gemma 3n, OpenELM, and models that were pruned.
_BY_LAYER = frozenset({
    "intermediate_size", "moe_intermediate_size", "num_attention_heads", "num_key_value_heads",
})  # fmt: skip
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
# Parts that are computed with as texts are; of others only the layers are counted.
_TEXTS = frozenset(
    {"text_config", "language_config", "llm_config", "rope_parameters", "rope_scaling"}
)
_IDS = frozenset({"bos_token_id", "eos_token_id", "pad_token_id"})
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
        if not isinstance(value, Mapping):
            continue
        if key in _TEXTS:
            check_values(value, where, tensors=tensors, hint=hint, at=f"{at}{key}.")
        else:
            _check_layers(value, where, tensors, hint, f"{at}{key}.")


def _check_layers(config: Mapping[str, Any], where: str, tensors: int, hint: str, at: str) -> None:
    """Parts that read images or sound have keys of other meanings, and are built with the rest."""
    for key, value in config.items():
        if key in _LAYERS and isinstance(value, int) and value > max(tensors, 1):
            raise _wrong(where, f"{at}{key}", f"at most {tensors}", value, hint)
        if isinstance(value, Mapping):
            _check_layers(value, where, tensors, hint, f"{at}{key}.")


def check_relations(config: Mapping[str, Any], parsed: Any, where: str) -> None:
    """What values must be to each other.

    Args:
        config: plain values of the text model.
        parsed: transformers' config of them, which has the defaults and one spelling.
        where: the model's name, for messages.

    Raises:
        CheckpointError: they do not fit together.
    """
    heads, groups = (_own(parsed, f"num_{kind}_heads") for kind in ("attention", "key_value"))
    if heads and groups and heads % groups:
        expected = f"a divisor of the {heads} heads of queries"
        raise _wrong(where, "num_key_value_heads", expected, groups, _HINT)
    width = config.get("head_dim")
    if isinstance(width, int) and width % 2 and getattr(parsed, "rope_parameters", None):
        raise _wrong(where, "head_dim", "an even number, as rotary positions need", width, _HINT)
    rows, padding = (_own(parsed, name) for name in ("vocab_size", "pad_token_id"))
    beyond = rows is not None and padding is not None and padding >= rows
    if beyond and _pads_embedding(type(parsed).__module__):
        expected = f"a token below the {rows} of `vocab_size`"
        raise _wrong(where, "pad_token_id", expected, padding, _HINT)


def explain_refusal(config: Mapping[str, Any], where: str) -> CheckpointError | None:
    """Why a class refuses a config, if it is for its heads.

    Most classes want them to divide the width, some although the head's own width is given; others
    take any number.
    """
    hidden, heads = (
        next((config[key] for key in keys if isinstance(config.get(key), int)), 0)
        for keys in (("hidden_size", "n_embd", "d_model"), _HEADS)
    )
    if hidden < 1 or heads < 1 or hidden % heads == 0:
        return None
    return _wrong(where, "num_attention_heads", f"a divisor of the width {hidden}", heads, _HINT)


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
    layers, hidden = _own(parsed, "num_hidden_layers"), _own(parsed, "hidden_size")
    stored = {int(match[1]) for name in names if (match := _LAYER.search(name))}
    found = max(stored) + 1 if stored else len(names)
    if layers is not None and layers > max(found, 1):
        what = "layers" if stored else "tensors"
        expected = f"at most {found}, as the weights have {what}"
        raise _wrong(where, "num_hidden_layers", expected, layers, _OTHER)
    shapes = {name: checkpoint.shape(name) for name in names}
    largest = max((side for shape in shapes.values() for side in shape), default=0)
    for key in sorted(((_SIZES | _EXPERTS) - {*_POSITIONS}) & config.keys()):
        value = config[key]
        # With room: a size may be one that a class computes the stored one from, or does not read.
        if isinstance(value, int) and value > max(_ROOM * largest, len(names)):
            expected = f"a number near {largest}, the largest dimension of the weights, or below"
            raise _wrong(where, key, expected, value, _OTHER)
    embeddings = [name for name in names if _EMBEDDING.search(name) and len(shapes[name]) == 2]
    if len(embeddings) == 1 and hidden is not None and not any(
        config.get(key) for key in _PROJECTED
    ):  # fmt: skip
        width = shapes[embeddings[0]][1]
        if width != hidden:
            expected = f"{width}, as `{embeddings[0]}` has"
            raise _wrong(where, "hidden_size", expected, hidden, _OTHER)


def _own(parsed: Any, name: str) -> int | None:
    """A whole number of transformers' config; None for another value, or one for each layer."""
    try:
        value = getattr(parsed, name, None)
    except Exception:  # such configs have their own exception for values by layer
        return None
    return value if isinstance(value, int) else None


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
        return _whole(value, 0, max(tensors, 1))
    if key in _SIZES or key in _COUNTS:
        if value is None and key in _NULLABLE:
            return ""
        if key in _POSITIONS and isinstance(value, float) and value.is_integer():
            value = int(value)
        least = int(key in _SIZES)
        values = value if isinstance(value, list) and key in _BY_LAYER and value else [value]
        return next(filter(None, (_whole(item, least, _MOST) for item in values)), "")
    for keys, rule in _RULES:
        if key in keys:
            return rule(value)
    if isinstance(key, str) and _EPSILON.fullmatch(key):
        return _share(value)
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
