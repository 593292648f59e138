"""How a module of `bitloss.formats.safetensors.mlx` is quantized, and its dense weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.storage.checkpoint import DENSE_TYPES
from bitloss.formats.storage.directory import ModelDirectory
from bitloss.formats.storage.floats import unpack_e2m1
from bitloss.formats.storage.packing import by_blocks, dequantize, unpack, widen
from bitloss.formats.storage.quant_config import OTHER_MODEL, require_shapes, whole_number

__all__ = ["Scheme", "decode", "scheme_of", "settings_of"]

_SETTINGS = frozenset({"group_size", "bits", "mode", "global_scale"})
_AFFINE_BITS = (1, 2, 3, 4, 5, 6, 8)
# Bits and group size of each mode with floats; MLX knows no others.
_FLOAT_MODES = {"mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
_BYTES = torch.arange(256, dtype=torch.uint8)
_E4M3 = _BYTES.view(torch.float8_e4m3fn).float()
# MLX reads the exponent 255, which is NaN in the specification, as infinity.
_E8M0 = (2.0 ** (_BYTES.double() - 127)).float()
# A tensor's global scale is stored as its largest magnitude: the largest E2M1 times E4M3.
_GLOBAL = 6.0 * 448.0


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a module's weight is stored.

    Attributes:
        mode: ``affine``, ``mxfp4``, ``mxfp8`` or ``nvfp4``.
        bits: of a code.
        group_size: inputs that share a scale.
        shape: of the dense weight, ``[out, in]`` or ``[experts, out, in]``.
        scaled: whether a scale for each expert is stored besides, for ``nvfp4``.
    """

    mode: str
    bits: int
    group_size: int
    shape: tuple[int, ...]
    scaled: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The stored tensors' last names, codes first, in the order that `decode` takes."""
        parts = ("weight", "scales", "biases") if self.mode == "affine" else ("weight", "scales")
        return (*parts, "global_scale") if self.scaled else parts


def settings_of(directory: ModelDirectory, module: str) -> dict[str, Any]:
    """The settings under the module's own path, else those of the whole model.

    Raises:
        CheckpointError: the module's are no settings.
    """
    config = directory.quantization
    own = config.get(module, True)
    if own is True:
        return {key: value for key, value in config.items() if key in _SETTINGS}
    if not isinstance(own, dict):
        raise CheckpointError(
            f"{directory.name}: `{module}` has scales; expected settings under its name in "
            f"`quantization`, got {own!r}",
            hint=OTHER_MODEL,
        )
    return dict(own)


def scheme_of(directory: ModelDirectory, module: str) -> Scheme:
    """What the config says of a module, held against its tensors.

    Raises:
        CheckpointError: they contradict each other.
        UnsupportedModel: a mode, or a number of bits, that is not decoded here.
    """
    settings = settings_of(directory, module)
    unknown = sorted(set(settings) - _SETTINGS)
    mode = settings.get("mode") or "affine"
    if unknown or mode not in ("affine", *_FLOAT_MODES):
        expected = "group_size, bits and mode" if unknown else f"affine, {', '.join(_FLOAT_MODES)}"
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: MLX quantization "
            f"{'with ' + ', '.join(unknown) if unknown else f'mode `{mode}`'}; expected {expected}",
            hint="convert the model again with mlx-lm 0.32",
        )
    bits, size = _numbers(directory, module, mode, settings)
    tensors = directory.shards.tensors
    scales = tensors[f"{module}.scales"]
    rows, groups = scales.shape[:-1], scales.shape[-1] if scales.shape else 0
    inputs = groups * size
    if len(rows) not in (1, 2) or inputs * bits % 32:
        raise CheckpointError(
            f"{directory.name}: `{module}.scales`: expected [out, groups] or [experts, out, "
            f"groups] for {bits} bits and groups of {size}, got {list(scales.shape)}",
            hint=OTHER_MODEL,
        )
    scaled = f"{module}.global_scale" in tensors
    scheme = Scheme(mode, bits, size, (*rows, inputs), scaled)
    expected_shapes = {
        "weight": (*rows, inputs * bits // 32),
        "biases": scales.shape,
        "scales": scales.shape,
        "global_scale": rows[:-1],
    }
    why = f"{bits} bits, groups of {size} and mode `{mode}`"
    require_shapes(directory, module, {p: expected_shapes[p] for p in scheme.parts}, why)
    _require_types(directory, module, scheme)
    return scheme


def _numbers(
    directory: ModelDirectory, module: str, mode: str, settings: Mapping[str, Any]
) -> tuple[int, int]:
    bits, size = (whole_number(directory, settings, key) for key in ("bits", "group_size"))
    if mode == "affine":
        right = bits in _AFFINE_BITS and size >= 1
        expected = f"bits of {', '.join(map(str, _AFFINE_BITS))} and a positive group size"
    else:
        right = (bits, size) == _FLOAT_MODES[mode]
        expected = "{} bits and groups of {}".format(*_FLOAT_MODES[mode])
    if not right:
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: expected {expected} for mode `{mode}`, "
            f"got {bits} bits and groups of {size}",
            hint="convert the model again with settings that mlx-lm supports",
        )
    return bits, size


def _require_types(directory: ModelDirectory, module: str, scheme: Scheme) -> None:
    stored = {part: directory.shards.tensors[f"{module}.{part}"].dtype for part in scheme.parts}
    types = tuple(DENSE_TYPES) if scheme.mode == "affine" else ("U8",)
    expected = {"weight": ("U32",), "scales": types, "biases": (stored["scales"],),
                "global_scale": ("F32",)}  # fmt: skip
    for part, dtype in stored.items():
        if dtype not in expected[part]:
            raise CheckpointError(
                f"{directory.name}: `{module}.{part}`: expected {' or '.join(expected[part])} "
                f"for mode `{scheme.mode}`, got {dtype}",
                hint=OTHER_MODEL,
            )
    if scheme.scaled and scheme.mode != "nvfp4":
        raise CheckpointError(
            f"{directory.name}: `{module}.global_scale`: expected none for mode `{scheme.mode}`",
            hint=OTHER_MODEL,
        )


def decode(
    scheme: Scheme, *parts: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """The dense weight of one matrix from its stored parts.

    Args:
        scheme: how it is stored; only the last two sizes of its shape are looked at.
        parts: tensors by `Scheme.parts`, without the dimension of experts.
        dtype: what the weights are rounded to.

    Returns:
        Shape ``[out, in]``. Small floats are bit-equal to ``mx.dequantize`` of MLX 0.32 on the CPU,
        and so are integers with scales of float32. With scales of 16 bits it rounds the product
        and the sum to their type, and differs by up to a unit in the last place of each.
    """
    weight, scales = parts[0], parts[1]
    if scheme.mode == "affine":
        biases = parts[2]
    else:
        biases = None
        scales = (_E4M3 if scheme.mode == "nvfp4" else _E8M0)[scales.int()]
        if scheme.scaled:
            scales = scales * (parts[-1] / _GLOBAL)
    rows, columns = scheme.shape[-2:]

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        codes = _codes(scheme, weight[start:stop], columns)
        dequantize(codes, None, scales[start:stop], scheme.group_size, None, out)
        if biases is not None:
            groups = out.view(stop - start, -1, scheme.group_size)
            groups.add_(biases[start:stop].float().unsqueeze(-1))

    return by_blocks((rows, columns), dtype, fill)


def _codes(scheme: Scheme, words: torch.Tensor, columns: int) -> torch.Tensor:
    if scheme.mode == "affine":
        return unpack(words, scheme.bits, columns)
    if scheme.bits == 8:
        return widen(words.contiguous().view(torch.float8_e4m3fn), torch.float32)
    return unpack_e2m1(words)
