"""A transformers config from a GGUF file's metadata, put together from parts.

Keys are those of llama.cpp's converter (gguf/constants.py, ``Keys``), defaults those of its loader
(src/llama-model.cpp, ``load_hparams``). What the metadata does not say is read off the tensors:
the vocabulary's size, a tied head, biases, factors of the rope frequencies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.decoding import read_tensor
from bitloss.formats.gguf.metadata import Metadata

__all__ = [
    "Implied",
    "Part",
    "attention",
    "bias",
    "experts",
    "fixed",
    "gating",
    "head_dim",
    "layer_norm",
    "numbers",
    "rms_norm",
    "rope",
    "rope_parameters",
    "scaling",
    "sizes",
    "sliding_layers",
    "sliding_window",
    "vocabulary",
]

Part = Callable[[Metadata], dict[str, Any]]
"""Reads some of the metadata and returns keys of the config."""


class Implied(dict[str, Any]):
    """Keys of the config that files do not state: what llama.cpp's code does for an architecture.

    A reference's config may say otherwise; the difference is noted, not refused
    (`bitloss.formats.configs.matching`).
    """


_UNSIGNED = 2**32 - 1
_ROPE_FACTORS = "rope_freqs.weight"
_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"


def vocabulary(metadata: Metadata) -> dict[str, Any]:
    """Size of the vocabulary, whether the head is tied, and the special tokens."""
    tokens = Metadata(metadata.files, "tokenizer.ggml")
    rows = _embedding(metadata)[0]
    # llama.cpp has one row of the embedding for each token, and one score and type.
    for key in ("tokens", "scores", "token_type"):
        listed = metadata.files.metadata.get(f"tokenizer.ggml.{key}")
        if isinstance(listed, list) and len(listed) != rows:
            raise tokens.wrong(key, f"{rows} items, one per row of `token_embd`", len(listed))
    return {
        "vocab_size": rows,
        "tie_word_embeddings": not metadata.has_tensor("output.weight"),
        "bos_token_id": _token(tokens, "bos_token_id", rows),
        "eos_token_id": _token(tokens, "eos_token_id", rows),
        "pad_token_id": _padding(tokens, rows),
    }


def _token(tokens: Metadata, key: str, rows: int) -> int | None:
    number: int | None = tokens.whole(key, None)
    if number is not None and number >= rows:
        raise tokens.wrong(key, f"a token from 0 to {rows - 1}", number)
    return number


def _padding(tokens: Metadata, rows: int) -> int | None:
    """Nothing is computed with it, and llama.cpp passes over one that is none."""
    number: int | None = tokens.whole("padding_token_id", None, most=_UNSIGNED)
    return number if number is None or number < rows else None


def sizes(metadata: Metadata) -> dict[str, Any]:
    """Context, width and depth."""
    hidden = metadata.whole("embedding_length", least=1)
    if hidden != _embedding(metadata)[1]:
        raise metadata.wrong(
            "embedding_length", f"{_embedding(metadata)[1]}, as `token_embd.weight` has", hidden
        )
    config = {
        "max_position_embeddings": metadata.whole("context_length", least=1),
        "hidden_size": hidden,
        "num_hidden_layers": metadata.layers(),
    }
    wide = metadata.whole("feed_forward_length", None)
    return config if wide is None else config | {"intermediate_size": wide}


def attention(metadata: Metadata) -> dict[str, Any]:
    """Heads of queries, and of keys with values."""
    hidden = metadata.whole("embedding_length", least=1)
    heads = metadata.whole("attention.head_count", least=1)
    groups = metadata.whole("attention.head_count_kv", heads, least=1)
    if heads % groups:
        raise metadata.wrong(
            "attention.head_count_kv", f"a divisor of the {heads} heads of queries", groups
        )
    if not metadata.has("attention.key_length") and hidden % heads:
        raise metadata.wrong("attention.head_count", f"a divisor of the width {hidden}", heads)
    return {"num_attention_heads": heads, "num_key_value_heads": groups}


def head_dim(metadata: Metadata) -> dict[str, Any]:
    """Width of a head; keys and values are equally wide in all models that are read."""
    return {"head_dim": _head_width(metadata)}


def rms_norm(metadata: Metadata) -> dict[str, Any]:
    """Epsilon of root mean square norms."""
    return {"rms_norm_eps": metadata.positive("attention.layer_norm_rms_epsilon")}


def layer_norm(key: str) -> Part:
    """Epsilon of layer norms, under the config's name for it."""
    return lambda metadata: {key: metadata.positive("attention.layer_norm_epsilon")}


def fixed(**values: Any) -> Part:
    """What the architecture implies."""
    return lambda metadata: Implied(values)


def numbers(**keys: str) -> Part:
    """Numbers under the config's names for them."""
    return lambda metadata: {name: metadata.number(key) for name, key in keys.items()}


def bias(**tensors: str) -> Part:
    """Flags that are set where a tensor of the first layer is there."""
    return lambda metadata: {name: metadata.has_tensor(t) for name, t in tensors.items()}


def experts(count: str = "num_experts", width: str | None = "moe_intermediate_size") -> Part:
    """Routed experts: how many, how many at a time, how wide."""

    def part(metadata: Metadata) -> dict[str, Any]:
        total = metadata.whole("expert_count", least=1)
        used = metadata.whole("expert_used_count", least=1)
        if used > total:
            raise metadata.wrong("expert_used_count", f"at most {total} experts", used)
        wide = metadata.whole("expert_feed_forward_length", None)
        if wide is None:  # older files: llama.cpp takes the shape
            wide = _shape(metadata, "ffn_gate_exps.weight", "ffn_gate_up_exps.weight")
        config = {count: total, "num_experts_per_tok": used}
        return config if width is None else config | {width: wide}

    return part


def gating(metadata: Metadata, default: int) -> int:
    """How routers weigh: 1 softmax, 2 sigmoid."""
    kind: int = metadata.whole("expert_gating_func", 0) or default
    if kind not in (1, 2):
        raise metadata.unsupported("expert_gating_func", kind)
    return kind


def sliding_layers(metadata: Metadata, period: int) -> list[str]:
    """The kind of each layer: all but every `period`-th look at a window.

    llama.cpp's default period can be overridden by another, or by a list.
    """
    layers = metadata.layers()
    pattern = metadata.per_layer("attention.sliding_window_pattern", layers, period)
    if all(isinstance(item, int) and not isinstance(item, bool) and item > 0 for item in pattern):
        pattern = [(index + 1) % every != 0 for index, every in enumerate(pattern)]
    if not all(isinstance(item, bool) for item in pattern):
        raise metadata.wrong("attention.sliding_window_pattern", "a period or flags", pattern)
    return ["sliding_attention" if item else "full_attention" for item in pattern]


def sliding_window(period: int) -> Part:
    """A window, and which layers it holds for."""

    def part(metadata: Metadata) -> dict[str, Any]:
        window = metadata.whole("attention.sliding_window", least=1)
        return {"sliding_window": window, "layer_types": sliding_layers(metadata, period)}

    return part


def rope(*, partial: bool = False) -> Part:
    """Rotary positions of all layers; see `rope_parameters`."""
    return lambda metadata: {"rope_parameters": rope_parameters(metadata, partial=partial)}


def rope_parameters(metadata: Metadata, *, partial: bool = False) -> dict[str, Any]:
    """Base, share of the head and scaling, as transformers' ``rope_parameters``.

    Args:
        metadata: of the file.
        partial: whether the architecture may rotate a part of each head only.

    Raises:
        CheckpointError: a value is missing or cannot be.
        UnsupportedModel: a scaling that is not known.
    """
    config: dict[str, Any] = {"rope_theta": metadata.positive("rope.freq_base", 10000.0)}
    width = _head_width(metadata)
    rotated = metadata.whole("rope.dimension_count", width, least=2)
    if rotated % 2 or rotated > width:
        raise metadata.wrong("rope.dimension_count", f"an even number up to {width}", rotated)
    if partial:
        config["partial_rotary_factor"] = rotated / width
    elif rotated != width:
        raise metadata.unsupported("rope.dimension_count", rotated)
    return config | scaling(metadata, rotated)


def scaling(metadata: Metadata, rotated: int) -> dict[str, Any]:
    """The scaling alone, of frequencies for `rotated` values of a head; see `rope_parameters`."""
    # llama.cpp scales linearly by a factor without a type, which an old key may hold.
    factor = metadata.positive("rope.scaling.factor", None) or metadata.positive(
        "rope.scale_linear", None
    )
    kind = metadata.text("rope.scaling.type", "linear" if factor else "none")
    if metadata.has_tensor(_LONG) or metadata.has_tensor(_SHORT):
        return _longrope(metadata, rotated)
    if metadata.has_tensor(_ROPE_FACTORS) and kind == "none":
        # Llama 3 stores its scaling as a divisor for each frequency; LongRoPE takes just that.
        factors = _factors(metadata, _ROPE_FACTORS, rotated)
        return {
            "rope_type": "longrope",
            "short_factor": factors,
            "long_factor": factors,
            "factor": 1.0,
            "attention_factor": 1.0,
            "original_max_position_embeddings": metadata.whole("context_length", least=1),
        }
    if metadata.has_tensor(_ROPE_FACTORS) or kind not in ("none", "linear", "yarn"):
        raise UnsupportedModel(
            f"{metadata.files.paths[0]}: rope scaling `{kind}` with these parameters is not "
            "supported",
            hint="score it beside its reference, with the reference's config",
        )
    original = metadata.whole("rope.scaling.original_context_length", None, least=1)
    if kind == "none" or (kind == "linear" and not factor):
        return {"rope_type": "default"}
    if factor is None:
        factor = metadata.number("rope.scaling.factor")
    if kind == "linear":
        return {"rope_type": kind, "factor": factor}
    for key in ("attn_factor", "yarn_ext_factor", "yarn_attn_factor"):
        if metadata.number(f"rope.scaling.{key}", 1.0) != 1.0:
            raise metadata.unsupported(
                f"rope.scaling.{key}", metadata.number(f"rope.scaling.{key}")
            )
    return {
        "rope_type": kind,
        "factor": factor,
        "original_max_position_embeddings": original
        or metadata.whole("rope.scaling.original_context_length", least=1),
        "beta_fast": metadata.number("rope.scaling.yarn_beta_fast", 32.0),
        "beta_slow": metadata.number("rope.scaling.yarn_beta_slow", 1.0),
    }


def _longrope(metadata: Metadata, rotated: int) -> dict[str, Any]:
    context = metadata.whole("context_length", least=1)
    original = metadata.whole("rope.scaling.original_context_length", context, least=1)
    factor = metadata.positive("rope.scaling.attn_factor", 1.0)
    return {
        "rope_type": "longrope",
        "short_factor": _factors(metadata, _SHORT, rotated),
        "long_factor": _factors(metadata, _LONG, rotated),
        "factor": context / original,
        "attention_factor": factor,
        "original_max_position_embeddings": original,
    }


def _factors(metadata: Metadata, name: str, rotated: int) -> list[float]:
    stored = metadata.files.tensors.get(name)
    if stored is None or stored.shape != (rotated // 2,):
        raise CheckpointError(
            f"{metadata.files.paths[0]}: `{name}`: expected {rotated // 2} factors, got "
            f"{list(stored.shape) if stored else 'none'}",
            hint="download the file again, or convert the model again",
        )
    values: list[float] = read_tensor(stored).tolist()
    return values


def _head_width(metadata: Metadata) -> int:
    hidden = metadata.whole("embedding_length", least=1)
    heads = metadata.whole("attention.head_count", least=1)
    width: int = metadata.whole("attention.key_length", hidden // heads, least=1)
    if metadata.whole("attention.value_length", width) != width:
        raise metadata.unsupported(
            "attention.value_length", metadata.whole("attention.value_length")
        )
    return width


def _embedding(metadata: Metadata) -> tuple[int, int]:
    stored = metadata.files.tensors.get("token_embd.weight")
    if stored is None or len(stored.shape) != 2:
        raise CheckpointError(
            f"{metadata.files.paths[0]}: no tensor `token_embd.weight` of two dimensions",
            hint="download the complete file: this one is cut off, or holds a vocabulary only",
        )
    return stored.shape[0], stored.shape[1]


def _shape(metadata: Metadata, gate: str, joined: str) -> int:
    for name, tensor in metadata.files.tensors.items():
        if name.endswith(gate):
            return tensor.shape[1]
        if name.endswith(joined):
            return tensor.shape[1] // 2
    width: int = metadata.whole("expert_feed_forward_length", least=1)
    return width
