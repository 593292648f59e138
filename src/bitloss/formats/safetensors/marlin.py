"""Marlin's tiles, which AutoGPTQ, AutoAWQ and IST-DASLab's tools store: four bits, one zero point.

A linear layer ``[out, in]`` is stored as

    codes   int32 [in / 16, 2 * out]  1024 codes of 16 inputs and 64 outputs after each other
    scales  float [groups, out]       64 outputs of a group after each other; 32 for one group

each in the order in which threads of the kernel want them. It decodes to ``(code - 8) * scale``,
in float32, where that is exact. Source: IST-DASLab/marlin, ``marlin/__init__.py``, ``_get_perms``
and ``Layer.pack``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    Parameter,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import ModelDirectory
from bitloss.formats.storage.packing import by_blocks, dequantize
from bitloss.formats.storage.payload import (
    FLOATS,
    refuse_orphans,
    require_finite,
    require_modules,
)
from bitloss.formats.storage.quant_config import (
    OTHER_MODEL,
    group_size,
    require_shapes,
    require_types,
    settings_for,
    whole_number,
)
from bitloss.formats.storage.shards import Shards

__all__ = ["Layer", "Parts", "decode", "tiled_checkpoint"]

_BITS = 4
_MIDDLE = 1 << (_BITS - 1)
_TILE = 16
_OUTPUTS = 64  # of a run of codes


@dataclass(frozen=True, slots=True)
class Parts:
    """The names under which a module's tensors are stored: codes, scales, and what is unread."""

    codes: str
    scales: str
    workspace: str


@dataclass(frozen=True, slots=True)
class Layer:
    """Dense sizes of a module, and inputs that share a scale (never -1)."""

    group_size: int
    inputs: int
    outputs: int


def tiled_checkpoint(directory: ModelDirectory, facts: Facts, parts: Parts) -> DecodedCheckpoint:
    """Open a model whose quantized modules are stored in tiles.

    Raises:
        CheckpointError: tensors contradict the config.
        UnsupportedModel: settings that Marlin's kernel does not have.
    """
    modules = quantized_modules(directory, parts.codes)
    require_modules(directory, modules, parts.codes)
    names = (parts.codes, parts.scales)
    refuse_orphans(directory, modules, names, parts.codes)
    layers = {module: _layer(directory, module, parts) for module in modules}
    decoded = {
        f"{module}.{parts.codes}": (
            f"{module}.weight",
            Parameter(
                (layer.outputs, layer.inputs),
                partial(_read, directory.shards, module, layer, parts),
            ),
        )
        for module, layer in layers.items()
    }
    owned = {f"{module}.{part}" for module in modules for part in (*names, parts.workspace)}
    return quantized_checkpoint(directory, facts, decoded, owned)


def decode(
    layer: Layer,
    words: torch.Tensor,
    scales: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The dense weight from tensors of the shapes in the module's docstring."""
    groups = scales.shape[0]
    order = _scale_order(single=groups == 1)
    scales = scales.reshape(-1, len(order))[:, order].reshape(groups, -1).t()

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        codes = _rows(words[:, 2 * start : 2 * stop]).view(torch.int8)
        dequantize(
            codes.sub_(_MIDDLE), None, scales[start:stop].contiguous(), layer.group_size, None, out
        )

    return by_blocks((layer.outputs, layer.inputs), dtype, fill, step=_OUTPUTS)


def _rows(words: torch.Tensor) -> torch.Tensor:
    """Codes ``[outputs, in]`` from words ``[in / 16, 2 * outputs]``.

    A run of 128 words has, slowest first, 8 columns, 4 pairs of rows and 4 tiles. In a word, a bit
    of each says: which row of the pair, which half of the tile's columns, and of its rows.
    """
    runs = words.reshape(words.shape[0], -1, 8, 4, 4)  # [in / 16, outputs / 64, column, rows, tile]
    turned = runs.permute(1, 4, 2, 0, 3).contiguous()
    # [outputs / 64, tile, column, in / 16, rows, row, half of the columns]
    pairs = turned.view(torch.uint8).view(*turned.shape[:-1], 4, 2, 2)
    pairs = pairs.permute(0, 1, 6, 2, 3, 4, 5).flatten(-2).contiguous()
    codes = torch.empty((*pairs.shape[:-1], 2, 8), dtype=torch.uint8)
    torch.bitwise_and(pairs, 15, out=codes[..., 0, :])
    torch.bitwise_right_shift(pairs, 4, out=codes[..., 1, :])
    return codes.view(words.shape[1] // 2, -1)


def _scale_order(*, single: bool) -> list[int]:
    """Where each output's scale lies among the 64, or for a single group 32, of a run."""
    if single:
        stored = [2 * i + j for i in range(4) for j in (0, 1, 8, 9, 16, 17, 24, 25)]
    else:
        stored = [i + 8 * j for i in range(8) for j in range(8)]
    return [stored.index(output) for output in range(len(stored))]


def _read(
    shards: Shards, module: str, layer: Layer, parts: Parts, dtype: torch.dtype
) -> torch.Tensor:
    scales = f"{module}.{parts.scales}"
    return decode(
        layer,
        shards.read(f"{module}.{parts.codes}"),
        require_finite(scales, shards.read(scales)),
        dtype,
    )


def _layer(directory: ModelDirectory, module: str, parts: Parts) -> Layer:
    settings = settings_for(directory.quantization, module)
    bits = whole_number(directory, settings, "bits", "w_bit", default=_BITS)
    size = group_size(directory, settings, "group_size", "q_group_size", default=-1)
    moved = settings.get("desc_act") is True and size != -1
    if bits != _BITS or moved or settings.get("sym") is False:
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: Marlin's tiles with {bits} bits"
            f"{', act-order' if moved else ''}"
            f"{', asymmetric' if settings.get('sym') is False else ''}; expected 4 bits, "
            "symmetric, without act-order",
            hint="quantize it again in format `gptq`, which Marlin's kernels read too",
        )
    require_types(directory, module, {parts.codes: "I32", parts.scales: FLOATS})
    shape = directory.shards.tensors[f"{module}.{parts.codes}"].shape
    inputs, outputs = (shape[0] * _TILE, shape[1] // 2) if len(shape) == 2 else (0, 0)
    size = inputs if size == -1 else size
    if not inputs or outputs % _OUTPUTS or not outputs or inputs % size:
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected groups of {size} in rows of a multiple of it, "
            f"and a multiple of {_OUTPUTS} rows, got {outputs} rows of {inputs}",
            hint=OTHER_MODEL,
        )
    expected = {
        parts.codes: (inputs // _TILE, 2 * outputs), parts.scales: (inputs // size, outputs),
    }  # fmt: skip
    require_shapes(directory, module, expected, f"groups of {size} in {outputs} rows of {inputs}")
    return Layer(size, inputs, outputs)
