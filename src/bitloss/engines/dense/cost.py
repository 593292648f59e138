"""What work takes in the dense engine, from the machine's speed at a matrix product."""

from __future__ import annotations

import time
from functools import cache

import torch

from bitloss.engines.dense.precision import as_precision, storage_dtype
from bitloss.engines.dense.scoring.keys import state_width
from bitloss.engines.values import Cost, Work
from bitloss.formats.base import ModelIdentity

__all__ = ["estimate", "product_rate"]

# Python with torch and transformers imported, before any weight.
_BASE_MEMORY = 450 << 20
# Of the products' peak speed, what scoring reaches (benchmarks/throughput.py).
_EFFICIENCY = 0.6
_RECORD_BYTES = 34


def estimate(
    work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
) -> Cost:
    """See `bitloss.engines.base.Engine.cost`."""
    precision = as_precision(arithmetic)
    parameters = model.info.parameters
    size = 2 if precision == "bf16" else 4
    seconds = None
    if measure:
        rate = product_rate(storage_dtype(precision), device)
        seconds = 2.0 * parameters * (work.read + work.written) / (rate * _EFFICIENCY)
    return Cost(
        seconds=seconds,
        memory_bytes=_BASE_MEMORY + parameters * size,
        disk_bytes=work.scored * (state_width(model.config) * size + _RECORD_BYTES),
    )


@cache
def product_rate(dtype: torch.dtype, device: str) -> float:
    """Multiply-adds per second (times two) of a product of a model's size, best of a few."""
    left = torch.randn(1024, 1024, device=device).to(dtype)
    right = torch.randn(2048, 1024, device=device).to(dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        if left.is_cuda:
            torch.cuda.synchronize(left.device)
        best = min(best, time.perf_counter() - start)
    return 2.0 * 1024 * 1024 * 2048 / best
