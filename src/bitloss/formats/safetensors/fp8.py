"""FP8 with scales per block, tensor or row, as DeepSeek, Qwen, fbgemm and transformers write it.

A linear layer ``[out, in]`` is stored as ``weight`` (E4M3) with a scale that multiplies it, under
one of several names: ``weight_scale_inv`` (one for each block of ``weight_block_size``, the last
ones may be short; or one for the tensor), ``scale`` (DeepSeek V4), ``qscale_weight`` (Mistral),
``weight_scale`` (AutoFP8: for the tensor; fbgemm: for each row). Fused experts ``[experts, out,
in]`` have ``gate_up_proj_scale_inv`` and the like. Scales may be exponents (MXFP8, ``ue8m0``), and
with ``expert_dtype: fp4`` experts are pairs of four-bit floats (E2M1) with groups of 32. What
enters a layer is E4M3 too (``activation_scheme``): with a scale for each token, or each block of
it as wide as a block of weights, or a static one (``input_scale``, ``activation_scale``). Scales of
the KV cache are passed over. Products are taken in float32, where those with exponents or 16-bit
scales are exact. Source: transformers 5.24, ``integrations/finegrained_fp8.py``; rounded to its
type, the result is bit-equal to its `Fp8Dequantize`, and to `FP8Linear`'s gradient where blocks are
short.
"""

from __future__ import annotations

import math
import re
from collections import Counter
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
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.floats import (
    EXPONENT_TYPES,
    Grid,
    decode,
    nominal_group,
    read_scales,
)
from bitloss.formats.storage.quant_config import OTHER_MODEL
from bitloss.formats.storage.shards import Shards
from bitloss.spec.activations import ActivationType

__all__ = ["matches", "open_checkpoint"]

_METHODS = ("fp8", "mxfp8", "fbgemm_fp8")
# How a scale is named after its codes ``module.weight`` and ``module.any``.
_OF_WEIGHT = ("weight_scale_inv", "weight_scale", "scale", "qscale_weight")
_OF_OTHER = ("_scale_inv", "_scale")
_MX_BLOCK = (1, 32)
_DEFAULT_BLOCK = (128, 128)  # transformers', where the config has no `weight_block_size`
_HALVES = re.compile(r"(^|[._])gate_up_proj(\.weight)?$")
# Scales of activations and of the KV cache.
_ACTIVATIONS = re.compile(
    r"(^|[._])(activation_scale|input_scale|input_scale_ub|act_scale|qscale_act|output_scale|"
    r"[qkv]_scale|kv_scale|prob_scale)$"
)
# Names of a layer's static scale of inputs.
_INPUT_SCALES = ("input_scale", "activation_scale", "act_scale", "qscale_act")
# A scale of weights: without codes, something is amiss.
_ORPHAN = re.compile(r"(^|\.)(\w*_scale_inv|qscale_weight|weight_scale)$")


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is FP8, MXFP8 or fbgemm's FP8."""
    return quant_method(path) in _METHODS


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open an FP8 model.

    Raises:
        CheckpointError: files are missing or damaged, or shapes contradict the config.
        UnsupportedModel: another type of float, or scales that can be read in two ways.
    """
    directory = open_directory(path, name)
    kind = directory.quantization.get("fmt", "e4m3")
    if str(kind).lower() not in ("e4m3", "float8_e4m3fn"):
        raise UnsupportedModel(
            f"{directory.name}: FP8 of the kind `{kind}`; expected e4m3",
            hint="choose a checkpoint in E4M3",
        )
    shards = directory.shards
    scales = _scales_of_codes(directory)
    decoded: dict[str, tuple[str, Parameter]] = {}
    sizes: Counter[tuple[int, int | None]] = Counter()
    inputs: dict[str, DeclaredInput] = {}
    for codes, scale in scales.items():
        grid = _grid(directory, codes, scale)
        how = Parameter(grid.shape, partial(_read, shards, codes, scale, grid))
        decoded[codes] = (codes, how)
        bits = 8 if shards.tensors[codes].dtype == "F8_E4M3" else 4
        sizes[bits, nominal_group(grid)] += math.prod(grid.shape)
        inputs[codes] = _declared(directory, codes, scale)
    parts = set(scales.values())
    parts |= {tensor for tensor in shards.tensors if _ACTIVATIONS.search(tensor)} - set(decoded)
    _require_no_orphans(directory, parts)
    bits, group_size = of_most_weights(sizes, (16, None))
    facts = Facts("fp8", bits, group_size)
    return quantized_checkpoint(directory, facts, decoded, parts, inputs=inputs)


def _read(shards: Shards, codes: str, scale: str, grid: Grid, dtype: torch.dtype) -> torch.Tensor:
    return decode(grid, shards.read(codes), read_scales(shards, scale), dtype)


def _declared(directory: ModelDirectory, codes: str, scale: str) -> DeclaredInput:
    """What the config says of the inputs of a layer, or of a stack of experts."""
    config = directory.quantization
    module = codes.rpartition(".")[0]
    names = [f"{module}.{name}" for name in _INPUT_SCALES]
    stored = [name for name in names if name in directory.shards.tensors]
    scheme = str(config.get("activation_scheme", "dynamic")).lower()
    if str(config.get("quant_method")).lower() == "fbgemm_fp8" and config.get(
        "activation_scale_ub"
    ):
        return DeclaredInput(None, f"fp8 (up to {config['activation_scale_ub']})")
    if scheme == "static":
        read = partial(single_value, directory.shards, stored[0] if stored else names[0])
        return DeclaredInput(ActivationType("fp8", "tensor"), "fp8-tensor, static,", read)
    block = _block(directory, scale)
    if scheme != "dynamic":
        return DeclaredInput(None, f"`{scheme}`")
    if block is None or block[1] == 1:
        return DeclaredInput(ActivationType("fp8", "token"), "fp8")
    if directory.shards.tensors[scale].dtype in EXPONENT_TYPES and block == _MX_BLOCK:
        return DeclaredInput(ActivationType("mxfp8", "block", 32), "mxfp8")
    kind = ActivationType("fp8", "block", block[1])
    return DeclaredInput(kind, kind.name)


def _scales_of_codes(directory: ModelDirectory) -> dict[str, str]:
    """The scale of each tensor of codes, in file order."""
    tensors = directory.shards.tensors
    known = ("F8_E4M3", "I8") if _has_fp4(directory) else ("F8_E4M3",)
    pairs: dict[str, str] = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in known:
            continue
        module, dot, part = name.rpartition(".")
        ends = _OF_WEIGHT if part == "weight" else tuple(part + end for end in _OF_OTHER)
        names = [module + dot + end for end in ends]
        found = [scale for scale in names if scale in tensors]
        if len(found) != 1:
            raise CheckpointError(
                f"{directory.name}: `{name}` is {tensor.dtype}: expected one scale out of "
                f"{', '.join(ends)}, got {' and '.join(found) or 'none'}",
                hint="download the rest of the checkpoint, or choose one that stores its scales",
            )
        pairs[name] = found[0]
    return pairs


def _has_fp4(directory: ModelDirectory) -> bool:
    return "fp4" in (
        directory.quantization.get("expert_dtype"),
        directory.config.get("expert_dtype"),
    )


def _require_no_orphans(directory: ModelDirectory, parts: set[str]) -> None:
    """A weight whose scale is there is not dense, whatever its type."""
    for name in directory.shards.tensors:
        if name in parts or not _ORPHAN.search(name):
            continue
        codes = re.sub(r"_scale(_inv)?$", "", name.replace("qscale_weight", "weight"))
        stored = directory.shards.tensors.get(codes)
        raise CheckpointError(
            f"{directory.name}: `{name}` is a scale: expected `{codes}` to be F8_E4M3, "
            f"got {'no such tensor' if stored is None else stored.dtype}",
            hint=OTHER_MODEL,
        )


def _grid(directory: ModelDirectory, codes: str, scale: str) -> Grid:
    """What the config says of a tensor of codes, held against its shape and its scale's."""
    tensors = directory.shards.tensors
    stored, scales = tensors[codes], tensors[scale]
    if scales.dtype not in (*DENSE_TYPES, *EXPONENT_TYPES):
        raise UnsupportedModel(
            f"{directory.name}: `{scale}`: expected {', '.join((*DENSE_TYPES, *EXPONENT_TYPES))}, "
            f"got {scales.dtype}",
            hint="choose a checkpoint whose scales are floats or exponents",
        )
    if len(stored.shape) not in (2, 3):
        raise CheckpointError(
            f"{directory.name}: `{codes}`: expected two dimensions, or three for fused experts, "
            f"got {list(stored.shape)}",
            hint=OTHER_MODEL,
        )
    fp4 = stored.dtype == "I8"
    shape = (*stored.shape[:-1], stored.shape[-1] * (2 if fp4 else 1))
    block = _MX_BLOCK if fp4 else _block(directory, scale)
    grid = Grid(shape, block) if block else _without_blocks(shape, scales.shape)
    if math.prod(scales.shape) == 1 and len(scales.shape) < 2 and len(shape) == 2:
        return Grid(shape, (shape[0], shape[1]))  # one scale, even in a model of blocks
    if grid is None or (block and scales.shape != grid.scale_shape):
        expected = list(grid.scale_shape) if grid else "one scale for the tensor or for each row"
        why = f"blocks of {list(block)}" if block else "no `weight_block_size`"
        raise CheckpointError(
            f"{directory.name}: `{scale}`: expected shape {expected} for {list(shape)} and {why}, "
            f"got {list(scales.shape)}",
            hint=OTHER_MODEL,
        )
    if len(shape) == 3 and _HALVES.search(codes) and block and shape[1] // 2 % block[0]:
        raise UnsupportedModel(
            f"{directory.name}: `{codes}`: expected fused halves of a multiple of {block[0]} rows, "
            f"got {shape[1] // 2}: a block may lie across both, or each may have its own",
            hint="choose a checkpoint that stores experts one by one",
        )
    return grid


def _block(directory: ModelDirectory, scale: str) -> tuple[int, int] | None:
    """Rows and columns of a block; None where scales are for a tensor or a row."""
    config: dict[str, Any] = directory.quantization
    method = str(config.get("quant_method")).lower()
    if method == "fbgemm_fp8":
        return None
    # Per-tensor scales are floats, under the older name.
    blocks = not scale.endswith("weight_scale")
    blocks |= directory.shards.tensors[scale].dtype in EXPONENT_TYPES
    default = _MX_BLOCK if method == "mxfp8" else _DEFAULT_BLOCK if blocks else None
    block: Any = config.get("weight_block_size", default)
    if block is None:
        return None
    whole = isinstance(block, list | tuple) and all(type(size) is int for size in block)
    if not whole or len(block) != 2 or min(block) < 1:
        raise CheckpointError(
            f"{directory.name}: `weight_block_size`: expected two positive numbers, got {block!r}",
            hint="download the quantization config again",
        )
    return int(block[0]), int(block[1])


def _without_blocks(shape: tuple[int, ...], scales: tuple[int, ...]) -> Grid | None:
    """One scale for a tensor, an expert or one of its halves, or a row; None for another number."""
    rows, columns = shape[-2:]
    if len(shape) == 2:
        if math.prod(scales) == 1:
            return Grid(shape, (rows, columns))
        return Grid(shape, (1, columns)) if scales in ((rows,), (rows, 1)) else None
    experts = shape[0]
    if scales in ((experts,), (experts, 1, 1)):
        return Grid(shape, (rows, columns))
    # The gate's scale and the up projection's.
    return Grid(shape, (rows // 2, columns)) if scales == (experts, 2, 1) and not rows % 2 else None
