"""What torchao's tensor classes say of the numbers that their weights are multiplied with.

Attributes of a class (``act_quant_kwargs``, ``activation_quantization``) name the type, and static
scales lie beside the codes (``act_quant_scale``). Source: torchao 0.18,
``quantization/quantize_/workflows``. Scales of MX blocks are rounded another way than elsewhere
(``ScaleCalculationMode``), so those have no name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from bitloss.formats.base import DeclaredInput
from bitloss.formats.safetensors.compressed_inputs import single_value
from bitloss.formats.storage.shards import Shards
from bitloss.spec.activations import ActivationType

__all__ = ["declared_input"]

_SHARES = {"PerRow": "token", "PerToken": "token", "PerTensor": "tensor"}


def declared_input(
    shards: Shards, metadata: Mapping[str, Any], names: Mapping[str, str]
) -> DeclaredInput | None:
    """What the attributes of a quantized parameter mean; None where inputs stay as computed.

    Args:
        shards: with its tensors.
        metadata: its class, attributes and data names.
        names: its stored tensors by data name.
    """
    attributes = metadata.get("_data")
    if not isinstance(attributes, dict):
        return None
    affine = attributes.get("activation_quantization")
    if affine is not None:
        known = affine == "int8_asym_per_token"
        kind = ActivationType("int8", "token", symmetric=False) if known else None
        return DeclaredInput(kind, kind.name if kind else f"`{affine}`")
    asked = attributes.get("act_quant_kwargs")
    if not isinstance(asked, dict):
        return None
    settings = asked.get("_data") if isinstance(asked.get("_data"), dict) else {}
    kind = _type(str(metadata["_type"]), settings or {})
    words = kind.name if kind else f"`{asked.get('_type')}`"
    scale = names.get("act_quant_scale")
    if scale is None:
        return DeclaredInput(kind, words)
    if kind is not None and kind.shares != "tensor":
        kind = None
    return DeclaredInput(kind, f"{words}, static,", partial(single_value, shards, scale))


def _type(name: str, settings: Mapping[str, Any]) -> ActivationType | None:
    granularity, mapping = settings.get("granularity"), settings.get("mapping_type")
    kind = granularity.get("_type") if isinstance(granularity, dict) else None
    symmetric = mapping is None or (
        isinstance(mapping, dict) and mapping.get("_data") == "SYMMETRIC"
    )
    numbers = {"Int8Tensor": "int8", "Float8Tensor": "fp8"}.get(name)
    shares = _SHARES.get(str(kind))
    if numbers is None or shares is None or not symmetric or settings.get("reduce_range"):
        return None
    return ActivationType(numbers, shares)  # type: ignore[arg-type]
