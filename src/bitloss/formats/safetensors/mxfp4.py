"""MXFP4 experts as gpt-oss is published: pairs of four-bit floats, an exponent for 32 of them.

The experts of a layer ``[experts, in, out]``, transposed as gpt-oss multiplies with them, are
stored as

    gate_up_proj_blocks  uint8 [experts, out, in / 32, 16]  two floats (E2M1) in a byte
    gate_up_proj_scales  uint8 [experts, out, in / 32]      exponents with a bias of 127 (E8M0)

and likewise ``down_proj``; biases and everything else are dense. Source: transformers 5.24,
``integrations/mxfp4.py``; all values are exact in float32, and in bf16, in which its
`convert_moe_packed_tensors` gives the same.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from bitloss.errors import CheckpointError
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    Parameter,
    quantized_checkpoint,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.floats import Grid, decode, read_scales
from bitloss.formats.storage.quant_config import OTHER_MODEL
from bitloss.formats.storage.shards import Shards

__all__ = ["decode_experts", "matches", "open_checkpoint"]

_GROUP = 32
_BLOCKS, _SCALES = "_blocks", "_scales"


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is MXFP4."""
    return quant_method(path) == "mxfp4"


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open an MXFP4 model.

    Raises:
        CheckpointError: files are missing or damaged, or blocks and scales do not fit together.
        UnsupportedModel: a tensor that is neither dense nor an expert's.
    """
    directory = open_directory(path, name)
    experts = [
        tensor.removesuffix(_BLOCKS)
        for tensor, stored in directory.shards.tensors.items()
        if tensor.endswith(_BLOCKS) and stored.dtype == "U8"
    ]
    decoded = {f"{module}{_BLOCKS}": (module, _parameter(directory, module)) for module in experts}
    parts = {f"{module}{_SCALES}" for module in experts}
    facts = Facts("mxfp4", 4, group_size=_GROUP) if experts else Facts("mxfp4", 16)
    return quantized_checkpoint(directory, facts, decoded, parts)


def decode_experts(
    blocks: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """The dense experts from tensors of the shapes in the module's docstring, scales in bf16."""
    experts, outputs, groups, half = blocks.shape
    grid = Grid((outputs, groups * half * 2), (1, half * 2))
    result = torch.empty((experts, grid.shape[1], outputs), dtype=dtype)
    for expert in range(experts):  # beside the result, memory holds one of them
        result[expert] = decode(grid, blocks[expert].flatten(1), scales[expert], dtype).t()
    return result


def _parameter(directory: ModelDirectory, module: str) -> Parameter:
    tensors = directory.shards.tensors
    blocks, scales = tensors[f"{module}{_BLOCKS}"], tensors.get(f"{module}{_SCALES}")
    if len(blocks.shape) != 4 or blocks.shape[-1] != _GROUP // 2:
        raise CheckpointError(
            f"{directory.name}: `{module}{_BLOCKS}`: expected shape [experts, out, in / {_GROUP}, "
            f"{_GROUP // 2}], got {list(blocks.shape)}",
            hint=OTHER_MODEL,
        )
    got = None if scales is None else (scales.dtype, scales.shape)
    if got != ("U8", blocks.shape[:-1]):
        raise CheckpointError(
            f"{directory.name}: `{module}{_SCALES}`: expected U8 {list(blocks.shape[:-1])}, "
            f"got {'no such tensor' if scales is None else f'{scales.dtype} {list(scales.shape)}'}",
            hint=OTHER_MODEL,
        )
    experts, outputs, groups, _ = blocks.shape
    shape = (experts, groups * _GROUP, outputs)
    return Parameter(shape, partial(_read, directory.shards, module))


def _read(shards: Shards, module: str, dtype: torch.dtype) -> torch.Tensor:
    scales = read_scales(shards, f"{module}{_SCALES}")
    return decode_experts(shards.read(f"{module}{_BLOCKS}"), scales, dtype)
