"""bitsandbytes, as transformers saves it: NF4, FP4 (both also doubly quantized) and LLM.int8().

A four-bit weight of any shape is one stream of blocks that passes over the ends of rows:

    weight                               two codes per byte, the first one in the high half; the
                                         bytes may be stored under any type (`quant_storage`)
    weight.absmax                        float32 [blocks]; uint8 where quantized again
    weight.quant_map                     float32 [16], the values of the codes
    weight.nested_absmax, nested_quant_map   float32: scales and values of a quantized absmax
    weight.quant_state.bitsandbytes__nf4 JSON: shape, dtype, block size, nested offset

and decodes to ``quant_map[code] * absmax``, in float32; a nested absmax is a product and a sum in
float32 before. An LLM.int8() layer has ``weight`` int8 ``[out, in]`` and ``SCB`` float32 ``[out]``;
it decodes to ``weight * SCB / 127``. Source: bitsandbytes 0.50, ``functional.py`` (`QuantState`,
`dequantize_4bit`) and ``backends/default/ops.py``. The library takes the same steps in float32, and
rounds four-bit weights to the state's dtype at the end; rounded likewise, ours are bit-equal. Its
vectorized CPU kernel reads the wrong absmax where rows are no multiple of the block size, and is
not followed there.
"""

from __future__ import annotations

import math
import re
from collections import Counter
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
    of_most_weights,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import (
    ModelDirectory,
    open_directory,
    quant_method,
    read_quantization,
)
from bitloss.formats.storage.packing import by_blocks, unpack_pairs
from bitloss.formats.storage.quant_config import (
    OTHER_MODEL,
    require_shapes,
    require_types,
    transposed_module,
)
from bitloss.formats.storage.shards import Shards
from bitloss.spec.json_text import parse_json

__all__ = ["FourBits", "Nested", "decode_four_bits", "decode_int8", "matches", "open_checkpoint"]

# The library's values, as float32 (`get_4bit_type`). Its kernels use them whatever is stored.
_FP4 = (0.0, 0.0625 / 12, 8 / 12, 1.0, 4 / 12, 0.5, 2 / 12, 0.25)
VALUES = {
    "nf4": torch.tensor([
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ]),
    "fp4": torch.tensor([*_FP4, *(-value for value in _FP4)]),
}  # fmt: skip
_STATE = re.compile(r"^(?P<name>.+)\.quant_state\.bitsandbytes__(?P<kind>\w+)$")
_BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_DTYPES = ("float32", "float16", "bfloat16")
_STATE_KEYS = frozenset({
    "quant_type", "blocksize", "dtype", "shape",
    "nested_blocksize", "nested_dtype", "nested_offset",
})  # fmt: skip
_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
# Layouts of int8 weights that versions before 0.43 could store, by the number in `weight_format`.
_LAYOUTS = {0: "row", 1: "col32", 2: "col_turing", 3: "col_ampere"}
_INT8_STEP = 7.874015718698502e-3  # the library's 1 / 127
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Nested:
    """How absmax itself is quantized.

    Attributes:
        block_size: scales that share a scale.
        offset: what was subtracted from them.
    """

    block_size: int
    offset: float


@dataclass(frozen=True, slots=True)
class FourBits:
    """How one weight is stored in four bits.

    Attributes:
        kind: ``nf4`` or ``fp4``.
        block_size: weights that share a scale.
        shape: of the stored weight.
        nested: None where absmax is stored as it is.
        transposed: whether the dense weight is the transposed one (GPT-2's Conv1D).
    """

    kind: str
    block_size: int
    shape: tuple[int, ...]
    nested: Nested | None
    transposed: bool = False

    @property
    def blocks(self) -> int:
        """Of the weight, the last one ragged."""
        return -(-math.prod(self.shape) // self.block_size)


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is bitsandbytes.

    Transformers before 4.32 wrote its settings without the method's name.
    """
    method = quant_method(path)
    return method == "bitsandbytes" or (
        method == "unknown"
        and not {"load_in_4bit", "load_in_8bit"}.isdisjoint(read_quantization(path))
    )


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a bitsandbytes model.

    Raises:
        CheckpointError: files are missing or damaged, or a state contradicts its tensors.
        UnsupportedModel: a code, a block size or a layout of int8 that is not decoded here.
    """
    directory = open_directory(path, name)
    decoded: dict[str, tuple[str, Parameter]] = {}
    sizes: Counter[tuple[str, int, int | None]] = Counter()
    parts: set[str] = set()
    for tensor in directory.shards.tensors:
        match = _STATE.match(tensor)
        if match:
            weight = match["name"]
            four = _four_bits(directory, weight, tensor, match["kind"])
            shape = four.shape[::-1] if four.transposed else four.shape
            how = Parameter(shape, partial(_read_four_bits, directory.shards, weight, four))
            decoded[weight] = (weight, how)
            sizes[four.kind, 4, four.block_size] += math.prod(shape)
            parts |= {tensor, *(f"{weight}.{part}" for part in _PARTS)}
    for module in quantized_modules(directory, "SCB"):
        shape, transposed = _int8(directory, module)
        read = partial(_read_int8, directory.shards, module, transposed=transposed)
        how = Parameter(shape[::-1] if transposed else shape, read)
        decoded[f"{module}.weight"] = (f"{module}.weight", how)
        sizes["int8", 8, -1] += math.prod(shape)
        parts |= {f"{module}.SCB", f"{module}.weight_format"}
    _require_complete(directory, decoded, parts)
    kind, bits, group_size = of_most_weights(sizes, ("none", 16, None))
    facts = Facts(f"bitsandbytes-{kind}", bits, group_size=group_size)
    return quantized_checkpoint(directory, facts, decoded, parts)


def decode_four_bits(
    layer: FourBits,
    weight: torch.Tensor,
    absmax: torch.Tensor,
    values: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The dense weight.

    Args:
        layer: how it is stored.
        weight: the packed bytes, of any shape and type.
        absmax: float32 ``[blocks]``.
        values: float32 ``[16]``.
        dtype: what the products are rounded to.
    """
    packed = weight.contiguous().view(-1).view(torch.uint8)
    count, size = math.prod(layer.shape), layer.block_size
    dense = torch.empty(count, dtype=dtype)
    step = max(_BLOCK // size, 1) * size
    for start in range(0, count, step):
        stop = min(start + step, count)
        codes = packed[start // 2 : -(-stop // 2)]
        block = unpack_pairs(codes, values, high_first=True)[: stop - start]
        whole = (stop - start) // size * size
        scales = absmax[start // size : -(-stop // size)]
        if whole:
            block[:whole].view(-1, size).mul_(scales[: whole // size, None])
        if whole < stop - start:
            block[whole:].mul_(scales[-1])
        dense[start:stop] = block
    dense = dense.view(layer.shape)
    return dense.t().contiguous() if layer.transposed else dense


def decode_int8(
    weight: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """The dense weight.

    Args:
        weight: int8 ``[out, in]``.
        scales: float32 ``[out]``, each row's largest magnitude.
        dtype: what the weights are rounded to.
    """

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        torch.mul(weight[start:stop], scales[start:stop, None], out=out)
        out.mul_(_INT8_STEP)

    return by_blocks((weight.shape[0], weight.shape[1]), dtype, fill)


def _read_four_bits(shards: Shards, name: str, layer: FourBits, dtype: torch.dtype) -> torch.Tensor:
    values = shards.read(f"{name}.quant_map")
    if not torch.allclose(values, VALUES[layer.kind], rtol=0, atol=1e-6):
        raise UnsupportedModel(
            f"`{name}.quant_map`: expected the values of {layer.kind}, got {values.tolist()}",
            hint="quantize the model again: bitsandbytes itself decodes with its own values only",
        )
    absmax = shards.read(f"{name}.absmax")
    if layer.nested is not None:
        absmax = _nested(shards, name, layer.nested, absmax)
    return decode_four_bits(layer, shards.read(name), absmax, VALUES[layer.kind], dtype)


def _nested(shards: Shards, name: str, nested: Nested, codes: torch.Tensor) -> torch.Tensor:
    values = shards.read(f"{name}.nested_quant_map")[codes.int()]
    scales = shards.read(f"{name}.nested_absmax")
    groups = torch.arange(len(codes)) // nested.block_size
    # Two roundings, as in the library: the product, then the sum.
    return values * scales[groups] + torch.tensor(nested.offset)


def _read_int8(
    shards: Shards, module: str, dtype: torch.dtype, *, transposed: bool
) -> torch.Tensor:
    scales = shards.read(f"{module}.SCB").view(-1)
    dense = decode_int8(shards.read(f"{module}.weight"), scales, dtype)
    return dense.t().contiguous() if transposed else dense


def _four_bits(directory: ModelDirectory, name: str, tensor: str, kind: str) -> FourBits:
    """What a weight's state says of it, held against the shapes of its tensors."""
    state = _state(directory, tensor)
    if kind not in VALUES or state["quant_type"] != kind:
        raise UnsupportedModel(
            f"{directory.name}: `{name}`: bitsandbytes code `{state['quant_type']}` in "
            f"`{tensor}`; expected one of {', '.join(VALUES)}",
            hint="quantize the model again with bnb_4bit_quant_type nf4 or fp4",
        )
    size = state["blocksize"]
    if size not in _BLOCK_SIZES or state["dtype"] not in _DTYPES:
        raise UnsupportedModel(
            f"{directory.name}: `{tensor}`: expected a block size of "
            f"{', '.join(map(str, _BLOCK_SIZES))} and one of {', '.join(_DTYPES)}, "
            f"got {size} and {state['dtype']}",
            hint="quantize the model again with bitsandbytes 0.43 or later",
        )
    shape = tuple(state["shape"])
    transposed = len(shape) == 2 and transposed_module(directory, name.removesuffix(".weight"))
    nested = _nested_state(directory, name, tensor, state)
    layer = FourBits(kind, size, shape, nested, transposed)
    _require_parts(directory, name, layer)
    return layer


def _require_parts(directory: ModelDirectory, name: str, layer: FourBits) -> None:
    tensors, nested, size = directory.shards.tensors, layer.nested, layer.block_size
    expected: dict[str, tuple[int, ...]] = {"absmax": (layer.blocks,), "quant_map": (16,)}
    types = {"absmax": "F32" if nested is None else "U8", "quant_map": "F32"}
    why = f"{list(layer.shape)} in blocks of {size}"
    if nested is not None:
        expected["nested_absmax"] = (-(-layer.blocks // nested.block_size),)
        expected["nested_quant_map"] = (256,)
        types |= {"nested_absmax": "F32", "nested_quant_map": "F32"}
        why += f", their scales in blocks of {nested.block_size}"
    require_shapes(directory, name, expected, why)
    require_types(directory, name, types)
    got = tensors[name].nbytes if name in tensors else "no such tensor"
    wanted = -(-math.prod(layer.shape) // 2)
    if got != wanted:
        raise CheckpointError(
            f"{directory.name}: `{name}`: expected {wanted} bytes for {why}, got {got}",
            hint=OTHER_MODEL,
        )


def _state(directory: ModelDirectory, tensor: str) -> dict[str, Any]:
    """The JSON object in a state's tensor, its keys and types checked.

    Raises:
        CheckpointError: it is no such object.
    """
    data = directory.shards.read_bytes(tensor)
    try:
        state = parse_json(data)
        if not isinstance(state, dict) or not state.keys() <= _STATE_KEYS:
            raise ValueError(f"expected an object with keys of {', '.join(sorted(_STATE_KEYS))}")
        shape = state["shape"]
        whole = [*shape, state["blocksize"]]
        if not shape or any(type(number) is not int or number < 1 for number in whole):
            raise ValueError(f"expected sizes, got {shape} and {state['blocksize']}")
        if not all(isinstance(state[key], str) for key in ("quant_type", "dtype")):
            raise ValueError("expected texts for quant_type and dtype")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{directory.name}: `{tensor}`: not a bitsandbytes state: {error!r}"[:400],
            hint="download the checkpoint again, or save the model again",
        ) from error
    return state


def _nested_state(
    directory: ModelDirectory, name: str, tensor: str, state: dict[str, Any]
) -> Nested | None:
    tensors = directory.shards.tensors
    stored = any(f"{name}.{part}" in tensors for part in _PARTS[2:])
    keys = [key for key in state if key.startswith("nested_")]
    if not stored and not keys:
        return None
    size, offset = state.get("nested_blocksize"), state.get("nested_offset")
    sized = type(size) is int and size > 0
    shifted = isinstance(offset, (int, float)) and math.isfinite(offset)
    if not sized or not shifted or state.get("nested_dtype") != "float32":
        raise CheckpointError(
            f"{directory.name}: `{tensor}`: expected the block size, offset and float32 of a "
            f"quantized absmax, got { ({key: state[key] for key in keys}) }",
            hint="download the checkpoint again, or save the model again",
        )
    return Nested(state["nested_blocksize"], float(state["nested_offset"]))


def _int8(directory: ModelDirectory, module: str) -> tuple[tuple[int, int], bool]:
    """The stored shape of an LLM.int8() weight, and whether the dense one is transposed."""
    tensors = directory.shards.tensors
    layout = f"{module}.weight_format"
    if layout in tensors:
        number = int.from_bytes(directory.shards.read_bytes(layout), "little")
        if number != 0:
            raise UnsupportedModel(
                f"{directory.name}: `{layout}`: int8 weights in the layout "
                f"`{_LAYOUTS.get(number, number)}`; expected `row`",
                hint="load and save the model with bitsandbytes 0.43 or later: it stores rows",
            )
    weight = tensors.get(f"{module}.weight")
    shape = weight.shape if weight is not None else ()
    if len(shape) != 2:
        raise CheckpointError(
            f"{directory.name}: `{module}.weight`: expected a matrix for `{module}.SCB`, "
            f"got {list(shape) if weight is not None else 'no such tensor'}",
            hint=OTHER_MODEL,
        )
    require_types(directory, module, {"weight": "I8", "SCB": "F32"})
    if math.prod(tensors[f"{module}.SCB"].shape) != shape[0]:
        require_shapes(directory, module, {"SCB": (shape[0],)}, f"{shape[0]} rows")
    return (shape[0], shape[1]), transposed_module(directory, module)


def _require_complete(
    directory: ModelDirectory, decoded: dict[str, tuple[str, Parameter]], parts: set[str]
) -> None:
    """Refuse quantized weights whose scales or states are not there."""
    tensors = directory.shards.tensors
    for name, tensor in tensors.items():
        owner, _, part = name.rpartition(".")
        if part in _PARTS and name not in parts:
            missing = f"{owner}.quant_state.bitsandbytes__nf4 (or fp4)"
        elif name in decoded or name in parts or tensor.dtype not in ("I8", "U8"):
            continue
        elif tensor.dtype == "I8":
            missing = f"{owner}.SCB"
        else:
            missing = f"{name}.quant_state.bitsandbytes__nf4 (or fp4)"
        raise CheckpointError(
            f"{directory.name}: `{name}` is quantized: expected a tensor `{missing}`, got none",
            hint="download the rest of the checkpoint, or save the model again",
        )
