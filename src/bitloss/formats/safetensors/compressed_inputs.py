"""What compressed-tensors' ``input_activations`` say of the inputs of a layer.

Source: compressed-tensors 0.20, ``quantization/quant_args.py`` and
``quantization/utils/helpers.py``. Static scales lie beside the weights: ``input_scale`` and
``input_zero_point``, or ``input_global_scale`` of blocks whose own scales are dynamic (NVFP4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from bitloss.errors import CheckpointError
from bitloss.formats.base import DeclaredInput
from bitloss.formats.storage.quant_config import OTHER_MODEL
from bitloss.formats.storage.shards import Shards
from bitloss.spec.activations import ActivationType

if TYPE_CHECKING:
    import torch

__all__ = ["declared_input", "single_value"]

_FLOATS = {8: "fp8", 4: "fp4"}


def declared_input(
    shards: Shards, module: str, settings: Mapping[str, Any] | None
) -> DeclaredInput | None:
    """What the settings of a module's inputs mean; None where they stay as computed.

    Args:
        shards: with the module's scales.
        module: its name.
        settings: ``input_activations`` of its group.
    """
    if not settings:
        return None
    dynamic = settings.get("dynamic") or False
    kind = _type(settings)
    bits, floating = settings.get("num_bits"), _text(settings, "type") == "float"
    words = kind.name if kind else f"{bits}-bit {'float' if floating else 'integer'}"
    if kind is not None and kind.numbers == "nvfp4":
        return DeclaredInput(kind, words, _stored(shards, f"{module}.input_global_scale"))
    if dynamic is True:
        return DeclaredInput(kind, words)
    if kind is not None and kind.shares != "tensor":
        kind = None  # static scales of channels or groups: no engine serves them
    scale = _stored(shards, f"{module}.input_scale")
    zero = None
    if f"{module}.input_zero_point" in shards.tensors and kind and not kind.symmetric:
        zero = _stored(shards, f"{module}.input_zero_point")
    return DeclaredInput(kind, f"{words}, static,", scale, zero)


def single_value(shards: Shards, name: str) -> torch.Tensor:
    """A stored number, shape ``[]``, float32.

    Raises:
        CheckpointError: it is missing, or not one positive number where it is a scale.
    """
    tensor = shards.tensors.get(name)
    if tensor is None or math.prod(tensor.shape) != 1:
        got = "no such tensor" if tensor is None else f"shape {list(tensor.shape)}"
        raise CheckpointError(
            f"`{name}`: expected one number for a layer's inputs, got {got}", hint=OTHER_MODEL
        )
    value = shards.read(name).reshape(()).float()
    if name.endswith("scale") and not 0 < float(value) < math.inf:
        raise CheckpointError(
            f"`{name}`: expected a positive scale, got {float(value)}",
            hint="calibrate the model again, or choose a type with --activations",
        )
    return value


def _stored(shards: Shards, name: str) -> Callable[[], torch.Tensor]:
    return partial(single_value, shards, name)


def _type(settings: Mapping[str, Any]) -> ActivationType | None:
    """The type of that name; None where there is none."""
    bits, strategy = settings.get("num_bits", 8), _text(settings, "strategy")
    group = settings.get("group_size") or 0
    symmetric = bool(settings.get("symmetric", True))
    if _text(settings, "type") == "float":
        return _floats(bits, strategy, group, mx="uint8" in _text(settings, "scale_dtype"))
    if bits not in (8, 4):
        return None
    numbers = "int8" if bits == 8 else "int4"
    return _shared(numbers, strategy, group, symmetric=symmetric)


def _floats(bits: Any, strategy: str, group: int, *, mx: bool) -> ActivationType | None:
    if bits == 4 and strategy == "tensor_group" and group == 16:
        return ActivationType("nvfp4", "token", 16)
    if bits in (4, 8) and strategy == "group" and group == 32 and (mx or bits == 4):
        return ActivationType("mxfp8" if bits == 8 else "mxfp4", "block", 32)
    return _shared("fp8", strategy, group) if bits == 8 else None


def _shared(
    numbers: Any, strategy: str, group: int, *, symmetric: bool = True
) -> ActivationType | None:
    # Without a strategy it is the tensor, and with a group size the group (`validate_model_after`).
    strategy = strategy or ("group" if group > 0 else "tensor")
    if strategy == "tensor":
        return ActivationType(numbers, "tensor", symmetric=symmetric)
    if strategy == "token":
        return ActivationType(numbers, "token", symmetric=symmetric)
    if strategy == "group" and group > 0 and symmetric:
        return ActivationType(numbers, "block", group)
    return None


def _text(settings: Mapping[str, Any], key: str) -> str:
    return str(settings.get(key) or "").lower()
