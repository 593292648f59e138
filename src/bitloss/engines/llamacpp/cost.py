"""What work takes in llama.cpp."""

from __future__ import annotations

import time
from functools import cache

import torch

from bitloss.engines.values import Cost, Work
from bitloss.formats.base import ModelIdentity

__all__ = ["TIMING", "estimate"]

TIMING = (
    "times for llama.cpp are a guess: half the speed of float32 products, as just timed "
    "(benchmarks/llamacpp_engine.py)"
)

# Two Pythons, one of them with torch, and the memory that they share, before any weight.
_BASE_MEMORY = (450 + 100 + 256) << 20
# Positions whose logits the runtime holds at a time.
_ROWS = 512
# llama.cpp's products reach this part of the speed of float32 products in torch
# (benchmarks/llamacpp_engine.py), whatever the type of the weights; comparing comes on top.
_EFFICIENCY = 0.5
_RECORD_BYTES = 34


def estimate(
    work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
) -> Cost:
    """See `bitloss.engines.base.Engine.cost`."""
    del arithmetic
    parameters = model.info.parameters
    seconds = None
    if measure:
        rate = _product_rate(device)
        seconds = 2.0 * parameters * (work.read + work.written) / (rate * _EFFICIENCY)
    return Cost(
        seconds=seconds,
        # The reference is run as it is, for the noise floor; variants take less.
        memory_bytes=_BASE_MEMORY + parameters * 4 + _ROWS * model.vocabulary * 4,
        disk_bytes=work.scored * _RECORD_BYTES,
    )


@cache
def _product_rate(device: str) -> float:
    """Multiply-adds per second (times two) of a float32 product, best of a few."""
    left = torch.randn(1024, 1024, device=device)
    right = torch.randn(2048, 1024, device=device)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        best = min(best, time.perf_counter() - start)
    return 2.0 * 1024 * 1024 * 2048 / best
