"""How fast quantized weights become dense: MB/s of dense bf16 on one core.

A format's cases live beside this file in ``decode_*.py`` as a list ``CASES`` of `Case`. Each is
decoded to bf16, for which the target is 200 MB/s, and to float32, which has twice the bytes: its
rate counts the same weights as two bytes each. Noise is one-sided, so the best of several runs
counts.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from bitloss.formats.safetensors import awq, gptq

TARGET = 200.0
SHAPES = ((4096, 4096), (896, 4864))


@dataclass(frozen=True)
class Case:
    """One way of storing a matrix.

    Attributes:
        name: as in the table.
        prepare: given ``(outputs, inputs)``, makes random stored tensors and returns the function
            that decodes them to the dense weight in a type.
    """

    name: str
    prepare: Callable[[tuple[int, int]], Callable[[torch.dtype], torch.Tensor]]


def gptq_case(bits: int, *, act_order: bool) -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        outputs, inputs = shape
        layer = gptq.Layer(bits, 128, inputs, outputs, v1=True)
        generator = torch.Generator().manual_seed(0)
        groups = torch.arange(inputs) // 128
        g_idx = groups[torch.randperm(inputs, generator=generator)] if act_order else groups
        qweight = random_words((inputs * bits // 32, outputs), generator)
        qzeros = random_words((inputs // 128, outputs * bits // 32), generator)
        scales = torch.rand((inputs // 128, outputs), generator=generator).half()
        return lambda dtype: gptq.decode(layer, qweight, qzeros, scales, g_idx.int(), dtype)

    return Case(f"GPTQ {bits} bits g128{' act-order' if act_order else ''}", prepare)


def awq_case(bits: int) -> Case:
    def prepare(shape: tuple[int, int]) -> Callable[[torch.dtype], torch.Tensor]:
        outputs, inputs = shape
        layer = awq.Layer(bits, 128, inputs, outputs)
        generator = torch.Generator().manual_seed(0)
        qweight = random_words((inputs, outputs * bits // 32), generator)
        qzeros = random_words((inputs // 128, outputs * bits // 32), generator)
        scales = torch.rand((inputs // 128, outputs), generator=generator).half()
        return lambda dtype: awq.decode(layer, qweight, qzeros, scales, dtype)

    return Case(f"AWQ {bits} bits g128", prepare)


def random_words(shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Random 32-bit words: any pattern is a valid packing."""
    low, high = -(2**31), 2**31 - 1
    return torch.randint(low, high, shape, generator=generator, dtype=torch.int32)


def all_cases() -> list[Case]:
    cases = [gptq_case(bits, act_order=act) for bits in (2, 3, 4, 8) for act in (False, True)]
    cases += [awq_case(4), awq_case(8)]
    for file in sorted(Path(__file__).parent.glob("decode_*.py")):
        cases += importlib.import_module(file.stem).CASES
    return cases


def seconds(decode: Callable[[], torch.Tensor], budget: float) -> float:
    """The quickest of as many runs as fit into `budget` seconds, at least three."""
    decode()
    best, spent, runs = math.inf, 0.0, 0
    while runs < 3 or spent < budget:
        start = time.perf_counter()
        decode()
        took = time.perf_counter() - start
        best, spent, runs = min(best, took), spent + took, runs + 1
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds for each case")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'case':28} {'shape':>12} {'bf16':>8} {'float32':>8}  target {TARGET:.0f}")
    for case in all_cases():
        if arguments.only.lower() not in case.name.lower():
            continue
        for shape in SHAPES:
            decode = case.prepare(shape)
            speed, exact = (
                2 * math.prod(shape) / seconds(partial(decode, dtype), arguments.budget) / 1e6
                for dtype in (torch.bfloat16, torch.float32)
            )
            verdict = "ok" if speed >= TARGET else "BELOW"
            size = "x".join(map(str, shape))
            print(f"{case.name:28} {size:>12} {speed:8.0f} {exact:8.0f}  {verdict}")


if __name__ == "__main__":
    main()
