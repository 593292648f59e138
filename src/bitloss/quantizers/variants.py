"""From a recipe's name to files: calibration text, library, cache or a place of the user's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitloss.datasets import calibration_tokens, load_corpus
from bitloss.errors import (
    BitlossError,
    CorpusError,
    HubError,
    MissingDependency,
    StorageError,
    UnknownName,
    UsageError,
)
from bitloss.files import storage_errors, temporary_folder
from bitloss.formats import open_checkpoint
from bitloss.formats.base import checkpoint_notes, context_length
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.quantizers.base import Quantizer, all_quantizers, quantizer_of
from bitloss.quantizers.cache import cache_directory, get_or_create, write_record
from bitloss.quantizers.model_files import digest_settings
from bitloss.quantizers.workers import Workers
from bitloss.spec.calibration import Calibration
from bitloss.spec.fingerprint import canonical_json, fingerprint, sha256_text
from bitloss.spec.recipe import Recipe
from bitloss.types import Corpus, Progress

__all__ = ["check_recipe", "fit_recipe", "make_variant", "quantize_to"]

# Raised when the same recipe comes to mean other bytes, or is recorded differently.
_SCHEMA = 4


@dataclass(frozen=True, slots=True)
class _Job:
    """A recipe with everything it needs, and what will be recorded of it."""

    recipe: Recipe
    quantizer: Quantizer
    device: str
    tokens: list[list[int]]
    facts: dict[str, Any]
    notes: tuple[str, ...]

    def run(self, model: Path, out: Path, progress: Progress, workers: Workers) -> dict[str, Any]:
        """Carry it out in the empty directory `out`; returns the record."""
        began = time.monotonic()
        self.quantizer.quantize(
            self.recipe,
            model,
            out,
            calibration=self.tokens,
            device=self.device,
            progress=progress,
            workers=workers,
        )
        return {**self.facts, "notes": self.notes, "seconds": round(time.monotonic() - began, 1)}


def fit_recipe(recipe: Recipe, model: Path) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe that `make_variant` carries out for a model, and notes on what was chosen for it.

    Args:
        recipe: as the user named it.
        model: the unquantized reference: a directory, or a GGUF file.

    Raises:
        CheckpointError: the reference's files cannot be read.
    """
    return quantizer_of(recipe).fit(recipe, model)


def check_recipe(recipe: Recipe, model: Path, *, data: Path | None, must_fit: bool = True) -> None:
    """Find out what would keep `make_variant` from making a variant, as far as headers tell.

    Builds the model without weights: call it where no other thread builds a model or computes.

    Args:
        recipe: as the user named it.
        model: the unquantized reference.
        data: see `make_variant`.
        must_fit: whether the model is looked at too, beside packages and texts.

    Raises:
        BitlossError: see `make_variant`.
    """
    _require_packages(recipe)
    if recipe.calibration is not None:
        corpus = _load_text(recipe, recipe.calibration, data)
        if must_fit:
            _draw(corpus, recipe, model)
    if must_fit:
        fitted, _ = fit_recipe(recipe, model)
        quantizer_of(fitted).check(fitted, model)


def _require_packages(recipe: Recipe) -> None:
    quantizer = quantizer_of(recipe)
    for package in quantizer.missing_packages():
        raise MissingDependency(package, f"recipe `{recipe.name}`", extra=quantizer.extra)


def make_variant(
    recipe: Recipe,
    model: Path,
    *,
    model_digest: str,
    data: Path | None,
    cache: Path | None = None,
    device: str = "cpu",
    progress: Progress,
    workers: Workers | None = None,
) -> Path:
    """The quantized model that a recipe makes of `model`, from the cache or made now.

    Args:
        recipe: what to make; calibration sequences are cut to the model's context.
        model: the unquantized reference: a directory, or a GGUF file.
        model_digest: `ModelInfo.digest` of it.
        data: directory with local data, for the calibration text; see `load_corpus`.
        cache: where bitloss keeps things; None reads ``BITLOSS_CACHE``, then uses the user's cache.
        device: a torch device to run on; a quantizer that cannot run there runs on the CPU.
        progress: where to report.
        workers: the run's, which `Workers.end` ends from another thread; None is its own.

    Returns:
        A directory that transformers reads, or the one file that the quantizer writes.

    Raises:
        QuantizationError: the model does not fit the recipe, or the library failed.
        MissingDependency: the library is not installed.
        UsageError: there is no such device.
        CorpusError: there is no calibration text, or it is too short.
        StorageError: the cache cannot be written.
    """
    job = _prepare(recipe, model, model_digest, data, device)
    directory = get_or_create(
        cache_directory(cache),
        job.recipe.name,
        fingerprint(job.facts),
        lambda out: job.run(model, out, progress, workers or Workers()),
        progress=progress,
    )
    suffix = job.quantizer.suffix
    return _only_file(directory, suffix) if suffix else directory


def quantize_to(
    recipe: Recipe,
    model: Path,
    out: Path,
    *,
    model_digest: str,
    data: Path | None,
    device: str = "cpu",
    progress: Progress,
    on_note: Callable[[str], None] = lambda note: None,
) -> Path:
    """Make a variant at a place of the user's choice; nothing is there until it is complete.

    Args:
        recipe: see `make_variant`.
        model: see `make_variant`.
        out: a new or empty directory; for a quantizer that writes one file also the name of a
            new file with its ending.
        model_digest: see `make_variant`.
        data: see `make_variant`.
        device: see `make_variant`.
        progress: where to report.
        on_note: called with what a reader of the variant's results should know: what was chosen
            for the model, and types that are in the place of the file type's own.

    Returns:
        The directory, or the one file that the quantizer writes.

    Raises:
        StorageError: `out` holds something, or cannot be written; else see `make_variant`.
    """
    suffix = quantizer_of(recipe).suffix
    as_file = bool(suffix) and out.suffix == suffix
    if not as_file:
        _refuse_file_name(recipe, out)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise StorageError(
            f"expected a new or empty path, got `{out}`, which is not empty",
            hint="remove it first, or give another place",
        )
    job = _prepare(recipe, model, model_digest, data, device)
    job.quantizer.check(job.recipe, model)
    for note in job.notes:
        on_note(note)
    out = out.absolute()
    with temporary_folder(out.parent, f".{out.name}.") as making:
        record = job.run(model, making, progress, Workers())
        with storage_errors(out):
            if as_file:
                _only_file(making, suffix).replace(out)
            else:
                write_record(making, record)
                making.replace(out)
    made = _only_file(out, suffix) if suffix and not as_file else out
    for note in _made_notes(made):
        on_note(note)
    return made


def _made_notes(made: Path) -> tuple[str, ...]:
    try:
        return checkpoint_notes(open_checkpoint(made))
    except BitlossError:  # llama.cpp quantizes architectures that are not read here
        return ()


def _refuse_file_name(recipe: Recipe, out: Path) -> None:
    """Raise UsageError if `out` has the ending of another quantizer's file."""
    others = [q.method for q in all_quantizers() if q.suffix and q.suffix == out.suffix]
    if others:
        raise UsageError(
            f"recipe `{recipe.name}` writes a directory, got the file name `{out}`",
            hint=f"remove `{out.suffix}`, or choose a {' or '.join(others)} recipe",
        )


def _prepare(recipe: Recipe, model: Path, digest: str, data: Path | None, device: str) -> _Job:
    quantizer = quantizer_of(recipe)
    _require_packages(recipe)
    recipe, notes = fit_recipe(recipe, model)
    device = quantizer.device(device)
    facts: dict[str, Any] = {
        "schema": _SCHEMA,
        "model_digest": digest,
        "model_files": digest_settings(model),
        "versions": quantizer.versions(),
        "settings": quantizer.settings(recipe, device),
    }
    tokens: list[list[int]] = []
    if recipe.calibration is not None:
        calibration = _within_context(recipe.calibration, model)
        recipe = replace(recipe, calibration=calibration)
        tokens, facts["calibration"] = _calibrate(recipe, calibration, model, data)
    return _Job(recipe, quantizer, device, tokens, {**facts, "recipe": recipe.to_dict()}, notes)


def _calibrate(
    recipe: Recipe, calibration: Calibration, model: Path, data: Path | None
) -> tuple[list[list[int]], dict[str, Any]]:
    corpus = _load_text(recipe, calibration, data)
    tokens = _draw(corpus, recipe, model)
    return tokens, {
        "corpus": corpus.name,
        "corpus_digest": corpus.digest,
        "tokens_digest": sha256_text(canonical_json(tokens)),
        "sequences": len(tokens),
    }


def _within_context(calibration: Calibration, model: Path) -> Calibration:
    return replace(
        calibration, length=min(calibration.length, _context(model) or calibration.length)
    )


def _draw(corpus: Corpus, recipe: Recipe, model: Path) -> list[list[int]]:
    """The recipe's sequences of a text.

    Raises:
        CorpusError: the text is shorter than one of them.
    """
    assert recipe.calibration is not None
    calibration = _within_context(recipe.calibration, model)
    return calibration_tokens(
        corpus,
        load_tokenizer(model),
        samples=calibration.samples,
        sample_length=calibration.length,
        seed=recipe.seed,
    )


def _load_text(recipe: Recipe, calibration: Calibration, data: Path | None) -> Corpus:
    try:
        return load_corpus(calibration.corpus, data=data)
    except UnknownName as error:
        raise _no_text(recipe.name, calibration.corpus, error, UsageError) from error
    except (HubError, CorpusError) as error:
        raise _no_text(recipe.name, calibration.corpus, error, CorpusError) from error


def _no_text(name: str, corpus: str, error: BitlossError, kind: type[BitlossError]) -> BitlossError:
    told = kind(
        f"recipe `{name}` needs the calibration text `{corpus}`: {error.message}",
        hint="use --data DIR for local texts, --calibration FILE for a text of your own, or the "
        "bundled --calibration pocket-calibration-mixed for the model `pocket`"
        + (f"; {error.hint}" if error.hint else ""),
    )
    told.exit_code = error.exit_code
    return told


def _context(model: Path) -> int | None:
    """Tokens the model takes at once, None if its config does not specify it."""
    return context_length(open_checkpoint(model).config)


def _only_file(directory: Path, suffix: str) -> Path:
    files = sorted(directory.glob(f"*{suffix}"))
    if len(files) != 1:
        raise StorageError(
            f"expected one {suffix} file in `{directory}`, got {len(files)}",
            hint="remove the directory, so that it is made again",
        )
    return files[0]
