"""The engine's arithmetic: what weights are held in and how products are taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from bitloss.engines.devices import is_cuda
from bitloss.errors import UsageError

__all__ = [
    "ROUNDING",
    "Precision",
    "arithmetic",
    "as_precision",
    "attention_dtype",
    "first_precision",
    "has_amx",
    "has_fast_bf16",
    "many_small_products",
    "storage_dtype",
]

# Below this many multiply-adds for the whole run, float32 takes minutes: nothing to be saved.
SMALL_RUN = 5e13
# The same of a card, which does as much in float32 in two seconds.
_SMALL_ON_CUDA = 1e15

Precision = Literal["fp32", "mixed", "bf16"]
"""``fp32``: the truth. ``mixed``: float32 weights and activations, products in bf16 where the
processor has them (TF32 on CUDA). ``bf16``: weights and activations in bf16."""

# Of the mean size of a state, the mean difference that rounding may make. In bf16 it makes 0.005
# over the 24 layers of Qwen2-0.5B's shape; attention that is not the model's makes one of about 1.
ROUNDING: dict[Precision, float] = {"fp32": 1e-4, "mixed": 0.05, "bf16": 0.05}


def as_precision(arithmetic: str) -> Precision:
    """The engine's arithmetic by its name.

    Raises:
        UsageError: it has none of that name.
    """
    for known in get_args(Precision):
        if arithmetic == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(
        f"engine `dense`: expected {', '.join(get_args(Precision))}, got `{arithmetic}`",
        hint="use --dtype auto",
    )


def storage_dtype(precision: Precision) -> torch.dtype:
    """The dtype of weights and hidden states."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """Set the precision of float32 products for the block, and put the old one back after it.

    torch keeps this as a process-wide switch; nothing of the engine relies on its value outside
    of such a block.
    """
    cpu: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    cuda: Any = torch.backends.cuda.matmul
    before = cpu.fp32_precision, cuda.fp32_precision
    reduced = cuda.allow_bf16_reduced_precision_reduction
    try:
        cuda.fp32_precision = "tf32" if precision == "mixed" else "ieee"
        cuda.allow_bf16_reduced_precision_reduction = False  # sums stay in float32
        cpu.fp32_precision = "bf16"
        if precision != "mixed" and not _onednn_keeps_float32():  # measured with the line above
            cpu.fp32_precision = "ieee"
        yield
    finally:
        cpu.fp32_precision, cuda.fp32_precision = before
        cuda.allow_bf16_reduced_precision_reduction = reduced


@contextmanager
def many_small_products() -> Iterator[None]:
    """Keep float32 products from oneDNN for the block, to which `arithmetic` may send them.

    oneDNN sets up each product again, and the attention of 200 sequences that decode is 800
    products of two rows: 8.2 ms through it, 0.4 ms without (benchmarks/attention.py).
    """
    cpu: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = cpu.fp32_precision
    try:
        cpu.fp32_precision = "ieee"
        yield
    finally:
        cpu.fp32_precision = before


def has_fast_bf16(device: str) -> bool:
    """Whether bf16 products are faster than float32 ones here.

    On a CPU that takes AMX, or AMD's AVX512-BF16: an EPYC reaches 420 to 437 GFLOP/s in bf16 and
    366 in float32. A Xeon with AVX512-BF16 alone reaches 172 and 326 (`bitloss doctor`;
    benchmarks/LOG.md). Known by name and not measured, so that a run is the same when repeated.
    """
    if is_cuda(device):
        # Cards before Ampere are said to support bf16, which they emulate.
        return torch.cuda.is_available() and torch.cuda.get_device_properties(device).major >= 8
    if not device.startswith("cpu"):
        return False
    return has_amx() or ("avx512_bf16" in _cpu("flags") and "AuthenticAMD" in _cpu("vendor_id"))


def first_precision(asked: str, *, device: str, parameters: int, tokens: int) -> Precision:
    """The arithmetic everything is scored in first; see `bitloss.engines.base.Engine.arithmetic`.

    Raises:
        UsageError: `asked` is neither ``auto`` nor an arithmetic of this engine.
    """
    if asked != "auto":
        return as_precision(asked)
    small = _SMALL_ON_CUDA if is_cuda(device) else SMALL_RUN
    if not has_fast_bf16(device) or parameters * tokens < small:
        return "fp32"
    return "bf16"


def attention_dtype(precision: Precision, device: str) -> torch.dtype:
    """Of attention and of keys and values: float32 where that is the faster way for bf16.

    See `bitloss.engines.dense.attention`.
    """
    if precision == "bf16" and device.partition(":")[0] == "cpu" and not has_amx():
        return torch.float32
    return storage_dtype(precision)


def has_amx() -> bool:
    """Whether the processor multiplies bf16 in AMX tiles."""
    return "amx_bf16" in _cpu("flags")


@cache
def _onednn_keeps_float32() -> bool:
    """Whether products allowed to use bf16 are nevertheless full float32 ones.

    Allowing bf16 is what sends float32 products to oneDNN instead of MKL. Only AMX makes oneDNN
    round them; elsewhere they stay exact and, on processors MKL does not know, run at twice MKL's
    speed (measured on an EPYC: 366 against 203 GFLOP/s). In case a release changes that, the
    product below decides: its relative error is near 1e-6 in float32, near 1e-3 with rounding.
    """
    if has_amx():
        return False
    left = torch.linspace(-1.0, 1.0, 64 * 512).reshape(64, 512)
    right = torch.linspace(1.0, -0.7, 256 * 512).reshape(256, 512).sin()
    exact = left.double() @ right.T.double()
    error = ((left @ right.T) - exact).abs().max() / exact.abs().max()
    return float(error) < 2e-5


@cache
def _cpu(entry: str) -> frozenset[str]:
    """The words of an entry of Linux's list of processors; none on other systems."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return frozenset()
    lines = cpuinfo.read_text().splitlines()
    line = next((line for line in lines if line.partition(":")[0].strip() == entry), "")
    return frozenset(line.partition(":")[2].split())
