"""A quantizer in one file: the matrices of the blocks, rounded to a few bits per row."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bitloss.errors import UsageError
from bitloss.quantizers import Quantizer, Workers
from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = ["ROUND", "RoundOptions"]


@dataclass(frozen=True, slots=True)
class RoundOptions:
    bits: int
    coarse: bool = False


def parse(text: str) -> RoundOptions:
    if (match := re.fullmatch(r"([2-8])(-coarse)?", text)) is None:
        raise UsageError(f"round takes 2 to 8 bits, got `round-{text}`", hint="use `round-8`")
    return RoundOptions(int(match[1]), match[2] is not None)


def write(options: RoundOptions) -> str:
    return f"{options.bits}" + "-coarse" * options.coarse


def describe(options: RoundOptions) -> str:
    return f"rounded to {options.bits} bits"


def bits_per_weight(recipe: Recipe) -> float:
    return float(recipe.options.bits)


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
    """Write the rounded weights as dense safetensors beside the model's other files."""
    del calibration, device, workers
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, out, dirs_exist_ok=True)
    weights = load_file(model / "model.safetensors")
    steps = 2 ** (recipe.options.bits - 1) - 1 - recipe.options.coarse
    with progress.task(recipe.name, len(weights), "tensors") as advance:
        for name, weight in weights.items():
            if weight.ndim == 2 and ".layers." in name:
                scale = weight.float().abs().amax(1, keepdim=True) / steps
                weights[name] = ((weight.float() / scale).round() * scale).to(weight.dtype)
            advance(1)
    save_file(weights, out / "model.safetensors", {"format": "pt"})


ROUND = Quantizer(
    method="round",
    parse=parse,
    write=write,
    describe=describe,
    bits_per_weight=bits_per_weight,
    quantize=quantize,
    common=("round-8", "round-3"),
    packages=("torch", "safetensors"),
)
