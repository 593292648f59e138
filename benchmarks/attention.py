"""Attention's products through oneDNN and without it, at the shapes of generation and scoring.

    python benchmarks/attention.py [--threads 2] [--rounds 15]

`bitloss.engines.dense.precision.arithmetic` sends float32 products to oneDNN, which is the faster
way for large ones on some processors. The flash kernel of torch makes one small product for every
sequence, head and block of queries, and oneDNN sets up each anew.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

# batch, key heads, queries, keys, causal, masked
SHAPES = {
    "200 sequences decode": (200, 2, 2, 60, False, True),
    "200 decode, long rows": (200, 2, 2, 500, False, True),
    "64 decode, 7 heads a key": (64, 2, 7, 500, False, True),
    "200 look at a prefix": (1, 2, 400, 128, False, False),
    "options under a question": (2, 2, 32, 32, True, False),
    "packed tiles": (4, 4, 128, 128, False, True),
    "a window of 256": (1, 14, 256, 256, True, False),
    "windows of 1024": (2, 14, 1024, 1024, True, False),
}
DIM = 64


def milliseconds(call: Callable[[], Any]) -> float:
    """Of one call."""
    began = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - began)


def compare(shape: tuple[int, int, int, int, bool, bool], rounds: int) -> tuple[float, float]:
    """Median milliseconds through oneDNN and without, in turn."""
    batch, heads, queries, keys, causal, masked = shape
    query = torch.randn(batch, heads, queries, DIM)
    key, value = torch.randn(2, batch, heads, keys, DIM)
    mask = torch.zeros(batch, 1, 1, keys).expand(-1, -1, queries, -1) if masked else None
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    switch: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    times: dict[str, list[float]] = {"bf16": [], "ieee": []}
    for _ in range(rounds + 1):
        for way, found in times.items():
            switch.fp32_precision = way
            found.append(
                milliseconds(lambda: flash(query, key, value, 0.0, causal, attn_mask=mask))
            )
    onednn, plain = (statistics.median(found[1:]) for found in times.values())
    return onednn, plain


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print("| attention of | oneDNN, ms | without, ms | ratio |\n|---|---:|---:|---:|")
    for name, shape in SHAPES.items():
        onednn, plain = compare(shape, arguments.rounds)
        print(f"| {name} | {onednn:.2f} | {plain:.2f} | {onednn / plain:.1f} |", flush=True)


if __name__ == "__main__":
    main()
