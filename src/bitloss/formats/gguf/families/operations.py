"""How tensors of a GGUF file become parameters of the module graph, and the other way.

An operation is a pair of functions that undo each other. They see tensors and the transformers
config, and work on the device "meta" too, where they tell the shape without reading anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = [
    "CONV1D",
    "DEINTERLEAVED_EXPERTS",
    "DELTA_OUT",
    "DELTA_QKV",
    "DELTA_QKVZ",
    "DELTA_ROWS",
    "DELTA_SCALARS",
    "DELTA_STATE",
    "FALCON_QKV",
    "FLAT",
    "GROUPED_QKV",
    "INTERLEAVED_LAST",
    "JOINED",
    "KV_B",
    "MINUS_ONE",
    "NEGATIVE_LOG",
    "PERMUTED_K",
    "PERMUTED_Q",
    "ROW",
    "SAME",
    "TRANSPOSED",
    "TURNED_EXPERTS",
    "Config",
    "Operation",
    "Source",
]

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """A change of layout that can be undone.

    Attributes:
        decode: stored tensors, config and the second index of the name to the parameter.
        encode: the parameter and the config to the stored tensors.
        weights_only: of a module's parameters, the bias is stored as it is.
        computes: numbers change, and not only their places: it is given float32.
    """

    decode: Callable[[list[torch.Tensor], Config, int], torch.Tensor]
    encode: Callable[[torch.Tensor, Config], list[torch.Tensor]]
    weights_only: bool = False
    computes: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where a parameter comes from.

    Attributes:
        operation: how it is laid out.
        stored: llama.cpp's names, with ``{i}`` for the layer.
    """

    operation: Operation
    stored: tuple[str, ...]

    def of_module(self, kind: str) -> Source:
        """For a module's ``weight`` or ``bias``."""
        plain = kind == "bias" and self.operation.weights_only
        return replace(
            self,
            operation=SAME if plain else self.operation,
            stored=tuple(f"{name}.{kind}" for name in self.stored),
        )


def _simple(
    decode: Callable[[torch.Tensor], torch.Tensor],
    encode: Callable[[torch.Tensor], torch.Tensor],
    *,
    weights_only: bool = False,
    computes: bool = False,
) -> Operation:
    return Operation(
        lambda stored, config, j: decode(stored[0]),
        lambda tensor, config: [encode(tensor)],
        weights_only,
        computes,
    )


SAME = _simple(lambda t: t, lambda t: t)
"""As it is."""

# GPT-2's Conv1D keeps [in, out] (conversion/gpt2.py).
TRANSPOSED = _simple(
    lambda t: t.transpose(-1, -2).contiguous(),
    lambda t: t.transpose(-1, -2).contiguous(),
    weights_only=True,
)
# Norms whose modules add 1 to their weight (conversion/gemma.py, nemotron.py, qwen.py).
MINUS_ONE = _simple(lambda t: t - 1, lambda t: t + 1, weights_only=True, computes=True)
# Mamba and its relatives: A = -exp(A_log).
NEGATIVE_LOG = _simple(lambda t: (-t).log(), lambda t: -t.exp(), computes=True)
# A depthwise convolution's kernel without the axis of one channel.
CONV1D = _simple(lambda t: t.unsqueeze(1), lambda t: t.squeeze(1), weights_only=True)


def _split(tensor: torch.Tensor, parts: int, axis: int) -> list[torch.Tensor]:
    return [part.contiguous() for part in tensor.chunk(parts, axis)]


def _parts(tensor: torch.Tensor, sizes: list[int], axis: int = 0) -> list[torch.Tensor]:
    return list(tensor.split(sizes, axis))  # type: ignore[no-untyped-call]


def _cat(stored: list[torch.Tensor], axis: int) -> torch.Tensor:
    import torch

    return torch.cat(stored, axis)


def _interleave(stored: list[torch.Tensor]) -> torch.Tensor:
    """Gate and up in turn along the last axis."""
    import torch

    return torch.stack(stored, -1).flatten(-2)


# Gate and up above each other: [..., 2 * rows, columns].
JOINED = Operation(lambda s, c, j: _cat(s, -2), lambda t, c: _split(t, 2, -2))
# Llama 4's experts: [experts, columns, 2 * rows].
TURNED_EXPERTS = Operation(
    lambda s, c, j: _cat(s, -2).transpose(-1, -2).contiguous(),
    lambda t, c: _split(t.transpose(-1, -2), 2, -2),
)
# gpt-oss: [experts, columns, 2 * rows] with gate and up in turn, and likewise its biases.
DEINTERLEAVED_EXPERTS = Operation(
    lambda s, c, j: _interleave([t.transpose(-1, -2) for t in s]),
    lambda t, c: [t[..., k::2].transpose(-1, -2).contiguous() for k in (0, 1)],
)
INTERLEAVED_LAST = Operation(
    lambda s, c, j: _interleave(s), lambda t, c: [t[..., k::2].contiguous() for k in (0, 1)]
)


def _permute(tensor: torch.Tensor, heads: int, *, inverse: bool) -> torch.Tensor:
    """llama.cpp turns neighboring rows of a head, transformers halves (conversion/llama.py)."""
    half = tensor.shape[0] // heads // 2
    split = (half, 2) if inverse else (2, half)
    turned = tensor.reshape(heads, *split, *tensor.shape[1:]).transpose(1, 2)
    return turned.reshape(tensor.shape).contiguous()


def _permuted(key: str) -> Operation:
    return Operation(
        lambda s, config, j: _permute(s[0], config[key], inverse=True),
        lambda tensor, config: [_permute(tensor, config[key], inverse=False)],
    )


PERMUTED_Q = _permuted("num_attention_heads")
PERMUTED_K = _permuted("num_key_value_heads")


def _regroup(tensor: torch.Tensor, first: int, second: int) -> torch.Tensor:
    """Swap two leading groupings of the rows."""
    shape = tensor.shape
    return tensor.reshape(first, second, -1, *shape[1:]).transpose(0, 1).reshape(shape).contiguous()


def _heads(config: Config) -> int:
    count: int = config.get("n_head") or config["num_attention_heads"]
    return count


# BLOOM and GPT-NeoX: q, k and v of each head together, in GGUF all q, all k, all v.
GROUPED_QKV = Operation(
    lambda s, config, j: _regroup(s[0], 3, _heads(config)),
    lambda tensor, config: [_regroup(tensor, _heads(config), 3)],
)


def _falcon(tensor: torch.Tensor, config: Config, *, inverse: bool) -> torch.Tensor:
    """Groups of queries with one key and one value each (conversion/falcon.py)."""
    heads, groups = config["num_attention_heads"], config["num_kv_heads"]
    each, size, rest = heads // groups, tensor.shape[0] // (heads + 2 * groups), tensor.shape[1:]
    if inverse:
        q, k, v = _parts(tensor, [heads * size, groups * size, groups * size])
        parts = [q.reshape(groups, each * size, *rest)]
        parts += [t.reshape(groups, size, *rest) for t in (k, v)]
        return _cat(parts, 1).reshape(tensor.shape)
    grouped = tensor.reshape(groups, (each + 2) * size, *rest)
    q, k, v = _parts(grouped, [each * size, size, size], 1)
    return _cat([t.reshape(-1, *rest) for t in (q, k, v)], 0)


FALCON_QKV = Operation(
    lambda s, config, j: _falcon(s[0], config, inverse=True),
    lambda tensor, config: [_falcon(tensor, config, inverse=False)],
)


def _kv_b(stored: list[torch.Tensor], config: Config) -> torch.Tensor:
    """DeepSeek: keys are stored turned, so that they can be absorbed (conversion/deepseek.py)."""
    keys, values = stored
    joined = _cat([keys.transpose(1, 2), values], 1)
    return joined.reshape(-1, joined.shape[-1]).contiguous()


def _kv_b_inverse(tensor: torch.Tensor, config: Config) -> list[torch.Tensor]:
    parts = [config["qk_nope_head_dim"], config["v_head_dim"]]
    grouped = tensor.reshape(config["num_attention_heads"], sum(parts), -1)
    keys, values = _parts(grouped, parts, 1)
    return [keys.transpose(1, 2).contiguous(), values.contiguous()]


KV_B = Operation(lambda s, config, j: _kv_b(s, config), _kv_b_inverse)

# One row of a stack of norms, one per head (StableLM 2 12B).
ROW = Operation(lambda s, config, j: s[0][j], lambda tensor, config: [tensor])


def _flat(operation: Operation, columns: Callable[[Config], int | None]) -> Operation:
    def encode(tensor: torch.Tensor, config: Config) -> list[torch.Tensor]:
        stored = operation.encode(tensor, config)[0]
        groups = columns(config)
        return [stored.reshape(groups or stored.numel(), -1)]

    return Operation(
        lambda s, c, j: operation.decode([s[0].reshape(-1)], c, j),
        encode,
        computes=operation.computes,
    )


# Mamba 2 stores vectors of heads as columns, and its norm by groups.
FLAT = {
    "column": _flat(SAME, lambda config: None),
    "log": _flat(NEGATIVE_LOG, lambda config: None),
    "groups": _flat(SAME, lambda config: config["n_groups"]),
}


# Qwen3-Next and Qwen3.5: gated delta nets (conversion/qwen.py). Values outnumber keys; modules
# keep the values of a key's head together, llama.cpp the first value of each key, and so on.


def _delta(config: Config) -> tuple[int, int, int, int]:
    keys, values = config["linear_num_key_heads"], config["linear_num_value_heads"]
    return keys, values // keys, config["linear_key_head_dim"], config["linear_value_head_dim"]


def _value_heads(tensor: torch.Tensor, config: Config, *, inverse: bool) -> torch.Tensor:
    """Reorder the heads that the first axis is made of."""
    keys, per, _, _ = _delta(config)
    return _regroup(tensor, per, keys) if inverse else _regroup(tensor, keys, per)


def _value_rows(tensor: torch.Tensor, config: Config, *, inverse: bool) -> torch.Tensor:
    """Reorder the values below queries and keys."""
    keys, _, key_size, _ = _delta(config)
    fixed = 2 * keys * key_size
    return _cat([tensor[:fixed], _value_heads(tensor[fixed:], config, inverse=inverse)], 0)


def _both(function: Callable[..., torch.Tensor], after: Operation = SAME) -> Operation:
    return Operation(
        lambda s, c, j: after.decode([function(s[0], c, inverse=True)], c, j),
        lambda t, c: [function(after.encode(t, c)[0], c, inverse=False)],
        computes=after.computes,
    )


DELTA_ROWS = _both(_value_heads)
DELTA_SCALARS = _both(_value_heads)
DELTA_STATE = _both(_value_heads, NEGATIVE_LOG)
DELTA_QKV = {"weight": _both(_value_rows), "conv": _both(_value_rows, CONV1D)}
DELTA_OUT = Operation(
    lambda s, c, j: _value_heads(s[0].T, c, inverse=True).T.contiguous(),
    lambda t, c: [_value_heads(t.T, c, inverse=False).T.contiguous()],
)


def _qkvz(stored: list[torch.Tensor], config: Config) -> torch.Tensor:
    """Queries, keys, values and gates of each key's head together."""
    keys, per, key_size, value_size = _delta(config)
    qkv, z = stored
    rows = [keys * key_size, keys * key_size, keys * per * value_size]
    parts = [part.reshape(keys, -1, qkv.shape[-1]) for part in (*_parts(qkv, rows), z)]
    joined = _cat(parts, 1)
    return joined.reshape(-1, qkv.shape[-1])


def _qkvz_inverse(tensor: torch.Tensor, config: Config) -> list[torch.Tensor]:
    keys, per, key_size, value_size = _delta(config)
    grouped = tensor.reshape(keys, -1, tensor.shape[-1])
    sizes = [key_size, key_size, per * value_size, per * value_size]
    q, k, v, z = (part.reshape(-1, tensor.shape[-1]) for part in _parts(grouped, sizes, 1))
    return [_cat([q, k, v], 0), z.contiguous()]


DELTA_QKVZ = Operation(lambda s, config, j: _qkvz(s, config), _qkvz_inverse)
