"""Rotary positions, compared by the tables that a model computes from its parameters.

Different parameters may mean one table: GGUF stores Llama 3's scaling as a divisor for each
frequency, and Hunyuan's as another base. So where parameters differ, the model's own rotary module
computes its frequencies from both.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bitloss.formats.configs.values import flatten, same

if TYPE_CHECKING:
    import torch

__all__ = ["describe_difference"]

# Three positions of a text are one: how a head is divided among them changes nothing.
_INERT = ("type", "mrope_section", "mrope_interleaved")
# What the tables are made of. Others are read elsewhere: DeepSeek's attention scale, Llama 4's.
_IN_TABLES = frozenset({
    "rope_type", "rope_theta", "factor", "partial_rotary_factor", "attention_factor", "alpha",
    "original_max_position_embeddings", "short_factor", "long_factor", "beta_fast", "beta_slow",
    "low_freq_factor", "high_freq_factor", "truncate", "mscale", "finetuned", "attn_factor",
})  # fmt: skip
_ROUNDING = 2e-6


def describe_difference(reference: Any, variant: Any) -> tuple[str, Any, Any] | None:
    """The first parameter of the rope that differs, and both values; None for equal tables.

    Args:
        reference: transformers' config of the reference's text model.
        variant: the variant's; its class may be another one.
    """
    ours, theirs = _by_kind(reference), _by_kind(variant)
    for kind in dict.fromkeys((*ours, *theirs)):
        mine, other = (_plain(side.get(kind, side.get(""))) for side in (ours, theirs))
        different = [
            key for key in dict.fromkeys((*mine, *other)) if not same(mine.get(key), other.get(key))
        ]
        elsewhere = [key for key in different if key.partition("[")[0] not in _IN_TABLES]
        elsewhere = [key for key in elsewhere if mine.get(key) or other.get(key)]  # 0 is none
        if elsewhere or (different and not _equal_tables(reference, variant)):
            key = (elsewhere or different)[0]
            path = ".".join(filter(None, ("rope_parameters", kind, key)))
            return path, mine.get(key), other.get(key)
    key = "max_position_embeddings"
    left, right = (getattr(config, key, None) for config in (reference, variant))
    by_length = left != right and _scales_by_length(reference)
    return (key, left, right) if by_length and not _equal_tables(reference, variant) else None


def _scales_by_length(config: Any) -> bool:
    """Whether the context's length is a parameter too."""
    kinds = [(parameters or {}).get("rope_type") for parameters in _by_kind(config).values()]
    return any(kind in ("dynamic", "longrope") for kind in kinds)


def _by_kind(config: Any) -> dict[str, Any]:
    """Parameters by the kind of layer; "" where all layers have the same."""
    parameters = getattr(config, "rope_parameters", None)
    if not isinstance(parameters, Mapping):
        return {"": None}
    # A dictionary without a type or base of its own is another parameter: transformers 5 saves
    # Gemma 3's {"rope_theta": {"global": ..., "local": ...}} beside the kinds, each with its own.
    nested = {
        key: value
        for key, value in parameters.items()
        if isinstance(value, Mapping) and ("rope_type" in value or "rope_theta" in value)
    }
    return nested or {"": parameters}


def _plain(parameters: Any) -> dict[str, Any]:
    values = {} if parameters is None else parameters
    return {
        path: value
        for key, inner in values.items()
        if key not in _INERT and inner is not None
        for path, value in flatten(key, inner).items()
    }


def _equal_tables(reference: Any, variant: Any) -> bool:
    """Whether both give the same tables for texts of every length up to the reference's context."""
    import torch

    context = getattr(reference, "max_position_embeddings", None) or 1
    lengths = {1, context}
    for config in (reference, variant):
        marks = [getattr(config, "max_position_embeddings", None)]
        marks += [
            (parameters or {}).get("original_max_position_embeddings")
            for parameters in _by_kind(config).values()
        ]
        lengths |= {mark + 1 for mark in marks if isinstance(mark, int) and mark < context}
    try:
        for length in sorted(lengths):
            ours, theirs = _tables(reference, length), _tables(variant, length)
            if not ours or ours.keys() != theirs.keys():
                return False
            for name, mine in ours.items():
                if mine.shape != theirs[name].shape or not torch.allclose(
                    mine, theirs[name], rtol=_ROUNDING, atol=0
                ):
                    return False
    except Exception:  # a module that cannot be made of one of them: not known to be equal
        return False
    return True


def _tables(config: Any, length: int) -> dict[str, torch.Tensor]:
    """Inverse frequencies and scales of the class's rotary module, after a text of `length`."""
    import torch

    kind = _rotary_class(config)
    if kind is None:
        return {}
    module = kind(config=copy.deepcopy(config))
    takes = inspect.signature(module.forward).parameters
    states, positions = torch.zeros(1, 1, 1), torch.tensor([[0, length - 1]])
    if "mrope" in str(getattr(config, "rope_parameters", "")):
        positions = positions.expand(3, 1, -1)
    for layer in _by_kind(config):
        given = {"layer_type": layer} if layer and "layer_type" in takes else {}
        module(states, positions, **given)
    tables = {
        name: value.double()
        for name, value in module.named_buffers()
        if name.endswith("inv_freq") and "original" not in name
    }
    scales = {name: value for name, value in vars(module).items() if name.endswith("scaling")}
    return tables | {
        name: torch.tensor(float(value), dtype=torch.float64)
        for name, value in scales.items()
        if isinstance(value, int | float)
    }


def _rotary_class(config: Any) -> Any:
    """The text model's rotary module; None if there is not just one."""
    path = type(config).__module__
    if not path.startswith("transformers."):
        return None
    module = importlib.import_module(path.replace(".configuration_", ".modeling_"))
    found = [
        value
        for name, value in vars(module).items()
        if name.endswith("RotaryEmbedding")
        and not any(part in name for part in ("Vision", "Audio"))
        and "config" in inspect.signature(value).parameters
    ]
    return found[0] if len(found) == 1 else None
