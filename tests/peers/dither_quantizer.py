"""A quantizer whose seed decides the bytes: the blocks' matrices, rounded up or down at random."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bitloss.errors import QuantizationError, UsageError
from bitloss.quantizers import Quantizer, Workers
from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = ["DITHER", "DitherOptions"]

DAMAGED = 13
"""A seed that this quantizer cannot use."""


@dataclass(frozen=True, slots=True)
class DitherOptions:
    bits: int
    plain: bool = False  # rounded to the nearest: no seed decides anything


def parse(text: str) -> DitherOptions:
    if (match := re.fullmatch(r"([2-8])(-plain)?", text)) is None:
        raise UsageError(f"dither takes 2 to 8 bits, got `dither-{text}`", hint="use `dither-8`")
    return DitherOptions(int(match[1]), match[2] is not None)


def quantize(
    recipe: Recipe,
    model: Path,
    out: Path,
    *,
    calibration: Sequence[Sequence[int]],
    device: str,
    progress: Progress,
    workers: Workers,
) -> None:
    del calibration, device, progress, workers
    import torch
    from safetensors.torch import load_file, save_file

    if recipe.seed == DAMAGED:
        raise QuantizationError("no luck", hint="use another seed")
    shutil.copytree(model, out, dirs_exist_ok=True)
    weights = load_file(model / "model.safetensors")
    generator = torch.Generator().manual_seed(recipe.seed)
    steps = 2 ** (recipe.options.bits - 1) - 1
    for name, weight in weights.items():
        if weight.ndim == 2 and ".layers." in name:
            scale = weight.float().abs().amax(1, keepdim=True) / steps
            at = torch.full(weight.shape, 0.5)
            if not recipe.options.plain:
                at = torch.rand(weight.shape, generator=generator)
            weights[name] = ((weight.float() / scale + at).floor() * scale).to(weight.dtype)
    save_file(weights, out / "model.safetensors", {"format": "pt"})


DITHER = Quantizer(
    method="dither",
    parse=parse,
    write=lambda options: f"{options.bits}" + "-plain" * options.plain,
    describe=lambda options: f"dithered to {options.bits} bits",
    bits_per_weight=lambda recipe: float(recipe.options.bits),
    quantize=quantize,
    common=("dither-8",),
    packages=("torch", "safetensors"),
    needs_seed=lambda options: not options.plain,
)
