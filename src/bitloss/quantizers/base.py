"""What a quantizer is: the facts about a method and the function that carries out its recipes.

A quantizer is one value of `Quantizer`, one line in `bitloss.registry.QUANTIZERS` and one test.
Its module is imported to parse a recipe's name, so it must not import the method's library (nor
torch) before `Quantizer.quantize` is called.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bitloss import registry
from bitloss.formats.base import ModelIdentity
from bitloss.quantizers.workers import Workers
from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = ["Quantize", "Quantizer", "all_quantizers", "quantizer_of"]


class Quantize(Protocol):
    """Carries out a recipe."""

    def __call__(
        self,
        recipe: Recipe,
        model: Path,
        out: Path,
        *,
        calibration: Sequence[Sequence[int]],
        device: str,
        progress: Progress,
        workers: Workers,
    ) -> None:
        """Write the quantized model into the empty directory `out`.

        That is one file that ends in `Quantizer.suffix`, or without a suffix a model directory:
        weights in a format of `bitloss.registry.FORMATS`, ``config.json``, and the reference's
        tokenizer files. The caller adds ``recipe.json``. `bitloss.formats.open_checkpoint` reads
        the reference tensor by tensor, whether it is sharded or not.

        Native code runs in a process of its own (`workers`), so that a crash is an error. Nothing
        is read from or written to this process's environment and libraries' globals, since
        several recipes are carried out side by side.

        Args:
            recipe: what to make.
            model: the dense reference: a directory, or an unquantized GGUF file (or the directory
                that holds one).
            out: exists and is empty; the caller renames it when the function has returned.
            calibration: token ids, `Calibration.samples` sequences of at most
                `Calibration.length` tokens; empty if the recipe needs none.
            device: where to run; one that `Quantizer.device` returned.
            progress: where to report.
            workers: starts processes, and ends them when the run is interrupted.

        Raises:
            QuantizationError: the model's sizes do not fit the recipe, or the library failed.
            UsageError: there is no such device on this machine.
        """


def _as_it_is(recipe: Recipe, model: Path) -> tuple[Recipe, tuple[str, ...]]:
    del model
    return recipe, ()


def _all_can_be_made(recipe: Recipe, model: Path) -> None:
    del recipe, model


def _never(options: Any) -> bool:
    del options
    return False


def _nothing(recipe: Recipe, device: str) -> dict[str, Any]:
    del recipe, device
    return {}


def _weights_in_float32(recipe: Recipe, model: ModelIdentity) -> int:
    del recipe
    return 4 * model.info.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer:
    """A quantization method, composed of facts and plain functions.

    *Options* are a frozen dataclass of plain values, of the quantizer's own type: what a recipe's
    name says after the method (``4-g64-act``).

    Attributes:
        method: the name in the registry, which a recipe's name begins with.
        parse: turns the text after the method and its dash into options. Raises `UnknownName` if
            it has no such form, `UsageError` for a value that the method does not allow.
        write: turns options into the shortest text that `parse` turns into them.
        describe: says in a few words what options mean, for `bitloss list`.
        bits_per_weight: what a recipe's files take per parameter, estimated for ``--plan``.
        quantize: carries out a recipe; see `Quantize`.
        common: names of the recipes that `bitloss list` shows.
        grammar: every form of a name, with what its parts mean, for `bitloss list recipes`.
        packages: distributions whose versions decide the bytes; all are needed.
        extra: the extra of bitloss that installs them.
        pace: duration of a common recipe relative to plain rounding; slow ones begin first.
        seconds_per_million: of a common recipe on two cores, for every million parameters of the
            model's layers, for ``--plan``; None if nobody has measured it.
        memory_bytes: what a recipe's worker holds at its peak beside its interpreter and tokenizer,
            from the model's sizes, for ``--plan``.
        suffix: ending of the one file that it writes, ``""`` if it writes a model directory.
        devices: kinds of torch devices that it can run on.
        needs_calibration: whether a recipe with these options calibrates on a text.
        calibration_option: what to add to a recipe's name that does not calibrate so that it does,
            ``""`` if there is no such option.
        needs_seed: whether random numbers decide the bytes of a recipe that does not calibrate.
        fit: chooses what a recipe's name leaves open by the sizes of the model in a directory, from
            headers alone. Returns the recipe that is carried out and recorded, and notes for the
            reader of a result that say what was chosen and why. What is explicit stays as it is.
        check: refuses a fitted recipe that cannot be carried out for the model at a path, from
            headers alone: called before any model is scored, by one thread. Raises as `quantize`.
        settings: plain values that decide a recipe's bytes on a device besides the recipe and the
            packages; they become a part of the fingerprint.
    """

    method: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str]
    describe: Callable[[Any], str]
    bits_per_weight: Callable[[Recipe], float]
    quantize: Quantize
    common: tuple[str, ...]
    grammar: tuple[tuple[str, str], ...] = ()
    packages: tuple[str, ...] = ()
    extra: str = ""
    pace: float = 1.0
    seconds_per_million: float | None = None
    memory_bytes: Callable[[Recipe, ModelIdentity], int] = _weights_in_float32
    suffix: str = ""
    devices: tuple[str, ...] = ("cpu",)
    needs_calibration: Callable[[Any], bool] = _never
    calibration_option: str = ""
    needs_seed: Callable[[Any], bool] = _never
    fit: Callable[[Recipe, Path], tuple[Recipe, tuple[str, ...]]] = _as_it_is
    check: Callable[[Recipe, Path], None] = _all_can_be_made
    settings: Callable[[Recipe, str], dict[str, Any]] = _nothing

    def device(self, asked: str) -> str:
        """The device that it runs on when asked to run on `asked`: that one, or the CPU."""
        return asked if asked.partition(":")[0] in self.devices else "cpu"

    def versions(self) -> dict[str, str]:
        """Versions of the packages that decide the bytes, ``""`` for those not installed."""
        versions = {}
        for package in self.packages:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                versions[package] = ""
        return versions

    def missing_packages(self) -> tuple[str, ...]:
        """Packages that it needs and that are not installed."""
        return tuple(package for package, version in self.versions().items() if not version)


def quantizer_of(recipe: Recipe) -> Quantizer:
    """The quantizer that carries out a recipe; imports no library."""
    quantizer: Quantizer = registry.load("quantizer", registry.QUANTIZERS, recipe.method)
    return quantizer


def all_quantizers() -> tuple[Quantizer, ...]:
    """Every quantizer of the registry; imports no library."""
    return tuple(
        registry.load("quantizer", registry.QUANTIZERS, method) for method in registry.QUANTIZERS
    )
