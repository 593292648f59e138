"""EXL3, as exllamav3 and GPTQModel write it: a trellis of 1 to 8 bits between two rotations.

A linear layer ``[out, in]`` is stored as

    trellis  int16 [in / 16, out / 16, 16 * bits]  a ring of 256 steps for each tile of 16 x 16
    suh      fp16 [in]                             scales and signs of the inputs
    svh      fp16 [out]                            of the outputs
    mcg or mul1  int32                             the codebook's multiplier; none is 3INST

Older files have signs alone, a bit each (``su``, ``sv``). A tile's words are a ring of bits, the
highest first; each step adds `bits` of them, and the last 16 bits are a state, which a codebook
turns into a value. Half a bit means steps that add one bit more every other time. With a
Hadamard matrix H of 128 by 128, the weight is ``(diag(suh) H values H diag(svh)).T``. Source:
exllamav3 1.6.5, ``exllamav3_ext/quant/codebook.cuh``, ``exl3_dq.cuh``, ``frac.cu`` and
``modules/quant/exl3.py``. The codebook's values are rounded to fp16, which is part of the format:
it defines a value as one operation on fp16 numbers, and the trellis was searched with the result.
All else is computed in float32, as in GPTQModel's torch kernel.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
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
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.quant_config import OTHER_MODEL, require_shapes
from bitloss.formats.storage.shards import Shards
from bitloss.spec.json_text import parse_json

__all__ = ["Layer", "decode", "matches", "open_checkpoint"]

_PARTS = ("trellis", "suh", "svh", "su", "sv", "mcg", "mul1")
_HEAD = "lm_head"
_TILE = 16
_ROTATION = 128
# Inputs and outputs decoded at once, multiples of 128. Powers of two collide in the cache.
_DEEP, _WIDE = 384, 384
# The multipliers of the codebooks; exllamav3's kernels have them as constants.
_MULTIPLIERS = {"3inst": 89226354, "mcg": 0xCBAC1FED, "mul1": 0x83DCD12D}
_3INST_OFFSET = 64248484
_MASK, _BIAS = 0x8FFF8FFF, 0x3B603B60
_STORAGE = "quantization_config.json"


@dataclass(frozen=True, slots=True)
class Layer:
    """How a module is stored.

    Attributes:
        bits: of a weight; whole or half numbers.
        codebook: ``3inst``, ``mcg`` or ``mul1``.
        inputs: columns of the stored weight.
        outputs: its rows.
        kept: rows of the dense weight; the rest is padding.
    """

    bits: float
    codebook: str
    inputs: int
    outputs: int
    kept: int


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is EXL3."""
    return quant_method(path) == "exl3"


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open an EXL3 model.

    Raises:
        CheckpointError: files are missing or damaged, or shapes contradict the config.
        UnsupportedModel: a codebook or a number of bits that is not decoded here.
    """
    directory = open_directory(path, name)
    modules = quantized_modules(directory, "trellis")
    layers = {module: _layer(directory, module) for module in modules}
    _require_storage(directory, layers)
    decoded = {
        f"{module}.trellis": (
            f"{module}.weight",
            Parameter((layer.kept, layer.inputs), partial(_read, directory.shards, module, layer)),
        )
        for module, layer in layers.items()
    }
    parts = {f"{module}.{part}" for module in modules for part in _PARTS}
    facts = Facts("exl3", _bits(directory, layers), calibration=None)
    return quantized_checkpoint(directory, facts, decoded, parts)


def decode(
    layer: Layer,
    trellis: torch.Tensor,
    suh: torch.Tensor,
    svh: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """The dense weight ``[kept, inputs]`` from tensors of the docstring's shapes.

    It is computed in float32 and rounded to `dtype`.
    """
    table = _codebook(layer.codebook)
    result = torch.empty((layer.kept, layer.inputs), dtype=dtype)
    # Both rotations are by matrices of 1 and -1 over the root of 128: here once, exactly.
    suh, svh = suh.float().unsqueeze(1), svh.float().unsqueeze(1) / _ROTATION
    first, second = torch.empty(2, min(_DEEP, layer.inputs) * min(_WIDE, layer.outputs))
    for top in range(0, layer.inputs, _DEEP):
        bottom = min(top + _DEEP, layer.inputs)
        words = trellis[top // _TILE : bottom // _TILE]
        for left in range(0, layer.kept, _WIDE):  # what lies between stays in the cache
            right = min(left + _WIDE, layer.outputs)
            states = _states(words[:, left // _TILE : right // _TILE], layer.bits)
            values, other = first[: states.numel()], second[: states.numel()]
            torch.index_select(table, 0, states.view(-1), out=values)
            _rotate(values, right - left, other)
            values.view(bottom - top, -1).mul_(suh[top:bottom])
            # From columns within a tile, then tiles, to the order of outputs.
            ordered = values.view(bottom - top, _TILE, -1).permute(2, 1, 0)
            other.view(ordered.shape).copy_(ordered)
            _rotate(other, bottom - top, values)
            stop = min(right, layer.kept)
            rows = other.view(right - left, -1)[: stop - left]
            result[left:stop, top:bottom] = rows.mul_(svh[left:stop])
    return result


def _rotate(rows: torch.Tensor, columns: int, scratch: torch.Tensor) -> None:
    """Multiply each 128 rows by an unscaled Hadamard matrix, in place.

    By that of 16, then by that of 8 for rows apart by 16: a product with all of it would take four
    times as many operations.

    Args:
        rows: one dimension, rows of `columns`.
        columns: of a row.
        scratch: as many numbers.
    """
    blocks = (-1, 16, columns)
    torch.matmul(_hadamard(16), rows.view(blocks), out=scratch.view(blocks))
    blocks = (-1, 8, 16 * columns)
    torch.matmul(_hadamard(8), scratch.view(blocks), out=rows.view(blocks))


def _states(words: torch.Tensor, bits: float) -> torch.Tensor:
    """The states of a few rows of tiles.

    Steps come in rings of 256, and after 32 of them their places in the words repeat. Within a
    tile they go through the rows as tensor cores want them: step ``32 * a + b`` lies in a row
    that `b` says, and in column ``a`` or ``a + 8``.

    Args:
        words: int16, shape ``[rows of tiles, tiles in a row, words of a tile]``.
        bits: of a step.

    Returns:
        int32, shape ``[rows of tiles, 16 rows, 16 columns, tiles in a row]``.
    """
    tall, wide, count = words.shape
    # Halves of 32-bit words, the higher one first.
    halves = (words.to(torch.int32) & 0xFFFF).view(tall, wide, count // 2, 2).flip(-1)
    halves = halves.reshape(tall, wide, count)
    pairs = ((halves.roll(1, dims=-1) << 16) | halves).view(tall, wide, 8, count // 8)
    pairs = pairs.permute(3, 0, 2, 1).contiguous()
    states = torch.empty((tall, _TILE, 2, 8, wide), dtype=torch.int32)
    end = 0
    for step in range(32):
        end += int(bits) + (step % 2 if bits % 1 else 0)
        word = (end - 1) // 16
        row = 2 * (step // 8) + (0, 1, 8, 9)[step % 4]
        place = states[:, row, step // 4 % 2]
        torch.bitwise_right_shift(pairs[word], 16 * (word + 1) - end, out=place)
    return states.bitwise_and_(0xFFFF)


@lru_cache(maxsize=3)
def _codebook(name: str) -> torch.Tensor:
    """The value of each of 65,536 states, rounded to fp16 as exllamav3's kernels round it."""
    values: torch.Tensor
    products = torch.arange(1 << 16, dtype=torch.int64) * _MULTIPLIERS[name]
    if name == "mul1":
        words = products & 0xFFFFFFFF
        total = torch.stack([(words >> shift) & 0xFF for shift in (0, 8, 16, 24)]).sum(0) + 0x6400
        scale, bias = torch.tensor([0x1EEE, 0xC931 - (1 << 16)], dtype=torch.int16).view(
            torch.float16
        )
        # Exact in float32, so rounded once, as by a fused multiply-add.
        values = total.to(torch.int16).view(torch.float16).float() * scale.float() + bias.float()
        return values.half().float()
    if name == "3inst":
        products = products + _3INST_OFFSET
    words = _BIAS ^ (products & _MASK)
    signed = torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)
    values = signed.view(torch.float16).view(-1, 2).float().sum(-1)
    return values.half().float()


@lru_cache(maxsize=2)
def _hadamard(size: int) -> torch.Tensor:
    """Of 1 and -1."""
    matrix = torch.ones((1, 1))
    while len(matrix) < size:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    return matrix


def _read(shards: Shards, module: str, layer: Layer, dtype: torch.dtype) -> torch.Tensor:
    inputs, outputs = (
        shards.read(f"{module}.{new}")
        if f"{module}.{new}" in shards.tensors
        else _signs(shards.read(f"{module}.{old}"))
        for new, old in (("suh", "su"), ("svh", "sv"))
    )
    return decode(layer, shards.read(f"{module}.trellis"), inputs, outputs, dtype)


def _signs(words: torch.Tensor) -> torch.Tensor:
    """A bit for each sign, lowest first; a set bit is -1."""
    bits = (words.to(torch.int32).unsqueeze(-1) >> torch.arange(16)) & 1
    return (1 - 2 * bits).flatten().half()


def _layer(directory: ModelDirectory, module: str) -> Layer:
    tensors = directory.shards.tensors
    stored = tensors[f"{module}.trellis"]
    if len(stored.shape) != 3 or stored.dtype != "I16":
        raise CheckpointError(
            f"{directory.name}: `{module}.trellis`: expected I16 of [in / 16, out / 16, words], "
            f"got {stored.dtype} {list(stored.shape)}",
            hint=OTHER_MODEL,
        )
    inputs, outputs, bits = _TILE * stored.shape[0], _TILE * stored.shape[1], stored.shape[2] / 16
    codebook = _codebook_of(directory, module)
    if not 1 <= bits <= 8 or bits % 0.5 or (bits % 1 and codebook != "mul1"):
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: EXL3 with {bits:g} bits and codebook {codebook}; "
            "expected 1 to 8, or half bits with codebook mul1",
            hint="quantize it again with one of these",
        )
    if inputs % _ROTATION or outputs % _ROTATION:
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected multiples of {_ROTATION} inputs and outputs, "
            f"got {inputs} and {outputs}",
            hint=OTHER_MODEL,
        )
    if f"{module}.scale" in tensors:
        raise UnsupportedModel(
            f"{directory.name}: `{module}.scale`: expected none, which exllamav3 since 0.0.1 "
            "folds into svh",
            hint="quantize the model again",
        )
    expected: dict[str, tuple[int, ...]] = {}
    types: dict[str, str] = {}
    for new, old, size in (("suh", "su", inputs), ("svh", "sv", outputs)):
        signs = f"{module}.{new}" not in tensors and f"{module}.{old}" in tensors
        part = old if signs else new
        expected[part] = (size // 16 if signs else size,)
        types[part] = "I16" if signs else "F16"
    require_shapes(directory, module, expected, f"{inputs} inputs and {outputs} outputs")
    for part, dtype in types.items():
        if tensors[f"{module}.{part}"].dtype != dtype:
            raise CheckpointError(
                f"{directory.name}: `{module}.{part}`: expected {dtype}, "
                f"got {tensors[f'{module}.{part}'].dtype}",
                hint=OTHER_MODEL,
            )
    return Layer(bits, codebook, inputs, outputs, _kept(directory, module, outputs))


def _kept(directory: ModelDirectory, module: str, outputs: int) -> int:
    """Rows that are no padding: exllamav3 pads a vocabulary to a multiple of 128."""
    text = directory.config.get("text_config")
    config = {**directory.config, **(text if isinstance(text, dict) else {})}
    vocabulary = config.get("vocab_size")
    if module.rpartition(".")[2] != _HEAD or not isinstance(vocabulary, int):
        return outputs
    return vocabulary if 0 <= outputs - vocabulary < _ROTATION else outputs


def _codebook_of(directory: ModelDirectory, module: str) -> str:
    names = [name for name in ("mcg", "mul1") if f"{module}.{name}" in directory.shards.tensors]
    if not names:
        return "3inst"
    if len(names) == 2:
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected one codebook, got {' and '.join(names)}",
            hint=OTHER_MODEL,
        )
    (name,) = names
    found = [value & 0xFFFFFFFF for value in directory.shards.read_integers(f"{module}.{name}")]
    if found != [_MULTIPLIERS[name]]:
        raise UnsupportedModel(
            f"{directory.name}: `{module}.{name}`: expected the multiplier "
            f"{_MULTIPLIERS[name]:#x}, got {', '.join(f'{value:#x}' for value in found)}",
            hint="quantize the model again with exllamav3 0.0.7 or later",
        )
    return name


def _bits(directory: ModelDirectory, layers: dict[str, Layer]) -> float:
    """What the config aims at, since a model's layers differ; else what most weights have."""
    bits = directory.quantization.get("bits")
    if isinstance(bits, int | float) and not isinstance(bits, bool) and 1 <= bits <= 8:
        return float(bits)
    if bits is not None:
        raise CheckpointError(
            f"{directory.name}: quantization config: expected `bits` from 1 to 8, got {bits!r}",
            hint="download config.json again",
        )
    sizes: Counter[float] = Counter()
    for layer in layers.values():
        sizes[layer.bits] += layer.inputs * layer.outputs
    return of_most_weights(sizes, 16.0)


def _require_storage(directory: ModelDirectory, layers: dict[str, Layer]) -> None:
    """Hold the list of stored modules, where there is one, against the tensors."""
    storage: Any = directory.quantization.get("tensor_storage")
    file = directory.path / _STORAGE
    if storage is None and file.is_file():
        try:
            storage = parse_json(file.read_bytes()).get("tensor_storage")
        except (ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{file}: not a quantization config: {error}", hint="download it again"
            ) from error
    if storage is not None and not isinstance(storage, dict):
        raise CheckpointError(
            f"{directory.name}: expected `tensor_storage` of modules, got {type(storage).__name__}",
            hint="download the quantization config again",
        )
    for module, entry in (storage or {}).items():
        if not isinstance(entry, dict) or entry.get("quant_format") != "exl3":
            continue
        bits = entry.get("bits_per_weight")
        got = layers[module].bits if module in layers else None
        if got is None or (bits is not None and bits != got):
            raise CheckpointError(
                f"{directory.name}: `{module}`: expected a trellis of {bits} bits by "
                f"`tensor_storage`, got {'none' if got is None else f'{got:g} bits'}",
                hint=OTHER_MODEL,
            )
