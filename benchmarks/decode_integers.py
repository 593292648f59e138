"""Cases for decode.py: integer layouts besides plain GPTQ and AWQ."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bitloss.formats.safetensors import awq_gemv, awq_layers, gptq_layers, marlin
from decode import Case, random_words

GROUP = 128
Decode = Callable[[torch.dtype], torch.Tensor]


def gptq(bits: int, *, planar: bool, act_order: bool = False) -> Case:
    def prepare(shape: tuple[int, int]) -> Decode:
        outputs, inputs = shape
        layer = gptq_layers.Layer(bits, GROUP, inputs, outputs, v1=False, planar=planar)
        generator = torch.Generator().manual_seed(0)
        groups = torch.arange(inputs) // GROUP
        if act_order:
            groups = groups[torch.randperm(inputs, generator=generator)]
        qweight = random_words((inputs * bits // 32, outputs), generator)
        qzeros = random_words((inputs // GROUP, outputs * bits // 32), generator)
        scales = torch.rand((inputs // GROUP, outputs), generator=generator).half()
        return lambda dtype: gptq_layers.decode(layer, qweight, qzeros, scales, groups.int(), dtype)

    kind = "GPTQ planes" if planar else "AutoRound"
    return Case(f"{kind} {bits} bits g128{' act-order' if act_order else ''}", prepare)


def awq(bits: int) -> Case:
    def prepare(shape: tuple[int, int]) -> Decode:
        outputs, inputs = shape
        layer = awq_layers.Layer(bits, GROUP, inputs, outputs, interleaved=True)
        generator = torch.Generator().manual_seed(0)
        qweight = random_words((inputs, outputs * bits // 32), generator)
        qzeros = random_words((inputs // GROUP, outputs * bits // 32), generator)
        scales = torch.rand((inputs // GROUP, outputs), generator=generator).half()
        return lambda dtype: awq_layers.decode(layer, qweight, qzeros, scales, dtype)

    return Case(f"AutoRound AWQ {bits} bits g128", prepare)


def tiles(shape: tuple[int, int]) -> Decode:
    outputs, inputs = shape
    layer = marlin.Layer(GROUP, inputs, outputs)
    generator = torch.Generator().manual_seed(0)
    words = random_words((inputs // 16, 2 * outputs), generator)
    scales = torch.rand((inputs // GROUP, outputs), generator=generator).half()
    return lambda dtype: marlin.decode(layer, words, scales, dtype)


def gemv(shape: tuple[int, int]) -> Decode:
    outputs, inputs = shape
    layer = awq_gemv.Layer(GROUP, inputs, outputs)
    generator = torch.Generator().manual_seed(0)
    qweight = random_words((outputs, inputs // 8), generator)
    qzeros = random_words((outputs, layer.words), generator)
    scales = torch.rand((outputs, 8 * layer.words), generator=generator).half()
    return lambda dtype: awq_gemv.decode(layer, qweight, qzeros, scales, dtype)


def gemv_fast(shape: tuple[int, int]) -> Decode:
    outputs, inputs = shape
    layer = awq_gemv.Layer(GROUP, inputs, outputs)
    generator = torch.Generator().manual_seed(0)
    qweight = random_words((outputs // 4, inputs // 2), generator).view(torch.int16)
    scales = torch.rand((8 * layer.words, outputs), generator=generator).half()
    return lambda dtype: awq_gemv.decode_fast(layer, qweight, -8 * scales, scales, dtype)


CASES = [
    *(gptq(bits, planar=True) for bits in (3, 5, 6, 7)),
    gptq(5, planar=True, act_order=True),
    *(gptq(bits, planar=False) for bits in (5, 6, 7)),
    *(awq(bits) for bits in (5, 6, 7)),
    Case("Marlin tiles 4 bits g128", tiles),
    Case("AWQ gemv 4 bits g128", gemv),
    Case("AWQ gemv_fast 4 bits g128", gemv_fast),
]
