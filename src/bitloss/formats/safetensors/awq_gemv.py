"""AWQ's layouts for single tokens, gemv and gemv_fast: four bits, one row of codes for an output.

``gemv`` stores a linear layer ``[out, in]`` as

    qweight  int32 [out, in / 8]     codes, a stream along each row
    qzeros   int32 [out, words]      zero points of the row's groups, a stream
    scales   float [out, 8 * words]

and ``gemv_fast``, which GPTQModel and mit-han-lab call ``llm-awq`` with another name for the zeros,

    qweight  int16 [out / 4, in]     of four outputs, 64 codes of each in turn, moved within 32
    scales   float [8 * words, out]
    qzeros or scaled_zeros  float, the same shape: minus the zero point times the scale

where ``words`` holds a row's groups and is rounded up, more so for small groups. ``gemv`` decodes
to ``(code - zero) * scale``, ``gemv_fast`` to ``code * scale + scaled zero``, both in float32. The
kernels round that once to the scales' type, the second one by a fused operation. Source: AutoAWQ
0.2 and GPTQModel 7.6, gemv.py and gemv_fast.py, ``calculate_zeros_width`` and ``pack_intweight``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.safetensors.awq_layers import bits_of, group_size_of
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    Parameter,
    quantized_checkpoint,
)
from bitloss.formats.storage.directory import ModelDirectory
from bitloss.formats.storage.packing import by_blocks, dequantize, unpack
from bitloss.formats.storage.payload import (
    FLOATS,
    refuse_orphans,
    require_finite,
)
from bitloss.formats.storage.quant_config import (
    OTHER_MODEL,
    require_shapes,
    require_types,
    settings_for,
)
from bitloss.formats.storage.shards import Shards

__all__ = ["Layer", "decode", "decode_fast", "open_modules"]

_PARTS = ("qweight", "qzeros", "scaled_zeros", "scales")
_PER_WORD = 8
# Rows of groups are padded to a multiple of these many words, by the size of a group.
_MULTIPLES = {16: 8, 32: 4, 64: 2}


@dataclass(frozen=True, slots=True)
class Layer:
    """Dense sizes of a module, inputs that share a scale (never -1), and where its zeros are."""

    group_size: int
    inputs: int
    outputs: int
    zeros: str = "qzeros"

    @property
    def groups(self) -> int:
        """Of a row."""
        return self.inputs // self.group_size

    @property
    def words(self) -> int:
        """That hold a row's zero points, padding included."""
        multiple = _MULTIPLES.get(self.group_size, 1)
        words = -(-self.groups // _PER_WORD)
        return -(-words // multiple) * multiple


def open_modules(
    directory: ModelDirectory, facts: Facts, modules: list[str], *, fast: bool
) -> DecodedCheckpoint:
    """Open a model in one of the two layouts.

    Raises:
        CheckpointError: tensors contradict the config.
        UnsupportedModel: other than four bits.
    """
    refuse_orphans(directory, modules, _PARTS, "qweight")
    config, read = directory.quantization, _read_fast if fast else _read
    decoded = {}
    for module in modules:
        layer = _layer(directory, module, settings_for(config, module), fast=fast)
        how = Parameter(
            (layer.outputs, layer.inputs), partial(read, directory.shards, module, layer)
        )
        decoded[f"{module}.qweight"] = (f"{module}.weight", how)
    parts = {f"{module}.{part}" for module in modules for part in _PARTS}
    return quantized_checkpoint(directory, facts, decoded, parts)


def decode(
    layer: Layer,
    qweight: torch.Tensor,
    qzeros: torch.Tensor,
    scales: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The dense weight from tensors of ``gemv``'s shapes in the module's docstring."""
    zeros = unpack(qzeros, 4, layer.groups).view(torch.int8)
    scales = scales[:, : layer.groups].contiguous()

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        codes = unpack(qweight[start:stop], 4, layer.inputs).view(torch.int8)
        dequantize(codes, zeros[start:stop], scales[start:stop], layer.group_size, None, out)

    return by_blocks((layer.outputs, layer.inputs), dtype, fill)


def decode_fast(
    layer: Layer,
    qweight: torch.Tensor,
    scaled_zeros: torch.Tensor,
    scales: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The dense weight from tensors of ``gemv_fast``'s shapes in the module's docstring."""
    # The product is exact, and so is the sum where zero points are multiples of the scale's last
    # digit: then nothing is rounded at all.
    wide = scales[: layer.groups].t().contiguous().float().unsqueeze(-1)
    zeros = scaled_zeros[: layer.groups].t().contiguous().float().unsqueeze(-1)
    grouped = (-1, layer.groups, layer.group_size)

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        values = out.view(grouped)
        values.copy_(_moved_back(qweight[start // 4 : stop // 4]).view(grouped))
        values.mul_(wide[start:stop]).add_(zeros[start:stop])

    return by_blocks((layer.outputs, layer.inputs), dtype, fill, step=4)


def _moved_back(words: torch.Tensor) -> torch.Tensor:
    """Codes ``[outputs, in]`` in order from words ``[outputs / 4, in]``.

    Blocks of 64 inputs are stored for each of four outputs in turn. Within 32, input
    ``16a + 8d + 2b + c`` is at ``8b + 4c + 2a + d``, so ``d`` says which half of a byte it is.
    """
    rows, inputs = words.shape
    pairs = words.contiguous().view(torch.uint8).view(rows, inputs // 64, 4, 2, 4, 2, 2)
    pairs = pairs.permute(0, 2, 1, 3, 6, 4, 5).reshape(rows, 4, inputs // 64, 2, 2, 8)
    codes = torch.empty((*pairs.shape[:-1], 2, 8), dtype=torch.uint8)
    torch.bitwise_and(pairs, 15, out=codes[..., 0, :])
    torch.bitwise_right_shift(pairs, 4, out=codes[..., 1, :])
    return codes.view(4 * rows, inputs)


def _read(shards: Shards, module: str, layer: Layer, dtype: torch.dtype) -> torch.Tensor:
    qweight, qzeros, scales = (
        shards.read(f"{module}.{part}") for part in ("qweight", "qzeros", "scales")
    )
    return decode(layer, qweight, qzeros, require_finite(f"{module}.scales", scales), dtype)


def _read_fast(shards: Shards, module: str, layer: Layer, dtype: torch.dtype) -> torch.Tensor:
    qweight, zeros, scales = (
        shards.read(f"{module}.{part}") for part in ("qweight", layer.zeros, "scales")
    )
    require_finite(f"{module}.{layer.zeros}", zeros)
    return decode_fast(layer, qweight, zeros, require_finite(f"{module}.scales", scales), dtype)


def _layer(
    directory: ModelDirectory, module: str, settings: Mapping[str, Any], *, fast: bool
) -> Layer:
    """What the config says, held against types and shapes of the module's tensors."""
    name = "gemv_fast" if fast else "gemv"
    bits, size = bits_of(directory, settings), group_size_of(directory, settings)
    if bits != 4:
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: AWQ layout `{name}` with {bits} bits; expected 4",
            hint="quantize it again with 4 bits",
        )
    tensors = directory.shards.tensors
    named = f"{module}.scaled_zeros" in tensors
    zeros = "scaled_zeros" if fast and named else "qzeros"
    if fast and named and f"{module}.qzeros" in tensors:
        raise CheckpointError(
            f"{directory.name}: `{module}` has both `scaled_zeros` and `qzeros`; expected one",
            hint="download the checkpoint again",
        )
    types = {"qweight": "I16" if fast else "I32", zeros: FLOATS if fast else "I32"}
    require_types(directory, module, types | {"scales": FLOATS})
    stored = tensors[f"{module}.qweight"].shape
    rows, columns = stored if len(stored) == 2 else (0, 0)
    outputs, inputs = (4 * rows, columns) if fast else (rows, _PER_WORD * columns)
    layer = Layer(inputs if size == -1 else size, inputs, outputs, zeros)
    if not inputs or inputs % layer.group_size or (fast and inputs % 64):
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected rows of a multiple of the group size "
            f"{layer.group_size}{' and of 64' if fast else ''}, got {inputs}",
            hint=OTHER_MODEL,
        )
    table = (_PER_WORD * layer.words, outputs) if fast else (outputs, _PER_WORD * layer.words)
    expected = {
        "qweight": (outputs // 4, inputs) if fast else (outputs, inputs // _PER_WORD),
        zeros: table if fast else (outputs, layer.words),
        "scales": table,
    }
    require_shapes(
        directory, module, expected,
        f"layout `{name}` and groups of {layer.group_size} in rows of {inputs}",
    )  # fmt: skip
    return layer
