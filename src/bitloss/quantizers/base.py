"""What a quantizer is: a function from a recipe to files on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = ["Quantizer"]


class Quantizer(Protocol):
    """Carries out a recipe in a process of its own, so that a crash of native code is an error."""

    def __call__(
        self,
        recipe: Recipe,
        model: Path,
        out: Path,
        *,
        calibration: Sequence[Sequence[int]],
        device: str,
        progress: Progress,
    ) -> None:
        """Write the quantized model into the empty directory `out` (GGUF: one file in it).

        Args:
            recipe: what to make.
            model: directory of the dense reference.
            out: exists and is empty; the caller renames it when the function has returned.
            calibration: token ids, `recipe.samples` sequences of at most `recipe.sample_length`
                tokens; empty where the recipe needs none.
            device: torch device to quantize on; llama.cpp always quantizes on the CPU.
            progress: where to report.

        Raises:
            QuantizationError: the model's sizes do not fit the recipe, or the library failed.
            MissingDependency: the library is not installed.
        """
