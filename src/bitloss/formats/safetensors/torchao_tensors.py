"""How torchao's tensor classes are stored and decoded (`bitloss.formats.safetensors.torchao`).

In all of them a block of weights shares a scale, and the last dimension is the inputs:

    Int8Tensor, IntxUnpackedToInt8Tensor   int8 codes; ``(code - zero_point) * scale``
    Int4Tensor     two codes of -8 to 7 per byte, the first in the low half; scales lie transposed;
                   ``code * scale + zero_point``
    Float8Tensor   float8 codes; ``code * scale``
    MXTensor       float8, or two four-bit floats per byte; scales are powers of two
    NVFP4Tensor    two four-bit floats per byte; float8 scales times one for the whole tensor

The last two may store scales in the tiles that GPUs read ("swizzled"). All steps are computed in
float32. Source: torchao 0.18, ``quantization/quantize_/workflows`` and ``prototype/mx_formats``.
Rounded to the type that a tensor's attributes name, the result is bit-equal to the class's
`dequantize`; of integers with zero points that are floats, which it rounds a step at a time, within
one unit in the last place. `Int4Tensor` has none: its formula is that of
``prototype/gptq/api.py`` (`_int4_row_dequantize_zp`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.storage.directory import ModelDirectory
from bitloss.formats.storage.packing import E2M1, by_blocks, unpack_pairs, widen
from bitloss.formats.storage.quant_config import OTHER_MODEL
from bitloss.formats.storage.shards import Shards

__all__ = ["DATA_NAMES", "Kind", "Stored", "decode", "describe", "read"]

DATA_NAMES = (
    "qdata", "scale", "zero_point", "per_tensor_scale", "scale_and_zero", "act_pre_scale",
    "act_quant_scale", "act_quant_zero_point", "act_per_tensor_scale",
)  # fmt: skip
"""The names of stored tensors of all classes, activations' included."""

_FLOATS = ("F32", "F16", "BF16")
_DTYPES = ("float32", "float16", "bfloat16")
_INT4 = torch.tensor([*range(8), *range(-8, 0)], dtype=torch.float32)
_FP4 = torch.tensor(E2M1, dtype=torch.float32)
_MX = {
    "float8_e4m3fn": (8, "F8_E4M3"), "float8_e5m2": (8, "F8_E5M2"), "float4_e2m1fn_x2": (4, "U8"),
}  # fmt: skip
_WITH_ZERO = ("Int4Tensor", "IntxUnpackedToInt8Tensor")
_WHY_NOT = {
    "Int4TilePackedTo4dTensor": "its codes lie in the tiles of a GPU's kernel, and their order "
    "could not be checked without one",
    "Int4PlainInt32Tensor": "its codes are packed by an XPU's or NPU's kernel, and their order "
    "could not be checked without one",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What holds for a tensor class.

    Attributes:
        codes: types that its codes may have.
        scales: types that its scales may have.
        dtype: the attribute that names the dense type; "" is none.
        zero: the types of a zero point, where it has one.
    """

    codes: tuple[str, ...]
    scales: tuple[str, ...]
    dtype: str
    zero: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "Int8Tensor": Kind(("I8",), _FLOATS, "dtype", ("I8", *_FLOATS)),
    "IntxUnpackedToInt8Tensor": Kind(("I8",), _FLOATS, "dtype", ("I8", *_FLOATS)),
    "Int4Tensor": Kind(("I8", "U8"), _FLOATS, "", _FLOATS),
    "Float8Tensor": Kind(("F8_E4M3", "F8_E5M2"), _FLOATS, "dtype"),
    "MXTensor": Kind(("F8_E4M3", "F8_E5M2", "U8"), ("F8_E8M0",), "orig_dtype"),
    "NVFP4Tensor": Kind(("U8",), ("F8_E4M3",), "orig_dtype"),
}


@dataclass(frozen=True, slots=True)
class Stored:
    """How one parameter is stored.

    Attributes:
        kind: its class.
        names: stored tensors by data name.
        shape: of the dense parameter.
        block: the shape of weights that share a scale, of as many dimensions.
        bits: of a code.
        swizzled: whether scales lie in tiles.
    """

    kind: str
    names: Mapping[str, str]
    shape: tuple[int, ...]
    block: tuple[int, ...]
    bits: int
    swizzled: bool = False

    @property
    def grid(self) -> tuple[int, ...]:
        """Blocks in each dimension: the shape of plain scales."""
        return tuple(size // part for size, part in zip(self.shape, self.block, strict=True))

    @property
    def tiles(self) -> int:
        """Scales that are stored where they are swizzled: tiles of 128 rows and 4 columns."""
        rows, columns = math.prod(self.grid[:-1]), self.grid[-1]
        return -(-rows // 128) * 128 * -(-columns // 4) * 4

    @property
    def packed(self) -> bool:
        """Two codes in a byte."""
        return self.bits == 4 and self.kind != "IntxUnpackedToInt8Tensor"

    @property
    def format(self) -> str:
        """For `ModelInfo.format`."""
        names = {"Float8Tensor": "float8", "NVFP4Tensor": "nvfp4", "MXTensor": f"mxfp{self.bits}"}
        return f"torchao-{names.get(self.kind, f'int{self.bits}')}"

    @property
    def group_size(self) -> int | None:
        """For `ModelInfo.group_size`: -1 is one group a row, None a block of several rows."""
        if any(size != 1 for size in self.block[:-1]):
            return None
        return -1 if self.block[-1] == self.shape[-1] else self.block[-1]


def describe(
    directory: ModelDirectory, parameter: str, prefix: str, metadata: Mapping[str, Any]
) -> Stored:
    """What the metadata say of a parameter, held against the shapes of its tensors.

    Args:
        directory: the model.
        parameter: its name.
        prefix: what the names of its stored tensors begin with.
        metadata: its class, attributes and data names.

    Raises:
        CheckpointError: the two contradict each other, or something is missing.
        UnsupportedModel: a class or an attribute that is not decoded here.
    """
    name = metadata["_type"]
    if name not in KINDS:
        reason = _WHY_NOT.get(name, f"expected one of {', '.join(KINDS)}")
        raise UnsupportedModel(
            f"{directory.name}: `{parameter}` is a torchao {name}: {reason}",
            hint="quantize the model again with a plain layout (int4_packing_format plain)",
        )
    names = _names(directory, parameter, prefix, metadata)
    attributes = metadata.get("_data")
    try:
        stored = _stored(directory, name, names, attributes if isinstance(attributes, dict) else {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{directory.name}: metadata `{parameter}`: not the attributes of a {name}: {error!r}",
            hint="download the checkpoint again, or save the model again with transformers",
        ) from error
    _require_parts(directory, parameter, stored)
    return stored


def _names(
    directory: ModelDirectory, parameter: str, prefix: str, metadata: Mapping[str, Any]
) -> dict[str, str]:
    """The stored tensors of a parameter by data name; all that are noted are there."""
    noted = metadata.get("_tensor_data_names")
    parts = ["qdata", "scale", *(map(str, noted) if isinstance(noted, list) else ())]
    if metadata["_type"] in _WITH_ZERO:
        parts.append("zero_point")
    names = {part: f"{prefix}{part}" for part in parts}
    for part, name in names.items():
        if name not in directory.shards.tensors:
            raise CheckpointError(
                f"{directory.name}: no tensor `{name}`, {part} of a {metadata['_type']}",
                hint=OTHER_MODEL,
            )
    if "act_pre_scale" in names:
        raise UnsupportedModel(
            f"{directory.name}: `{parameter}`: inputs are scaled before the product "
            "(`act_pre_scale`); expected a weight that stands for itself",
            hint="quantize the model again without AWQ or SmoothQuant scales",
        )
    return names


def _stored(
    directory: ModelDirectory, kind: str, names: dict[str, str], attributes: dict[str, Any]
) -> Stored:
    codes = directory.shards.tensors[names["qdata"]]
    scale = directory.shards.tensors[names["scale"]]
    bits, shape = 8, codes.shape
    swizzled = attributes.get("is_swizzled_scales") is True
    if kind == "MXTensor":
        element = _value(attributes["elem_dtype"])
        if element not in _MX or codes.dtype != _MX[element][1]:
            raise UnsupportedModel(
                f"{directory.name}: `{names['qdata']}`: MX elements `{element}` in {codes.dtype}; "
                f"expected one of {', '.join(_MX)}",
                hint="quantize the model again with float8 or float4 elements",
            )
        bits = _MX[element][0]
    elif kind in ("Int4Tensor", "NVFP4Tensor"):
        bits = 4
    elif kind == "IntxUnpackedToInt8Tensor":
        bits = int(_value(attributes["target_dtype"]).removeprefix("int"))
        if not 1 <= bits <= 8:
            raise ValueError(f"int{bits}")
    if codes.shape and bits == 4 and kind != "IntxUnpackedToInt8Tensor":
        shape = (*shape[:-1], shape[-1] * 2)
    if "shape" in attributes and tuple(attributes["shape"]) != shape:
        raise ValueError(f"shape {attributes['shape']}, and codes for {list(shape)}")
    block = _block(kind, attributes.get("block_size"), shape, scale.shape)
    attribute = KINDS[kind].dtype
    if attribute and _value(attributes[attribute]) not in _DTYPES:
        raise ValueError(f"{attribute} {_value(attributes[attribute])!r}")
    return Stored(kind, names, shape, block, bits, swizzled)


def _value(attribute: Any) -> str:
    """An attribute that is a text or a torch type."""
    return str(attribute["_data"] if isinstance(attribute, dict) else attribute)


def _block(
    kind: str, size: Any, shape: tuple[int, ...], scales: tuple[int, ...]
) -> tuple[int, ...]:
    if isinstance(size, int):  # MX and NVFP4
        block = (*(1 for _ in shape[:-1]), size)
    elif size:
        block = tuple(size)
    elif kind == "Float8Tensor":  # not noted: what scales of this shape must mean
        grid = scales if math.prod(scales) != 1 else tuple(1 for _ in shape)
        block = tuple(whole // max(part, 1) for whole, part in zip(shape, grid, strict=True))
    else:
        raise ValueError(f"block_size {size!r}")
    bad = len(block) != len(shape) or any(type(part) is not int or part < 1 for part in block)
    if bad or any(whole % part for whole, part in zip(shape, block, strict=True)):
        raise ValueError(f"block_size {list(block)} for {list(shape)}")
    return block


def _require_parts(directory: ModelDirectory, parameter: str, stored: Stored) -> None:
    tensors, kind = directory.shards.tensors, KINDS[stored.kind]
    types = {"qdata": kind.codes, "scale": kind.scales, "zero_point": kind.zero,
             "per_tensor_scale": ("F32",)}  # fmt: skip
    sizes = {"scale": stored.tiles if stored.swizzled else math.prod(stored.grid)}
    sizes["zero_point"] = math.prod(stored.grid)
    if "per_tensor_scale" in stored.names:
        sizes["per_tensor_scale"] = math.prod(stored.shape[:-2])
    for part, name in stored.names.items():
        tensor = tensors[name]
        if tensor.dtype not in types.get(part, (tensor.dtype,)):
            raise UnsupportedModel(
                f"{directory.name}: `{name}`: expected {' or '.join(types[part]) or 'no such part'}"
                f" for a {stored.kind}, got {tensor.dtype}",
                hint="save the model again with the library that quantized it",
            )
        wanted = sizes.get(part)
        lies = (*stored.grid[:-2], *stored.grid[:-3:-1])  # scales of Int4Tensor: transposed
        wrong = stored.kind == "Int4Tensor" and part in sizes and tensor.shape != lies
        if wrong or (wanted is not None and math.prod(tensor.shape) != wanted):
            raise CheckpointError(
                f"{directory.name}: `{name}`: expected {wanted} values for {list(stored.shape)} in "
                f"blocks of {list(stored.block)}, got shape {list(tensor.shape)}",
                hint=OTHER_MODEL,
            )


def read(shards: Shards, stored: Stored, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The dense parameter, computed in float32 and rounded to `dtype`.

    Raises:
        CheckpointError: a tensor cannot be read.
    """
    return decode(stored, {part: shards.read(name) for part, name in stored.names.items()}, dtype)


def decode(
    stored: Stored, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """The dense parameter from its stored tensors by data name, rounded to `dtype`."""
    scale = _per_row(stored, _scale(stored, tensors))
    zero = tensors.get("zero_point")
    if zero is not None:
        transposed = zero.mT if stored.kind == "Int4Tensor" else zero
        zero = _per_row(stored, transposed.reshape(stored.grid).float())[..., None]
    codes = tensors["qdata"].reshape(-1, tensors["qdata"].shape[-1])
    values = _INT4 if stored.kind == "Int4Tensor" else _FP4
    rows, columns = math.prod(stored.shape[:-1]), stored.shape[-1]
    groups = (columns // stored.block[-1], stored.block[-1])

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        block, dense = codes[start:stop], out.view(stop - start, *groups)
        if stored.packed:
            out.copy_(unpack_pairs(block, values, high_first=False))
        else:
            out.copy_(widen(block, torch.float32))
        if zero is not None and stored.kind != "Int4Tensor":
            dense.sub_(zero[start:stop])
        dense.mul_(scale[start:stop, :, None])
        if zero is not None and stored.kind == "Int4Tensor":
            dense.add_(zero[start:stop])

    return by_blocks((rows, columns), dtype, fill).view(stored.shape)


def _scale(stored: Stored, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Scales in the shape of the grid, in float32."""
    scale = tensors["scale"]
    if stored.swizzled:
        scale = _unswizzled(stored, scale)
    if stored.kind == "MXTensor":  # an exponent with a bias of 127; 255 is not a number
        exponent = scale.contiguous().view(torch.uint8)
        power = torch.pow(torch.tensor(2.0), exponent.to(torch.int16) - 127)
        scale = torch.where(exponent == 255, torch.nan, power)
    elif stored.kind == "NVFP4Tensor":
        scale = scale.to(torch.float32).reshape(stored.grid)
        if "per_tensor_scale" in tensors:
            scale = tensors["per_tensor_scale"] * scale
    elif stored.kind == "Int4Tensor":
        scale = scale.mT
    return scale.reshape(stored.grid).float()


def _unswizzled(stored: Stored, scale: torch.Tensor) -> torch.Tensor:
    """Scales out of tiles of 128 rows by 4 columns, whose rows lie 32 apart.

    Source: ``from_blocked`` in torchao's ``prototype/mx_formats/utils.py``, and
    docs.nvidia.com/cuda/cublas/index.html#d-block-scaling-factors-layout.
    """
    rows, columns = math.prod(stored.grid[:-1]), stored.grid[-1]
    high, wide = -(-rows // 128), -(-columns // 4)
    bits = scale.contiguous().view(torch.uint8).view(high, wide, 32, 4, 4)
    plain = bits.permute(0, 3, 2, 1, 4).reshape(high * 128, wide * 4)
    return plain[:rows, :columns].contiguous().view(scale.dtype)


def _per_row(stored: Stored, grid: torch.Tensor) -> torch.Tensor:
    """A value per block as ``[rows, groups]``, rows of all leading dimensions."""
    for dim, size in enumerate(stored.block[:-1]):
        if size > 1:
            grid = grid.repeat_interleave(size, dim=dim)
    return grid.reshape(-1, grid.shape[-1])
