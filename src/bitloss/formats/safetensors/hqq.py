"""HQQ, as hqq and transformers 4 save it in safetensors: 1 to 8 bits, groups along rows or columns.

A linear layer is seen as a matrix of groups, ``[n, group]`` (axis 1, along rows) or ``[group, n]``
(axis 0), and stored as tensors beside `W_q`, numbers and texts too (texts as bytes):

    W_q        codes, packed along the first dimension: `8bit_u8`, `4bit_u8`, `2bit_u8`, `1bit_u8`
               in uint8, `3bit_32` ten to an int32; any of them viewed as floats (`view_as_float`)
    scale, zero   one per group
    shape, axis, group_size, nbits, packing, compute_dtype, ...

and decodes to ``(code - zero) * scale``, both steps in float32. The library rounds each step to the
compute dtype that the file names, the one of its scales: its weights are within one unit in the
last place of that dtype. transformers 5 neither writes nor loads HQQ; hqq's own
`save_to_safetensors` writes no quantization config, so its files are known by their tensors.
Source: hqq 0.2.8, ``core/quantize.py``, ``core/bitpack.py`` and ``core/utils.py``; bit-equal to
`HQQLinear.dequantize` where the compute dtype is float32.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    Parameter,
    of_most_weights,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.quant_config import OTHER_MODEL, require_shapes, require_types
from bitloss.formats.storage.shards import Shards, mentions

__all__ = ["Layer", "decode", "matches", "open_checkpoint"]

# By the name of a packing: bits of a field, fields to a word, and the word's type.
_PACKINGS = {
    "8bit_u8": (8, 1, torch.uint8),
    "4bit_u8": (4, 2, torch.uint8),
    "3bit_32": (3, 10, torch.int32),
    "2bit_u8": (2, 4, torch.uint8),
    "1bit_u8": (1, 8, torch.uint8),
}
_DTYPES = {
    "torch.float16": torch.float16,
    "torch.bfloat16": torch.bfloat16,
    "torch.float32": torch.float32,
}
_STORED = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
_WORDS = {torch.uint8: "U8", torch.int32: "I32"}
_NUMBERS = ("axis", "group_size", "nbits")
_PARTS = (
    "W_q", "scale", "zero", "shape", *_NUMBERS, "packing", "unpack_view_dtype", "view_as_float",
    "quant_scale", "quant_zero", "compute_dtype", "offload_meta", "encoded_state_dict",
    "stores_quant_config", "channel_wise", "optimize", "round_zero",
)  # fmt: skip
# Settings that hqq itself cannot write to safetensors or that say what is not decoded here.
_REFUSED = {
    "quant_scale": (1, "quantized scales: hqq writes them into pickles only"),
    "quant_zero": (1, "quantized zero points: hqq writes them into pickles only"),
    "offload_meta": (1, "scales and zero points kept apart from the layer (`offload_meta`)"),
    "channel_wise": (0, "one scale for the whole matrix (`channel_wise` false)"),
}
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Layer:
    """How one module is quantized.

    Attributes:
        bits: of a code, as the file says: 1.58 has three values.
        packing: the name of the layout of codes.
        axis: 1 where groups are rows of the packed matrix, 0 where they are columns.
        group_size: weights that share a scale.
        shape: of the dense weight, ``[out, in]``.
        dtype: what the library computes it in, and what codes may be viewed as.
    """

    bits: float
    packing: str
    axis: int
    group_size: int
    shape: tuple[int, int]
    dtype: torch.dtype

    @property
    def matrix(self) -> tuple[int, int]:
        """The shape of the matrix of groups, unpacked."""
        groups = math.prod(self.shape) // self.group_size
        return (groups, self.group_size) if self.axis else (self.group_size, groups)

    @property
    def packed(self) -> tuple[int, int]:
        """The shape of the matrix of words."""
        rows, columns = self.matrix
        return -(-rows // _PACKINGS[self.packing][1]), columns

    @property
    def scales(self) -> tuple[int, int]:
        """The shape of scales and zero points."""
        rows, columns = self.matrix
        return (rows, 1) if self.axis else (1, columns)


def matches(path: Path) -> bool:
    """Whether the path is a directory that says it holds HQQ, or says nothing and holds it."""
    method = quant_method(path)
    return method == "hqq" or (
        method is None and (path / "config.json").is_file() and mentions(path, '.W_q"')
    )


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open an HQQ model.

    Raises:
        CheckpointError: files are missing or damaged, or a layer's settings contradict its shapes.
        UnsupportedModel: a packing or a setting that is not decoded here.
    """
    directory = open_directory(path, name)
    marked = (quantized_modules(directory, part) for part in ("W_q", "encoded_state_dict"))
    layers = {module: _layer(directory, module) for module in dict.fromkeys(chain(*marked))}
    sizes: Counter[tuple[float, int | None]] = Counter()
    for layer in layers.values():
        sizes[layer.bits, layer.group_size] += math.prod(layer.shape)
    bits, group_size = of_most_weights(sizes, (16, None))
    decoded = {
        f"{module}.W_q": (
            f"{module}.weight",
            Parameter(layer.shape, partial(_read, directory.shards, module, layer)),
        )
        for module, layer in layers.items()
    }
    parts = {f"{module}.{part}" for module in layers for part in _PARTS}
    return quantized_checkpoint(
        directory, Facts("hqq", bits, group_size=group_size), decoded, parts
    )


def decode(
    layer: Layer,
    words: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The dense weight.

    Args:
        layer: how it is stored.
        words: `W_q`, of any floating type where it is viewed as floats.
        scale: of the shape `Layer.scales`.
        zero: the same.
        dtype: what the weights are rounded to.
    """
    bits, fields, word = _PACKINGS[layer.packing]
    words = words.contiguous().view(word)
    rows, columns = layer.matrix
    packed_rows = words.shape[0]
    scale, zero = scale.float(), zero.float()
    dense = torch.empty((rows, columns), dtype=dtype)
    step = max(_BLOCK // max(columns, 1), 1)
    exact = torch.empty((min(step, packed_rows), columns))
    for start in range(0, packed_rows, step):
        block = words[start : start + step]
        for field in range(fields):  # the first one lies in the highest bits
            first = field * packed_rows + start
            out = dense[first : first + len(block)]
            if len(out) == 0:  # the last field of three bits may be padding
                continue
            codes = block[: len(out)] >> (bits * (fields - 1 - field))
            if bits < 8:
                codes = codes & (2**bits - 1)
            place = slice(first, first + len(out)) if layer.axis else slice(None)
            values = exact[: len(out)] if dtype != torch.float32 else out
            torch.sub(codes, zero[place], out=values)
            values.mul_(scale[place])
            if values is not out:
                out.copy_(values)
    return dense.view(layer.shape)


def _read(shards: Shards, module: str, layer: Layer, dtype: torch.dtype) -> torch.Tensor:
    words, scale, zero = (shards.read(f"{module}.{part}") for part in ("W_q", "scale", "zero"))
    return decode(layer, words, scale, zero, dtype)


def _layer(directory: ModelDirectory, module: str) -> Layer:
    """What a module's tensors say of it, held against their shapes."""
    _require_settings(directory, module)
    packing, dtype = _text(directory, module, "packing"), _text(directory, module, "compute_dtype")
    if packing not in _PACKINGS or dtype not in _DTYPES:
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: HQQ packing `{packing}` computed in `{dtype}`; "
            f"expected one of {', '.join(_PACKINGS)} and of {', '.join(_DTYPES)}",
            hint="quantize the model again with hqq 0.2 or later",
        )
    axis, group_size, bits = (_number(directory, module, part) for part in _NUMBERS)
    shape = _shape(directory, module)
    if axis not in (0, 1) or group_size < 1 or math.prod(shape) % int(group_size):
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected axis 0 or 1 and groups that divide "
            f"{list(shape)}, got axis {axis} and groups of {group_size}",
            hint=OTHER_MODEL,
        )
    layer = Layer(bits, packing, int(axis), int(group_size), shape, _DTYPES[dtype])
    _require_fit(directory, module, layer)
    return layer


def _require_settings(directory: ModelDirectory, module: str) -> None:
    tensors = directory.shards.tensors
    if f"{module}.encoded_state_dict" not in tensors:
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: no tensor `{module}.encoded_state_dict`; expected the "
            "layout of hqq 0.2 or later, which keeps a layer's settings in tensors",
            hint="save the model again with hqq's `AutoHQQHFModel.save_to_safetensors`",
        )
    for part, (value, what) in _REFUSED.items():
        if f"{module}.{part}" in tensors and _number(directory, module, part) == value:
            raise UnsupportedModel(
                f"{directory.name}: `{module}.{part}`: {what}; expected a scale and a zero point "
                "per group beside the codes",
                hint="quantize the model again with hqq's default settings",
            )


def _require_fit(directory: ModelDirectory, module: str, layer: Layer) -> None:
    bits, _, word = _PACKINGS[layer.packing]
    rows, columns = layer.packed
    words, shape = _WORDS[word], (rows, columns)
    if _number(directory, module, "view_as_float"):
        words = _STORED[layer.dtype]
        shape = (rows, columns * word.itemsize // layer.dtype.itemsize)
    why = (
        f"{bits}-bit fields, groups of {layer.group_size} along axis {layer.axis} "
        f"of {list(layer.shape)}"
    )
    expected = {"W_q": shape, "scale": layer.scales, "zero": layer.scales}
    require_shapes(directory, module, expected, why)
    floats = " ".join(_STORED.values())
    require_types(directory, module, {"W_q": words, "scale": floats, "zero": floats})


def _part(directory: ModelDirectory, module: str, part: str) -> tuple[str, bytes]:
    """The type and data of one of a module's small tensors."""
    name = f"{module}.{part}"
    if name not in directory.shards.tensors:
        raise CheckpointError(f"{directory.name}: no tensor `{name}`", hint=OTHER_MODEL)
    return directory.shards.tensors[name].dtype, directory.shards.read_bytes(name)


def _text(directory: ModelDirectory, module: str, part: str) -> str:
    dtype, data = _part(directory, module, part)
    if dtype != "U8" or not data.isascii():
        raise _misstored(directory, module, part, "text", dtype)
    return data.decode("ascii")


def _number(directory: ModelDirectory, module: str, part: str) -> float:
    dtype, data = _part(directory, module, part)
    size = {"U8": 1, "I32": 4, "I64": 8, "F32": 4}.get(dtype)
    if size != len(data):
        raise _misstored(directory, module, part, "a number", dtype)
    if dtype == "F32":  # 1.58 bits
        return round(torch.frombuffer(bytearray(data), dtype=torch.float32).item(), 4)
    return int.from_bytes(data, "little", signed=dtype != "U8")


def _shape(directory: ModelDirectory, module: str) -> tuple[int, int]:
    dtype, _ = _part(directory, module, "shape")
    if dtype not in ("I64", "I32"):
        raise _misstored(directory, module, "shape", "two sizes", dtype)
    shape = directory.shards.read_integers(f"{module}.shape")
    if len(shape) != 2 or min(shape) < 1:
        raise _misstored(directory, module, "shape", "two sizes", str(shape))
    return shape[0], shape[1]


def _misstored(
    directory: ModelDirectory, module: str, part: str, what: str, got: str
) -> CheckpointError:
    return CheckpointError(
        f"{directory.name}: `{module}.{part}`: expected {what}, got {got}",
        hint="download the checkpoint again, or save the model again with hqq",
    )
