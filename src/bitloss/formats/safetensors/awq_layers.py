"""One module in AWQ's GEMM layout: config against tensors, and the way to the dense weight.

A linear layer ``[out, in]`` is stored as

    qweight  int32 [in, ceil(out * bits / 32)]      codes, a stream along each row
    qzeros   int32 [groups, ceil(out * bits / 32)]  zero points, likewise
    scales   float [groups, out]

and decodes to ``(code - zero) * scale``. With 4 bits the eight outputs of a word are stored in
the order 0, 2, 4, 6, 1, 3, 5, 7 from its lowest bits up. Other widths are stored in order by
GPTQModel, and in that order of eight by AutoRound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.storage.checkpoint import Parameter
from bitloss.formats.storage.directory import ModelDirectory
from bitloss.formats.storage.packing import by_blocks, dequantize, unpack, words_for
from bitloss.formats.storage.payload import (
    FLOATS,
    require_finite,
    require_zero_points,
)
from bitloss.formats.storage.quant_config import (
    OTHER_MODEL,
    group_size,
    require_shapes,
    require_types,
    whole_number,
)
from bitloss.formats.storage.shards import Shards

__all__ = ["PARTS", "Layer", "bits_of", "decode", "group_size_of", "layer_of", "parameters"]

PARTS = ("qweight", "qzeros", "scales")
"""What is stored for a module."""

_TYPES = {"qweight": "I32", "qzeros": "I32", "scales": FLOATS}
# Where in a word, in units of a code, the outputs 0 to 7 lie.
_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)


@dataclass(frozen=True, slots=True)
class Layer:
    """How a module is quantized.

    Attributes:
        bits: of a code.
        group_size: inputs that share a scale, never -1.
        inputs: columns of the dense weight.
        outputs: its rows.
        interleaved: whether widths other than 4 have their outputs in the order of eight too.
        symmetric: whether all zero points should be in the middle.
    """

    bits: int
    group_size: int
    inputs: int
    outputs: int
    interleaved: bool = False
    symmetric: bool = False


def decode(
    layer: Layer,
    qweight: torch.Tensor,
    qzeros: torch.Tensor,
    scales: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The dense weight from tensors of the shapes in the module's docstring."""
    zeros = unpack(qzeros, layer.bits, layer.outputs)
    eights = layer.bits == 4 or layer.interleaved
    if eights:
        zeros = zeros.view(len(zeros), -1, 8)[..., list(_PLACES)].flatten(1)
    narrow = torch.int16 if layer.bits == 8 else torch.int8
    zeros, scales = zeros.t().to(narrow), scales.t()
    order = (torch.arange(0, layer.outputs, 8).unsqueeze(1) + torch.tensor(_PLACES)).flatten()
    turned = qweight.t().contiguous() if layer.bits == 4 else qweight

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        if layer.bits == 4:
            codes = _nibbles(turned[start // 8 : stop // 8])
        else:
            first, last = start * layer.bits // 32, words_for(stop, layer.bits)
            rows = unpack(qweight[:, first:last], layer.bits, stop - start)
            codes = rows.t().contiguous()
            if eights:
                codes = codes.index_select(0, order[: stop - start])
        if layer.bits < 8:
            codes = codes.view(torch.int8)
        dequantize(
            codes, zeros[start:stop], scales[start:stop].contiguous(), layer.group_size, None, out
        )

    # Blocks of 32 outputs begin at a word whatever the width.
    return by_blocks((layer.outputs, layer.inputs), dtype, fill, step=32)


def _nibbles(turned: torch.Tensor) -> torch.Tensor:
    """Codes ``[8 * words, in]`` in the outputs' order from words turned to ``[words, in]``."""
    codes = torch.empty((turned.shape[0], 8, turned.shape[1]), dtype=torch.uint8)
    for output, place in enumerate(_PLACES):
        codes[:, output] = (turned >> (4 * place)) & 15
    return codes.view(-1, turned.shape[1])


def _read(shards: Shards, module: str, layer: Layer, dtype: torch.dtype) -> torch.Tensor:
    qweight, qzeros, scales = (shards.read(f"{module}.{part}") for part in PARTS)
    require_finite(f"{module}.scales", scales)
    if layer.symmetric:
        zeros = unpack(qzeros, layer.bits, layer.outputs)
        require_zero_points(f"{module}.qzeros", zeros, layer.bits, less_one=False)
    return decode(layer, qweight, qzeros, scales, dtype)


def parameters(
    directory: ModelDirectory, layers: Mapping[str, Layer]
) -> dict[str, tuple[str, Parameter]]:
    """For `quantized_checkpoint`: the dense weights, by the stored tensors with their codes."""
    return {
        f"{module}.qweight": (
            f"{module}.weight",
            Parameter(
                (layer.outputs, layer.inputs), partial(_read, directory.shards, module, layer)
            ),
        )
        for module, layer in layers.items()
    }


def layer_of(
    directory: ModelDirectory,
    module: str,
    settings: Mapping[str, Any],
    *,
    interleaved: bool = False,
) -> Layer:
    """What the config says, held against types and shapes of the module's tensors.

    Args:
        directory: the model.
        module: one with a ``qweight``.
        settings: the module's own.
        interleaved: see `Layer`.

    Raises:
        CheckpointError: the two contradict each other.
        UnsupportedModel: a number of bits that is not decoded here.
    """
    require_types(directory, module, _TYPES)
    bits, size = bits_of(directory, settings), group_size_of(directory, settings)
    stored = directory.shards.tensors[f"{module}.qweight"].shape
    if len(stored) != 2:
        raise CheckpointError(
            f"{directory.name}: `{module}.qweight`: expected a matrix, got shape {list(stored)}",
            hint="choose a model without fused experts: they are not decoded",
        )
    inputs, words = stored
    scales = directory.shards.tensors.get(f"{module}.scales")
    outputs = scales.shape[-1] if scales and scales.shape else words * 32 // bits
    size = inputs if size == -1 else size
    if not inputs or inputs % size or ((bits == 4 or interleaved) and outputs % 8):
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
    symmetric = settings.get("sym") is True or settings.get("zero_point") is False
    return Layer(bits, size, inputs, outputs, interleaved, symmetric)


def bits_of(directory: ModelDirectory, settings: Mapping[str, Any]) -> int:
    """Of a code, under AutoAWQ's name or transformers'.

    Raises:
        UnsupportedModel: a number of bits that is not decoded here.
    """
    bits = whole_number(directory, settings, "bits", "w_bit")
    if not 2 <= bits <= 8:
        raise UnsupportedModel(
            f"{directory.name}: AWQ with {bits} bits; expected 2 to 8",
            hint="quantize it again with 4 bits, which every runtime reads",
        )
    return bits


def group_size_of(directory: ModelDirectory, settings: Mapping[str, Any]) -> int:
    """Inputs that share a scale, under AutoAWQ's name or transformers'.

    -1, or 0 in old files, is one group a row.
    """
    return group_size(directory, settings, "group_size", "q_group_size", zero_is_row=True)
