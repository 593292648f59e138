"""GPTQ as AutoGPTQ and GPTQModel write it: 2, 3, 4 or 8 bits, checkpoint formats v1 and v2.

A linear layer ``[out, in]`` is stored as

    qweight  int32 [ceil(in * bits / 32), out]     codes, a stream down each column
    qzeros   int32 [groups, ceil(out * bits / 32)]  zero points, a stream along each row
    scales   float [groups, out]
    g_idx    int32 [in]                             the group of each input (act-order)

and decodes to ``(code - zero) * scale``. Format v1 stores each zero point less one. Source:
GPTQModel 7.6, ``nn_modules/qlinear/__init__.py`` (packing, dequantization) and ``utils/model.py``
(v1 to v2); the result is bit-exact with its torch kernel.
"""

from __future__ import annotations

import re
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
    group_size,
    require_shapes,
    settings_for,
    transposed_module,
    whole_number,
)
from bitloss.formats.storage.shards import Shards

__all__ = ["Layer", "decode", "matches", "open_checkpoint"]

_BITS = (2, 3, 4, 8)
_FORMATS = ("gptq", "gptq_v2")
_PARTS = ("qweight", "qzeros", "scales", "g_idx")
# Modules whose dense weight is [in, out], as stored: GPT's Conv1D layers and embeddings.
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|tokens_embed)$")


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
    """

    bits: int
    group_size: int
    inputs: int
    outputs: int
    v1: bool
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Of the dense weight."""
        return (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is GPTQ."""
    return quant_method(path) == "gptq"


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a GPTQ model.

    Raises:
        CheckpointError: files are missing or damaged, or shapes contradict the config.
        UnsupportedModel: a checkpoint format or a number of bits that is not decoded here.
    """
    directory = open_directory(path, name)
    config = directory.quantization
    v1 = _is_v1(directory)
    modules = quantized_modules(directory, "qweight")
    layers = {module: _layer(directory, module, v1) for module in modules}
    facts = Facts(
        "gptq",
        whole_number(directory, config, "bits"),
        group_size=group_size(directory, config, "group_size", default=-1),
        desc_act=bool(config.get("desc_act", False)),
        calibration=_calibration(config),
    )
    decoded = {
        f"{module}.qweight": (
            f"{module}.weight",
            Parameter(layer.shape, partial(_read, directory.shards, module, layer)),
        )
        for module, layer in layers.items()
    }
    parts = {f"{module}.{part}" for module in modules for part in _PARTS}
    return quantized_checkpoint(directory, facts, decoded, parts)


def decode(
    layer: Layer,
    qweight: torch.Tensor,
    qzeros: torch.Tensor,
    scales: torch.Tensor,
    g_idx: torch.Tensor | None,
) -> torch.Tensor:
    """The dense weight from tensors of the shapes in the module's docstring."""
    groups = None
    if g_idx is not None:
        groups = g_idx.long()
        if torch.equal(groups, torch.arange(layer.inputs) // layer.group_size):
            groups = None
    zeros = _zeros(qzeros, layer).t()
    scales, words = scales.t(), qweight.t().contiguous()

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        codes = unpack(words[start:stop], layer.bits, layer.inputs)
        if layer.bits < 8:  # then codes, zero points and their differences fit into int8
            codes = codes.view(torch.int8)
        dequantize(
            codes, zeros[start:stop], scales[start:stop].contiguous(), layer.group_size, groups, out
        )

    dense = by_blocks((layer.outputs, layer.inputs), scales.dtype, fill)
    return dense.t().contiguous() if layer.transposed else dense


def _zeros(qzeros: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Zero points, shape ``[groups, outputs]``."""
    if layer.v1 and layer.bits != 3:
        # GPTQModel subtracts one from all fields of a word at once when it writes, borrows
        # included, so a word is put right by the same addition, carries included.
        ones = sum(1 << shift for shift in range(0, 32, layer.bits))
        qzeros = (qzeros.long() + ones).to(torch.int32)
    zeros = unpack(qzeros, layer.bits, layer.outputs)
    if layer.v1 and layer.bits == 3:
        zeros = (zeros + 1) & 7
    return zeros.to(torch.int16) if layer.bits == 8 else zeros.to(torch.int8)


def _read(shards: Shards, module: str, layer: Layer) -> torch.Tensor:
    order = f"{module}.g_idx"
    g_idx = shards.read(order) if order in shards.tensors else None
    n_groups = -(-layer.inputs // layer.group_size)
    if g_idx is not None and not 0 <= int(g_idx.min()) <= int(g_idx.max()) < n_groups:
        raise CheckpointError(
            f"`{order}`: expected group numbers from 0 to {n_groups - 1}, "
            f"got {int(g_idx.min())} to {int(g_idx.max())}",
            hint="download the file and its config again: they contradict each other",
        )
    qweight, qzeros, scales = (shards.read(f"{module}.{part}") for part in _PARTS[:3])
    return decode(layer, qweight, qzeros, scales, g_idx)


def _layer(directory: ModelDirectory, module: str, v1: bool) -> Layer:
    """What the config says of a module, held against the shapes of its tensors."""
    tensors = directory.shards.tensors
    settings = settings_for(directory.quantization, module)
    bits = whole_number(directory, settings, "bits")
    if bits not in _BITS:
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: GPTQ with {bits} bits; "
            f"expected one of {', '.join(map(str, _BITS))}",
            hint="quantize it again with one of these",
        )
    words, outputs = tensors[f"{module}.qweight"].shape
    order = tensors.get(f"{module}.g_idx")
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
    return Layer(bits, size, inputs, outputs, v1, _is_transposed(directory, module))


def _is_transposed(directory: ModelDirectory, module: str) -> bool:
    return _EMBEDDING.search(module) is not None or transposed_module(directory, module)


def _is_v1(directory: ModelDirectory) -> bool:
    config = directory.quantization
    name = str(config.get("checkpoint_format", config.get("format", "gptq"))).lower()
    if config.get("is_marlin_format"):
        name = "marlin"
    if name not in _FORMATS or config.get("pack_dtype", "int32") != "int32":
        raise UnsupportedModel(
            f"{directory.name}: GPTQ checkpoint format `{name}` in "
            f"{config.get('pack_dtype', 'int32')}; expected {' or '.join(_FORMATS)} in int32",
            hint="convert the model with GPTQModel, or quantize it again",
        )
    if config.get("rotation"):
        raise UnsupportedModel(
            f"{directory.name}: the model is rotated (`{config['rotation']}`)",
            hint="quantize it again without rotation: rotated weights need another module graph",
        )
    return name == "gptq"


def _calibration(config: dict[str, Any]) -> str | None:
    """The calibration text's name, where transformers or the writer recorded one."""
    meta = config.get("meta")
    for source in (config, meta if isinstance(meta, dict) else {}):
        for key in ("dataset", "calibration", "calibration_dataset"):
            if isinstance(source.get(key), str):
                return str(source[key])
    return None
