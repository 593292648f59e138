"""One module in GPTQ's layout: config against tensors, and the way to the dense weight.

A linear layer ``[out, in]`` is stored as

    qweight  int32 [ceil(in * bits / 32), out]     codes, a stream down each column
    qzeros   int32 [groups, ceil(out * bits / 32)]  zero points, a stream along each row
    scales   float [groups, out]
    g_idx    int32 [in]                             the group of each input (act-order)

and decodes to ``(code - zero) * scale``, in float32, where a product with 16-bit scales is exact.
Format v1 stores each zero point less one. Widths of 5, 6 and 7 bits, and 3 in format ``gptq_p``,
lie in planes of bits where GPTQModel wrote them
(`bitloss.formats.storage.packing.unpack_planes`), and as streams where AutoRound did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.storage.checkpoint import Parameter
from bitloss.formats.storage.directory import ModelDirectory
from bitloss.formats.storage.packing import (
    by_blocks,
    dequantize,
    unpack,
    unpack_planes,
    words_for,
)
from bitloss.formats.storage.payload import (
    FLOATS,
    column_groups,
    require_finite,
    require_zero_points,
)
from bitloss.formats.storage.quant_config import (
    group_size,
    require_shapes,
    require_types,
    transposed_module,
    whole_number,
)
from bitloss.formats.storage.shards import Shards

__all__ = ["PARTS", "Label", "Layer", "decode", "layer_of", "parameters", "zeros_in_order"]

PARTS = ("qweight", "qzeros", "scales", "g_idx")
"""What is stored for a module."""

_BITS = (2, 3, 4, 5, 6, 7, 8)
_TYPES = {"qweight": "I32", "qzeros": "I32", "scales": FLOATS, "g_idx": "I32 I64"}
# Modules whose dense weight is [in, out], as stored: GPT's Conv1D layers and embeddings.
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|tokens_embed)$")


@dataclass(frozen=True, slots=True)
class Label:
    """What a config says of all modules.

    Attributes:
        v1: zero points are stored less one.
        planes: widths that lie in planes of bits, not as streams.
        zeros_in_order: a group index of zeros means columns in order.
    """

    v1: bool
    planes: tuple[int, ...] = ()
    zeros_in_order: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """How one module is quantized.

    Attributes:
        bits: of a code.
        group_size: inputs that share a scale, never -1.
        inputs: columns of the dense weight.
        outputs: its rows.
        v1: whether zero points are stored less one.
        transposed: whether the dense weight is ``[in, out]``.
        planar: whether codes and zero points lie in planes of bits.
        symmetric: whether all zero points should be in the middle.
        act_order: whether inputs should be moved between groups.
        zeros_in_order: whether a group index of zeros means inputs in order.
    """

    bits: int
    group_size: int
    inputs: int
    outputs: int
    v1: bool
    transposed: bool = False
    planar: bool = False
    symmetric: bool = False
    act_order: bool = False
    zeros_in_order: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Of the dense weight."""
        return (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)


def layer_of(
    directory: ModelDirectory, module: str, settings: Mapping[str, Any], label: Label
) -> Layer:
    """What the config says of a module, held against types and shapes of its tensors.

    Args:
        directory: the model.
        module: one with a ``qweight``.
        settings: the module's own: ``bits``, ``group_size``, ``sym``, ``desc_act``.
        label: what holds for all modules.

    Raises:
        CheckpointError: the two contradict each other.
        UnsupportedModel: a number of bits that is not decoded here.
    """
    require_types(directory, module, _TYPES)
    tensors = directory.shards.tensors
    bits = whole_number(directory, settings, "bits")
    if bits not in _BITS:
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: GPTQ with {bits} bits; "
            f"expected one of {', '.join(map(str, _BITS))}",
            hint="quantize it again with one of these",
        )
    stored = tensors[f"{module}.qweight"].shape
    order = tensors.get(f"{module}.g_idx")
    if len(stored) != 2 or (order is not None and len(order.shape) != 1):
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected a matrix `qweight` and a list `g_idx`, got "
            f"shapes {list(stored)} and {list(order.shape) if order else 'none'}",
            hint="choose a model without fused experts: they are not decoded",
        )
    words, outputs = stored
    inputs = order.shape[0] if order is not None else words * 32 // bits
    size = group_size(directory, settings, "group_size", default=-1)
    size = inputs if size == -1 else size
    groups = -(-inputs // size)
    expected = {
        "qweight": (words_for(inputs, bits), outputs),
        "qzeros": (groups, words_for(outputs, bits)),
        "scales": (groups, outputs),
    }
    why = f"{bits} bits and groups of {size} in rows of {inputs}"
    require_shapes(directory, module, expected, why)
    act_order = settings.get("desc_act") is True
    if act_order and order is None and groups > 1:
        raise CheckpointError(
            f"{directory.name}: `{module}`: the config says `desc_act`, and there is no "
            f"`{module}.g_idx`",
            hint="download the rest of the checkpoint, or set `desc_act` to false if it was "
            "quantized so",
        )
    planar = bits in label.planes
    if planar and (inputs % 32 or outputs % 32):
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected multiples of 32 for planes of {bits} bits, "
            f"got {inputs} inputs and {outputs} outputs",
            hint="download the checkpoint and its config again",
        )
    return Layer(
        bits, size, inputs, outputs, label.v1, _is_transposed(directory, module), planar,
        settings.get("sym") is not False, act_order, label.zeros_in_order,
    )  # fmt: skip


def parameters(
    directory: ModelDirectory, layers: Mapping[str, Layer]
) -> dict[str, tuple[str, Parameter]]:
    """For `quantized_checkpoint`: the dense weights, by the stored tensors with their codes."""
    return {
        f"{module}.qweight": (
            f"{module}.weight",
            Parameter(layer.shape, partial(_read, directory.shards, module, layer)),
        )
        for module, layer in layers.items()
    }


def zeros_in_order(directory: ModelDirectory, modules: list[str]) -> bool:
    """Whether the first module with several groups has a group index of zeros.

    Writers that move no columns leave it so, all over the model. Kernels that ignore the index
    unless the config says ``desc_act`` compute the right thing (vLLM's, exllama's).

    Raises:
        CheckpointError: the index cannot be read.
    """
    tensors = directory.shards.tensors
    for module in modules:
        order, scales = f"{module}.g_idx", tensors.get(f"{module}.scales")
        if order in tensors and scales is not None and scales.shape[:1] > (1,):
            return not bool(directory.shards.read(order).any())
    return False


def decode(
    layer: Layer,
    qweight: torch.Tensor,
    qzeros: torch.Tensor,
    scales: torch.Tensor,
    g_idx: torch.Tensor | None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The dense weight from tensors of the shapes in the module's docstring."""
    groups = None
    if g_idx is not None:
        groups = g_idx.long()
        if torch.equal(groups, torch.arange(layer.inputs) // layer.group_size):
            groups = None
    return _decode(layer, qweight, _zeros(qzeros, layer), scales, groups, dtype)


def _decode(
    layer: Layer,
    qweight: torch.Tensor,
    zeros: torch.Tensor,
    scales: torch.Tensor,
    groups: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    zeros, scales, words = zeros.t(), scales.t(), qweight.t().contiguous()
    unpacked = unpack_planes if layer.planar else unpack

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        codes = unpacked(words[start:stop], layer.bits, layer.inputs)
        if layer.bits < 8:  # then codes, zero points and their differences fit into int8
            codes = codes.view(torch.int8)
        dequantize(
            codes, zeros[start:stop], scales[start:stop].contiguous(), layer.group_size, groups, out
        )

    dense = by_blocks((layer.outputs, layer.inputs), dtype, fill)
    return dense.t().contiguous() if layer.transposed else dense


def _zeros(qzeros: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Zero points, shape ``[groups, outputs]``."""
    whole = layer.bits in (2, 4, 8)
    if layer.v1 and whole:
        # GPTQModel subtracts one from all fields of a word at once when it writes, borrows
        # included, so a word is put right by the same addition, carries included.
        ones = sum(1 << shift for shift in range(0, 32, layer.bits))
        qzeros = (qzeros.long() + ones).to(torch.int32)
    unpacked = unpack_planes if layer.planar else unpack
    zeros = unpacked(qzeros, layer.bits, layer.outputs)
    if layer.v1 and not whole:
        zeros = (zeros + 1) & (2**layer.bits - 1)
    return zeros.to(torch.int16) if layer.bits == 8 else zeros.to(torch.int8)


def _read(shards: Shards, module: str, layer: Layer, dtype: torch.dtype) -> torch.Tensor:
    order = f"{module}.g_idx"
    groups = None
    if order in shards.tensors:
        groups = column_groups(
            order, shards.read(order), layer.group_size,
            act_order=layer.act_order, zeros_in_order=layer.zeros_in_order,
        )  # fmt: skip
    qweight, qzeros, scales = (shards.read(f"{module}.{part}") for part in PARTS[:3])
    require_finite(f"{module}.scales", scales)
    zeros = _zeros(qzeros, layer)
    if layer.symmetric:
        require_zero_points(f"{module}.qzeros", zeros, layer.bits, less_one=layer.v1)
    return _decode(layer, qweight, zeros, scales, groups, dtype)


def _is_transposed(directory: ModelDirectory, module: str) -> bool:
    return _EMBEDDING.search(module) is not None or transposed_module(directory, module)
