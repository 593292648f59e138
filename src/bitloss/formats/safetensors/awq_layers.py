"""AWQ in the GEMM layout, as AutoAWQ and GPTQModel write it.

A linear layer ``[out, in]`` is stored as

    qweight  int32 [in, ceil(out * bits / 32)]      codes, a stream along each row
    qzeros   int32 [groups, ceil(out * bits / 32)]  zero points, likewise
    scales   float [groups, out]

and decodes to ``(code - zero) * scale``. With 4 bits the eight outputs of a word are stored in
the order 0, 2, 4, 6, 1, 3, 5, 7 from its lowest bits up; other widths, which only GPTQModel
writes, are stored in order. Source: GPTQModel 7.6, ``quantization/awq/utils/packing_utils.py``;
the result is bit-exact with its ``dequantize_gemm``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    Parameter,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.packing import by_blocks, dequantize, unpack, words_for
from bitloss.formats.storage.quant_config import (
    OTHER_MODEL,
    group_size,
    require_shapes,
    settings_for,
    whole_number,
)
from bitloss.formats.storage.shards import Shards

__all__ = ["Layer", "decode", "matches", "open_checkpoint"]

_PARTS = ("qweight", "qzeros", "scales")
# Where in a word, in units of four bits, the outputs 0 to 7 lie.
_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)


@dataclass(frozen=True, slots=True)
class Layer:
    """How a module is quantized: bits, inputs that share a scale (never -1), dense sizes."""

    bits: int
    group_size: int
    inputs: int
    outputs: int


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is AWQ."""
    return quant_method(path) == "awq"


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open an AWQ model.

    Raises:
        CheckpointError: files are missing or damaged, or shapes contradict the config.
        UnsupportedModel: a layout other than GEMM.
    """
    directory = open_directory(path, name)
    _require_gemm(directory)
    modules = quantized_modules(directory, "qweight")
    layers = {module: _layer(directory, module) for module in modules}
    config = directory.quantization
    facts = Facts("awq", _bits(directory, config), group_size=_group_size(directory, config))
    decoded = {
        f"{module}.qweight": (
            f"{module}.weight",
            Parameter(
                (layer.outputs, layer.inputs), partial(_read, directory.shards, module, layer)
            ),
        )
        for module, layer in layers.items()
    }
    parts = {f"{module}.{part}" for module in modules for part in _PARTS}
    return quantized_checkpoint(directory, facts, decoded, parts)


def decode(
    layer: Layer, qweight: torch.Tensor, qzeros: torch.Tensor, scales: torch.Tensor
) -> torch.Tensor:
    """The dense weight from tensors of the shapes in the module's docstring."""
    zeros = unpack(qzeros, layer.bits, layer.outputs)
    if layer.bits == 4:
        zeros = zeros.view(len(zeros), -1, 8)[..., list(_PLACES)].flatten(1)
    narrow = torch.int16 if layer.bits == 8 else torch.int8
    zeros, scales = zeros.t().to(narrow), scales.t()
    turned = qweight.t().contiguous() if layer.bits == 4 else qweight

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        if layer.bits == 4:
            codes = _nibbles(turned[start // 8 : stop // 8])
        else:
            first, last = start * layer.bits // 32, words_for(stop, layer.bits)
            rows = unpack(qweight[:, first:last], layer.bits, stop - start)
            codes = rows.t().contiguous()
        if layer.bits < 8:
            codes = codes.view(torch.int8)
        dequantize(
            codes, zeros[start:stop], scales[start:stop].contiguous(), layer.group_size, None, out
        )

    # Blocks of 32 outputs begin at a word whatever the width.
    return by_blocks((layer.outputs, layer.inputs), scales.dtype, fill, step=32)


def _nibbles(turned: torch.Tensor) -> torch.Tensor:
    """Codes ``[8 * words, in]`` in the outputs' order from words turned to ``[words, in]``."""
    codes = torch.empty((turned.shape[0], 8, turned.shape[1]), dtype=torch.uint8)
    for output, place in enumerate(_PLACES):
        codes[:, output] = (turned >> (4 * place)) & 15
    return codes.view(-1, turned.shape[1])


def _read(shards: Shards, module: str, layer: Layer) -> torch.Tensor:
    qweight, qzeros, scales = (shards.read(f"{module}.{part}") for part in _PARTS)
    return decode(layer, qweight, qzeros, scales)


def _require_gemm(directory: ModelDirectory) -> None:
    config = directory.quantization
    layouts = {
        str(config[key]).lower()
        for key in ("version", "format", "checkpoint_format")
        if config.get(key)
    }
    if layouts - {"gemm"}:
        raise UnsupportedModel(
            f"{directory.name}: AWQ layout `{', '.join(sorted(layouts))}`; expected gemm",
            hint="quantize again with version `gemm`, which every runtime reads",
        )


def _layer(directory: ModelDirectory, module: str) -> Layer:
    """What the config says, held against the shapes of the module's tensors."""
    settings = settings_for(directory.quantization, module)
    bits, size = _bits(directory, settings), _group_size(directory, settings)
    inputs, words = directory.shards.tensors[f"{module}.qweight"].shape
    scales = directory.shards.tensors.get(f"{module}.scales")
    outputs = scales.shape[-1] if scales else words * 32 // bits
    size = inputs if size == -1 else size
    if inputs % size or (bits == 4 and outputs % 8):
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected inputs that are a multiple of the group "
            f"size {size} and outputs that are one of 8, got {inputs} and {outputs}",
            hint=OTHER_MODEL,
        )
    expected = {
        "qweight": (inputs, words_for(outputs, bits)),
        "qzeros": (inputs // size, words_for(outputs, bits)),
        "scales": (inputs // size, outputs),
    }
    why = f"{bits} bits and groups of {size} in rows of {inputs}"
    require_shapes(directory, module, expected, why)
    return Layer(bits, size, inputs, outputs)


def _bits(directory: ModelDirectory, settings: dict[str, Any]) -> int:
    bits = whole_number(directory, settings, "bits", "w_bit")
    if not 2 <= bits <= 8:
        raise UnsupportedModel(
            f"{directory.name}: AWQ with {bits} bits; expected 2 to 8",
            hint="quantize it again with 4 bits, which every runtime reads",
        )
    return bits


def _group_size(directory: ModelDirectory, settings: dict[str, Any]) -> int:
    """Under AutoAWQ's name or transformers'; -1, or 0 in old files, is one group a row."""
    return group_size(directory, settings, "group_size", "q_group_size", zero_is_row=True)
