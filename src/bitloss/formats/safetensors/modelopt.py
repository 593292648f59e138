"""NVIDIA ModelOpt: FP8, MXFP8, NVFP4 and MXFP4, as `export_hf_checkpoint` writes them.

A linear layer ``[out, in]`` is stored as ``weight`` with ``weight_scale``, which multiplies it:

    FP8    E4M3 [out, in]       float [], [out] or [out / block, in / block]
    MXFP8  E4M3 [out, in]       uint8 [out, in / 32], exponents
    NVFP4  uint8 [out, in / 2]  E4M3 [out, in / 16], and ``weight_scale_2`` for all of them
    MXFP4  uint8 [out, in / 2]  uint8 [out, in / 32], exponents

AWQ's ``pre_quant_scale`` ``[in]`` multiplies the layer's input; here it multiplies the weight. The
config is ``hf_quant_config.json``, or stands in ``config.json``. Which numbers enter a layer
follows from the algorithm; their static scale is ``input_scale``, of NVFP4 the inverse of what
blocks' scales are multiplied by. Scales of the KV cache are passed over. All products are float32.
Source: ModelOpt 0.47, ``torch/export/unified_export_hf.py`` and ``torch/quantization/qtensor``; the
result is bit-equal to its tensors' ``dequantize`` in float32.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import DeclaredInput
from bitloss.formats.safetensors.compressed_inputs import single_value
from bitloss.formats.storage.checkpoint import (
    DENSE_TYPES,
    DecodedCheckpoint,
    Facts,
    Parameter,
    of_most_weights,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.floats import Grid, decode, nominal_group, read_scales
from bitloss.formats.storage.quant_config import OTHER_MODEL, require_shapes, whole_number
from bitloss.formats.storage.shards import Shards
from bitloss.spec.activations import ActivationType

__all__ = ["matches", "open_checkpoint"]

# Kinds of storage by the types of codes and scales, and the algorithms that store so.
_KINDS = {
    ("F8_E4M3", "float"): ("FP8", "FP8_PER_CHANNEL_PER_TOKEN", "FP8_PC_PT", "FP8_PB_WO"),
    ("F8_E4M3", "U8"): ("MXFP8",),
    ("U8", "F8_E4M3"): ("NVFP4", "NVFP4_AWQ", "W4A16_NVFP4", "W4A8_NVFP4_FP8"),
    ("U8", "U8"): ("MXFP4", "W4A8_MXFP4_FP8"),
}
_ALGORITHMS = tuple(name for names in _KINDS.values() for name in names)
# Of an algorithm, the numbers that enter its layers; weights alone where there are none.
_INPUTS = {
    "FP8": ActivationType("fp8", "tensor"),
    "FP8_PER_CHANNEL_PER_TOKEN": ActivationType("fp8", "token"),
    "FP8_PC_PT": ActivationType("fp8", "token"),
    "MXFP8": ActivationType("mxfp8", "block", 32),
    "NVFP4": ActivationType("nvfp4", "token", 16),
    "NVFP4_AWQ": ActivationType("nvfp4", "token", 16),
    "W4A8_NVFP4_FP8": ActivationType("fp8", "tensor"),
    "MXFP4": ActivationType("mxfp4", "block", 32),
    "W4A8_MXFP4_FP8": ActivationType("fp8", "tensor"),
}
_MIXED = ("MIXED_PRECISION", "MIXED")
_GROUPS = {"MXFP8": 32, "NVFP4": 16, "MXFP4": 32}
_PB_BLOCK = 128
_WEIGHT_PARTS = ("weight", "weight_scale", "weight_scale_2", "pre_quant_scale")
# Scales and offsets of activations and of the KV cache.
_ACTIVATIONS = re.compile(
    r"(^|[._])(input_scale|output_scale|[qkv]_scale|kv_scale|prob_scale)$|\.[kv]_proj\.[kv]_bias$"
)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A quantized module: its grid of scales, its kind (``NVFP4``), and whether it has a third."""

    grid: Grid
    bits: int
    kind: str
    pre_quant_scale: bool


def matches(path: Path) -> bool:
    """Whether the path is a directory that ModelOpt has quantized."""
    method = quant_method(path)
    return method is not None and (method == "modelopt" or method.startswith("modelopt_"))


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a model that ModelOpt has exported.

    Raises:
        CheckpointError: files are missing or damaged, or shapes contradict the config.
        UnsupportedModel: an algorithm that is not decoded here.
    """
    directory = open_directory(path, name)
    algorithms = _algorithms(directory)
    shards = directory.shards
    decoded: dict[str, tuple[str, Parameter]] = {}
    parts = {tensor for tensor in shards.tensors if _ACTIVATIONS.search(tensor)}
    sizes: Counter[tuple[str, int, int | None]] = Counter()
    inputs: dict[str, DeclaredInput] = {}
    for module in quantized_modules(directory, "weight_scale"):
        layer = _layer(directory, module, algorithms)
        declared = _declared(directory, module, layer, algorithms)
        if declared is not None:
            inputs[f"{module}.weight"] = declared
        how = Parameter(layer.grid.shape, partial(_read, shards, module, layer))
        decoded[f"{module}.weight"] = (f"{module}.weight", how)
        parts |= {f"{module}.{part}" for part in _WEIGHT_PARTS}
        form = f"modelopt-{layer.kind.lower()}"
        sizes[form, layer.bits, nominal_group(layer.grid)] += math.prod(layer.grid.shape)
    _require_all_parts_known(directory, parts)
    form, bits, group_size = of_most_weights(sizes, ("modelopt", 16, None))
    facts = Facts(form, bits, group_size)
    return quantized_checkpoint(directory, facts, decoded, parts, inputs=inputs)


def _settings(directory: ModelDirectory) -> dict[str, Any]:
    """The settings of ``hf_quant_config.json``, or the same in ``config.json``."""
    config = directory.quantization
    inner = config.get("quantization", config)
    if not isinstance(inner, dict):
        raise CheckpointError(
            f"{directory.name}: `quantization`: expected a JSON object, got {inner!r}",
            hint="download hf_quant_config.json again",
        )
    return inner


def _algorithms(directory: ModelDirectory) -> frozenset[str]:
    """Every algorithm that the config names.

    Raises:
        UnsupportedModel: one of them is not decoded here.
    """
    settings = _settings(directory)
    layers = settings.get("quantized_layers") or {}
    named = {settings.get("quant_algo")}
    if isinstance(layers, dict):
        named |= {layer.get("quant_algo") for layer in layers.values() if isinstance(layer, dict)}
    names = {str(name).upper() for name in named if name is not None} - {*_MIXED, "NO_QUANT"}
    unknown = sorted(names - {*_ALGORITHMS})
    if unknown:
        raise UnsupportedModel(
            f"{directory.name}: ModelOpt's algorithm `{', '.join(unknown)}`; expected one of "
            f"{', '.join(_ALGORITHMS)}",
            hint="export the model again with FP8 or NVFP4: packed integers, low-rank corrections "
            "and the like are not decoded",
        )
    return frozenset(names)


def _layer(directory: ModelDirectory, module: str, algorithms: frozenset[str]) -> _Layer:
    """What the config says of a module, held against the types and shapes of its tensors."""
    tensors = directory.shards.tensors
    weight, scale = tensors.get(f"{module}.weight"), tensors[f"{module}.weight_scale"]
    scales = "float" if scale.dtype in DENSE_TYPES else scale.dtype
    kind = _KINDS.get((weight.dtype if weight else "no weight", scales), ())
    if not weight or not kind or not algorithms.intersection(kind):
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected weights and scales of "
            f"{' or '.join(sorted(algorithms)) or 'no algorithm'}, got "
            f"{weight.dtype if weight else 'no weights'} and {scale.dtype}",
            hint=OTHER_MODEL,
        )
    if len(weight.shape) != 2:
        raise UnsupportedModel(
            f"{directory.name}: `{module}.weight`: expected two dimensions, got "
            f"{list(weight.shape)}",
            hint="choose a model without fused experts: ModelOpt transposes them by model",
        )
    bits = 4 if weight.dtype == "U8" else 8
    rows, columns = weight.shape[0], weight.shape[1] * 8 // bits
    block = _block(directory, module, kind[0], (rows, columns))
    grid = Grid((rows, columns), block)
    expected: dict[str, tuple[int, ...]] = {}
    if kind[0] == "NVFP4":
        second = tensors.get(f"{module}.weight_scale_2")
        expected["weight_scale_2"] = second.shape if second and math.prod(second.shape) == 1 else ()
    if f"{module}.pre_quant_scale" in tensors:
        expected["pre_quant_scale"] = (columns,)
    if kind[0] != "FP8":
        expected["weight_scale"] = grid.scale_shape
        if columns % block[1]:
            raise CheckpointError(
                f"{directory.name}: `{module}`: expected rows that are a multiple of the group "
                f"size {block[1]}, got {columns}",
                hint=OTHER_MODEL,
            )
    require_shapes(directory, module, expected, f"{kind[0]} with groups of {block[1]}")
    return _Layer(grid, bits, kind[0], "pre_quant_scale" in expected)


def _declared(
    directory: ModelDirectory, module: str, layer: _Layer, algorithms: frozenset[str]
) -> DeclaredInput | None:
    """What the layer's algorithm says of its inputs."""
    own = _own_settings(directory, module).get("quant_algo")
    stored = next(names for names in _KINDS.values() if names[0] == layer.kind)
    named = {str(own).upper()} if own else algorithms
    chosen = [name for name in stored if name in named]
    if len(chosen) != 1:
        words = f"{' or '.join(sorted(named))}, as this layer does not say,"
        return DeclaredInput(None, words) if any(n in _INPUTS for n in chosen) else None
    kind = _INPUTS.get(chosen[0])
    if kind is None:
        return None
    if layer.pre_quant_scale:  # is in the weight here, and stored inputs would have it
        return DeclaredInput(None, f"{chosen[0]}, scaled before they are stored,")
    name = f"{module}.input_scale"
    if kind.numbers == "nvfp4":
        return DeclaredInput(kind, "nvfp4", partial(_inverse, directory.shards, name))
    if kind.shares == "tensor":
        scale = partial(single_value, directory.shards, name)
        return DeclaredInput(kind, f"{kind.name}, static,", scale)
    return DeclaredInput(kind, kind.name)


def _inverse(shards: Shards, name: str) -> torch.Tensor:
    return 1.0 / single_value(shards, name)


def _own_settings(directory: ModelDirectory, module: str) -> dict[str, Any]:
    """The settings of a module, or those of the model."""
    settings = _settings(directory)
    layers = settings.get("quantized_layers") or {}
    own = layers.get(module) if isinstance(layers, dict) else None
    return own if isinstance(own, dict) else settings


def _block(
    directory: ModelDirectory, module: str, kind: str, shape: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns that share a scale."""
    own = _own_settings(directory, module)
    if kind != "FP8":
        return 1, whole_number(directory, own, "group_size", default=_GROUPS[kind]) or _GROUPS[kind]
    stored = directory.shards.tensors[f"{module}.weight_scale"].shape
    rows, columns = shape
    if math.prod(stored) == 1:
        return rows, columns
    if stored in ((rows,), (rows, 1)):
        return 1, columns
    size = whole_number(directory, own, "group_size", default=_PB_BLOCK) or _PB_BLOCK
    grid = Grid(shape, (size, size))
    down, across = grid.scale_shape
    if stored in ((down, across), (down, 1, across, 1)):
        return size, size
    raise CheckpointError(
        f"{directory.name}: `{module}.weight_scale`: expected one scale, {[rows]} or "
        f"{[down, across]} for {[rows, columns]} in blocks of {size}, got {list(stored)}",
        hint=OTHER_MODEL,
    )


def _require_all_parts_known(directory: ModelDirectory, parts: set[str]) -> None:
    """What would change the weights, or is left from weights that are not there."""
    for name in directory.shards.tensors:
        part = name.rpartition(".")[2]
        if name not in parts and (
            part in _WEIGHT_PARTS[1:] or "svdquant" in name or "weight_scale" in part
        ):
            raise UnsupportedModel(
                f"{directory.name}: `{name}` belongs to no module that is decoded; expected it "
                "beside `weight` and `weight_scale`",
                hint="export the model again with FP8 or NVFP4 and without fused experts",
            )


def _read(shards: Shards, module: str, layer: _Layer, dtype: torch.dtype) -> torch.Tensor:
    scales = read_scales(shards, f"{module}.weight_scale")
    if layer.kind == "NVFP4":
        scales = scales.float() * shards.read(f"{module}.weight_scale_2").float()
    # The layer multiplies its input by it: the same product with the weight.
    smooth = shards.read(f"{module}.pre_quant_scale") if layer.pre_quant_scale else None
    return decode(layer.grid, shards.read(f"{module}.weight"), scales, dtype, columns_scale=smooth)
