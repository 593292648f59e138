"""How a module of `bitloss.formats.safetensors.compressed_tensors` is stored and decoded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bitloss.errors import CheckpointError
from bitloss.formats.storage.floats import read_scales, unpack_e2m1
from bitloss.formats.storage.packing import by_blocks, dequantize, unpack, widen
from bitloss.formats.storage.payload import column_groups, require_finite
from bitloss.formats.storage.shards import Shards

__all__ = ["Scheme", "decode"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one module's weight is stored.

    Attributes:
        bits: of a weight.
        floating: floats rather than integers.
        symmetric: no zero points.
        strategy: what shares a scale: ``tensor``, ``channel``, ``group``, ``tensor_group`` or
            ``block``.
        group_size: for the group strategies.
        block: rows and columns of a block, for that strategy.
        part: the tensor with the weights, ``weight`` or ``weight_packed``.
        shape: of the dense weight, ``[out, in]``.
    """

    bits: int
    floating: bool
    symmetric: bool
    strategy: str
    group_size: int
    block: tuple[int, ...]
    part: str
    shape: tuple[int, int]

    @property
    def columns(self) -> int:
        """Columns that share a scale."""
        if self.strategy in ("group", "tensor_group"):
            return self.group_size
        return self.block[1] if self.strategy == "block" else self.shape[1]

    @property
    def nominal_group(self) -> int | None:
        """For `ModelInfo.group_size`: -1 is one group a row, None a scale for more than a row."""
        if self.strategy in ("group", "tensor_group"):
            return self.group_size
        return -1 if self.strategy == "channel" else None

    @property
    def scale_shape(self) -> tuple[int, int]:
        """Of the stored scales, ``tensor`` excepted."""
        rows = -(-self.shape[0] // self.block[0]) if self.strategy == "block" else self.shape[0]
        return rows, -(-self.shape[1] // self.columns)


def decode(
    shards: Shards, module: str, scheme: Scheme, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """The dense weight, computed in float32 and rounded to `dtype`.

    Raises:
        CheckpointError: a tensor is missing or damaged.
    """
    weight = shards.read(f"{module}.{scheme.part}")
    stored = require_finite(f"{module}.weight_scale", _scales(shards, module))
    scales = _per_row(stored, scheme)
    zeros = _zeros(shards, module, scheme)
    groups = _column_groups(shards, module, scheme, scales.shape[1])

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        dequantize(
            _codes(weight[start:stop], scheme),
            None if zeros is None else zeros[start:stop],
            scales[start:stop],
            scheme.columns,
            groups,
            out,
        )

    return by_blocks(scheme.shape, dtype, fill)


def _is_fp4(scheme: Scheme) -> bool:
    return scheme.floating and scheme.part == "weight_packed"


def _scales(shards: Shards, module: str) -> torch.Tensor:
    scales = read_scales(shards, f"{module}.weight_scale")
    if scales.dtype == torch.float8_e4m3fn:  # NVFP4
        scales = scales.float()
    name = f"{module}.weight_global_scale"
    return scales.float() / shards.read(name) if name in shards.tensors else scales


def _per_row(scales: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Scales or zero points as ``[rows, groups]``."""
    rows = scheme.shape[0]
    if scheme.strategy == "tensor":
        return scales.reshape(1, 1).expand(rows, 1)
    if scheme.strategy == "block":
        return scales.repeat_interleave(scheme.block[0], dim=0)[:rows]
    return scales.reshape(rows, -1)  # of channels, AutoRound stores a list


def _zeros(shards: Shards, module: str, scheme: Scheme) -> torch.Tensor | None:
    """Zero points as ``[rows, groups]``, in the terms of `_codes`."""
    if scheme.floating:
        return None
    packed = scheme.part == "weight_packed"
    offset = 1 << (scheme.bits - 1) if packed else 0
    rows, groups = scheme.shape[0], -(-scheme.shape[1] // scheme.columns)
    name = f"{module}.weight_zero_point"
    if scheme.symmetric:
        _refuse_moved(shards, name)
        return torch.full((rows, groups), offset, dtype=torch.int16) if packed else None
    stored = shards.read(name)
    if packed and scheme.strategy in ("group", "channel"):  # a stream down each column
        return unpack(stored.t(), scheme.bits, rows).t().to(torch.int16)
    return _per_row(stored, scheme).to(torch.int16) + offset


def _refuse_moved(shards: Shards, name: str) -> None:
    """Some versions of the library store zero points of symmetric weights; they are 0."""
    if name in shards.tensors and bool(shards.read(name).any()):
        raise CheckpointError(
            f"`{name}`: expected zero points of 0 for symmetric weights, got others",
            hint="correct `symmetric` in the quantization config, or download both again",
        )


def _codes(weight: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    if _is_fp4(scheme):
        return unpack_e2m1(weight)
    if scheme.part == "weight_packed":
        return unpack(weight, scheme.bits, scheme.shape[1])
    return widen(weight, torch.float32) if scheme.floating else weight


def _column_groups(
    shards: Shards, module: str, scheme: Scheme, n_groups: int
) -> torch.Tensor | None:
    """The group of each column where GPTQ's act-order moved them, else None."""
    name = f"{module}.weight_g_idx"
    if name not in shards.tensors:
        return None
    groups = shards.read(name)
    if bool((groups == -1).any()):  # the library's mark for columns in order
        return None
    if groups.shape != (scheme.shape[1],):
        raise CheckpointError(
            f"`{name}`: expected {scheme.shape[1]} group numbers below {n_groups}, "
            f"got shape {list(groups.shape)}",
            hint="download the checkpoint again",
        )
    return column_groups(name, groups, scheme.columns, act_order=False, zeros_in_order=False)
