"""From a recipe's name to files: calibration text, library, cache or a place of the user's."""

from __future__ import annotations

import importlib.metadata
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitloss.datasets import calibration_tokens, load_corpus
from bitloss.errors import (
    BitlossError,
    CheckpointError,
    CorpusError,
    HubError,
    StorageError,
    UnknownName,
    UsageError,
)
from bitloss.formats.base import context_length
from bitloss.formats.tokenizer import load_tokenizer
from bitloss.quantizers.base import Quantizer
from bitloss.quantizers.cache import cache_directory, kept, storage_errors, unfinished, write_record
from bitloss.quantizers.gptqmodel import quantization_device, settings
from bitloss.registry import QUANTIZERS, load
from bitloss.spec.fingerprint import canonical_json, fingerprint, sha256_text
from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = [
    "library_versions",
    "make_variant",
    "quantize_to",
]

# Raised when the same recipe comes to mean other bytes.
_SCHEMA = 1

_PACKAGES = {
    "gptq": ("gptqmodel", "torch", "transformers"),
    "awq": ("gptqmodel", "torch", "transformers"),
    "gguf": ("llama-cpp-python", "gguf"),
}


@dataclass(frozen=True, slots=True)
class _Job:
    """A recipe with everything it needs at hand, and what will be recorded of it."""

    recipe: Recipe
    tokens: list[list[int]]
    facts: dict[str, Any]
    device: str

    def run(self, model: Path, out: Path, progress: Progress) -> dict[str, Any]:
        """Carry it out in the empty directory `out`; returns the record."""
        quantizer: Quantizer = load("quantizer", QUANTIZERS, self.recipe.method)
        began = time.monotonic()
        quantizer(
            self.recipe,
            model,
            out,
            calibration=self.tokens,
            device=self.device,
            progress=progress,
        )
        return {**self.facts, "seconds": round(time.monotonic() - began, 1)}


def make_variant(
    recipe: Recipe,
    model: Path,
    *,
    model_digest: str,
    data: Path | None,
    cache: Path | None = None,
    device: str = "cpu",
    progress: Progress,
) -> Path:
    """The quantized model that a recipe makes of `model`, from the cache or made now.

    Args:
        recipe: what to make; ``sample_length`` is cut to the model's context.
        model: directory of the unquantized reference.
        model_digest: `ModelInfo.digest` of it.
        data: directory with local data, for the calibration text; see `load_corpus`.
        cache: where bitloss keeps things; None asks ``BITLOSS_CACHE``, then the user's cache.
        device: torch device to quantize on.
        progress: where to report.

    Returns:
        A directory that transformers reads, or the ``.gguf`` file.

    Raises:
        QuantizationError: the model does not fit the recipe, or the library failed.
        MissingDependency: the library is not installed.
        CorpusError: there is no calibration text, or it is too short.
        StorageError: the cache cannot be written.
    """
    job = _prepare(recipe, model, model_digest, data, device)
    directory = kept(
        cache_directory(cache),
        job.recipe.name,
        fingerprint(job.facts),
        lambda out: job.run(model, out, progress),
        progress=progress,
    )
    return _the_file(directory) if recipe.method == "gguf" else directory


def quantize_to(
    recipe: Recipe,
    model: Path,
    out: Path,
    *,
    model_digest: str,
    data: Path | None,
    device: str = "cpu",
    progress: Progress,
) -> Path:
    """Make a variant at a place of the user's; nothing is there until it is complete.

    Args:
        recipe: see `make_variant`.
        model: see `make_variant`.
        out: a new or empty directory; for GGUF also a file name that ends in ``.gguf``.
        model_digest: see `make_variant`.
        data: see `make_variant`.
        device: see `make_variant`.
        progress: where to report.

    Returns:
        The directory, or the ``.gguf`` file.

    Raises:
        StorageError: `out` holds something, or cannot be written; else see `make_variant`.
    """
    as_file = out.suffix == ".gguf"
    if as_file and recipe.method != "gguf":
        raise UsageError(
            f"recipe `{recipe.name}` writes a directory, got the file name `{out}`",
            hint="leave out `.gguf`, or choose a gguf recipe",
        )
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise StorageError(
            f"expected a new or empty place, `{out}` holds something",
            hint="remove it first, or give another place",
        )
    job = _prepare(recipe, model, model_digest, data, device)
    out = out.absolute()
    with unfinished(out.parent, f".{out.name}.") as making:
        record = job.run(model, making, progress)
        with storage_errors(out):
            if as_file:
                _the_file(making).replace(out)
            else:
                write_record(making, record)
                making.replace(out)
    return _the_file(out) if recipe.method == "gguf" and not as_file else out


def library_versions(method: str) -> dict[str, str]:
    """Versions of the packages that decide a method's bytes, ``""`` where not installed.

    Raises:
        UnknownName: no such method.
    """
    if method not in _PACKAGES:
        raise UnknownName("quantization method", method, _PACKAGES)
    versions = {}
    for package in _PACKAGES[method]:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = ""
    return versions


def _prepare(recipe: Recipe, model: Path, digest: str, data: Path | None, device: str) -> _Job:
    if not (model / "config.json").is_file():
        raise CheckpointError(
            f"recipe `{recipe.name}` is made of an unquantized model directory, got `{model}`",
            hint="give the directory that the model was trained or published in, not a .gguf file",
        )
    facts: dict[str, Any] = {
        "schema": _SCHEMA,
        "model_digest": digest,
        "versions": library_versions(recipe.method),
    }
    if recipe.method != "gguf":
        facts |= {"settings": settings(recipe), "device": quantization_device(device)}
    tokens: list[list[int]] = []
    if recipe.needs_calibration:
        length = min(recipe.sample_length, _context(model) or recipe.sample_length)
        recipe = replace(recipe, sample_length=length)
        tokens, facts["calibration"] = _calibrate(recipe, model, data)
    return _Job(recipe, tokens, {**facts, "recipe": recipe.to_dict()}, device)


def _calibrate(
    recipe: Recipe, model: Path, data: Path | None
) -> tuple[list[list[int]], dict[str, Any]]:
    tokenizer = load_tokenizer(model)
    try:
        corpus = load_corpus(recipe.calibration, data=data)
    except (HubError, CorpusError, UnknownName) as error:
        raise _no_text(recipe, error) from error
    tokens = calibration_tokens(
        corpus,
        tokenizer,
        samples=recipe.samples,
        sample_length=recipe.sample_length,
        seed=recipe.seed,
    )
    return tokens, {
        "corpus": corpus.name,
        "corpus_digest": corpus.digest,
        "tokens_digest": sha256_text(canonical_json(tokens)),
        "sequences": len(tokens),
    }


def _no_text(recipe: Recipe, error: BitlossError) -> CorpusError:
    return CorpusError(
        f"recipe `{recipe.name}` needs the calibration text `{recipe.calibration}`: "
        f"{error.message}",
        hint="--data DIR says where local texts are, --calibration FILE takes a text of your own"
        + (f"; {error.hint}" if error.hint else ""),
    )


def _context(model: Path) -> int | None:
    """Tokens the model takes at once, None where its config does not say."""
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"no readable config.json in `{model}`: {error}",
            hint="give the directory of the unquantized model, as transformers saves it",
        ) from error
    return context_length(config)


def _the_file(directory: Path) -> Path:
    files = sorted(directory.glob("*.gguf"))
    if len(files) != 1:
        raise StorageError(
            f"expected one .gguf file in `{directory}`, got {len(files)}",
            hint="remove the directory; it is made again",
        )
    return files[0]
