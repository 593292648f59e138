"""bitsandbytes tensors written the slow, obvious way, with the dense weight that they mean.

Written from the description of the layout, one number at a time;
`benchmarks/oracle_bitsandbytes.py` holds both against the library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["NF4", "four_bits", "int8"]

NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
]  # fmt: skip
FP4 = [0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4]
VALUES = {"nf4": NF4, "fp4": [*FP4, *(-value for value in FP4)]}


def four_bits(
    name: str,
    shape: tuple[int, ...],
    *,
    kind: str = "nf4",
    block_size: int = 64,
    dtype: torch.dtype = torch.bfloat16,
    storage: torch.dtype = torch.uint8,
    nested: bool = False,
    seed: int = 0,
    state: Mapping[str, Any] | None = None,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Stored tensors of random codes and scales, and the dense weight; `state` overrides.

    A product of two float32 is exact in float64, so the dense weight is rounded once to float32.
    """
    random = np.random.default_rng(seed)
    count = math.prod(shape)
    codes = [int(code) for code in random.integers(0, 16, count)]
    values = np.array(VALUES[kind], dtype=np.float32)
    blocks = -(-count // block_size)
    facts: dict[str, Any] = {
        "quant_type": kind, "blocksize": block_size, "dtype": str(dtype).removeprefix("torch."),
        "shape": list(shape),
    }  # fmt: skip
    tensors: dict[str, torch.Tensor] = {}
    if nested:
        stored = random.integers(0, 256, blocks).astype(np.uint8)
        table = np.sort(random.standard_normal(256)).astype(np.float32)
        outer = random.random(-(-blocks // 256), dtype=np.float32)
        offset = 2.6600139141082764
        absmax = [
            np.float32(table[code] * outer[place // 256]) + np.float32(offset)
            for place, code in enumerate(stored)
        ]
        facts |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": offset}
        tensors[f"{name}.absmax"] = torch.from_numpy(stored)
        tensors[f"{name}.nested_absmax"] = torch.from_numpy(outer)
        tensors[f"{name}.nested_quant_map"] = torch.from_numpy(table)
    else:
        scales = random.random(blocks, dtype=np.float32)
        absmax = list(scales)
        tensors[f"{name}.absmax"] = torch.from_numpy(scales)
    dense = [
        float(values[code]) * float(absmax[place // block_size]) for place, code in enumerate(codes)
    ]
    codes += [0] * (count % 2)
    packed = [high << 4 | low for high, low in zip(codes[::2], codes[1::2], strict=True)]
    weight = torch.tensor(packed, dtype=torch.uint8).view(storage)[:, None]
    text = json.dumps({**facts, **(state or {})}).encode()
    tensors[name] = weight
    tensors[f"{name}.quant_map"] = torch.from_numpy(values)
    tensors[f"{name}.quant_state.bitsandbytes__{kind}"] = torch.tensor(list(text)).to(torch.uint8)
    return tensors, torch.tensor(dense, dtype=torch.float64).float().view(shape)


def int8(
    module: str, shape: tuple[int, int], seed: int = 0
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Stored tensors of an LLM.int8() layer, and the dense weight."""
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, shape).astype(np.int8)
    scales = random.random(shape[0], dtype=np.float32)
    step = np.float32(7.874015718698502e-3)
    dense = [
        [np.float32(np.float32(code) * scale) * step for code in row]
        for row, scale in zip(codes, scales, strict=True)
    ]
    tensors = {
        f"{module}.weight": torch.from_numpy(codes),
        f"{module}.SCB": torch.from_numpy(scales),
        f"{module}.weight_format": torch.tensor(0, dtype=torch.uint8),
    }
    return tensors, torch.tensor(np.array(dense))
