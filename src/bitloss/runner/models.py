"""Models of a run: located or made, opened, and checked against the reference's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bitloss.errors import BitlossError, Incomparable, UsageError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import Checkpoint
from bitloss.formats.locate import locate
from bitloss.formats.tokenizer import compare_vocabularies, has_tokenizer, load_tokenizer
from bitloss.spec.model import ModelRef, parse_model
from bitloss.spec.run import RunSpec
from bitloss.types import Progress

if TYPE_CHECKING:
    from bitloss.formats.tokenizer import HFTokenizer

__all__ = ["FailedVariant", "Model", "open_reference", "open_variant", "variants"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to be scored.

    Attributes:
        name: as the user wrote it.
        ref: what that meant.
        path: where its files are.
        checkpoint: the opened files.
        notes: what a reader of its results should know (a padded vocabulary).
        code: directory of the model's own Python code, where it has some and may run it.
    """

    name: str
    ref: ModelRef
    path: Path
    checkpoint: Checkpoint
    notes: tuple[str, ...] = ()
    code: Path | None = None


@dataclass(frozen=True, slots=True)
class FailedVariant:
    """A variant that could not be made, opened or scored, and why."""

    name: str
    ref: ModelRef
    error: BitlossError


def variants(spec: RunSpec) -> list[ModelRef]:
    """What the variants' names mean.

    Raises:
        UsageError: one is named twice, or a name means nothing.
    """
    refs = [
        parse_model(text, allow_recipe=True, calibration=spec.calibration, seed=spec.seed)
        for text in spec.variants
    ]
    seen: set[str] = set()
    for ref in refs:
        if ref.text in seen:
            raise UsageError(f"variant `{ref.text}` is named twice", hint="name it once")
        seen.add(ref.text)
    return refs


def open_reference(spec: RunSpec, progress: Progress) -> tuple[Model, HFTokenizer]:
    """Locate and open the reference, and load the run's tokenizer.

    Raises:
        BitlossError: whatever is wrong with it; see `locate`, `open_checkpoint`.
    """
    trust = spec.trust_remote_code
    ref = parse_model(spec.reference)
    path = locate(ref, progress=progress, trust_remote_code=trust)
    checkpoint = open_checkpoint(path, name=ref.text)
    code = path if trust and "auto_map" in checkpoint.config else None
    model = Model(ref.text, ref, path, checkpoint, code=code)
    source = path
    if spec.tokenizer is not None:
        owner = parse_model(spec.tokenizer)
        source = locate(owner, progress=progress, trust_remote_code=trust, weights=False)
    return model, load_tokenizer(source, trust_remote_code=trust)


def open_variant(
    ref: ModelRef,
    spec: RunSpec,
    reference: Model,
    tokenizer: HFTokenizer,
    *,
    cache: Path | None,
    progress: Progress,
) -> Model:
    """Make the variant where it is a recipe, open it, and check that it can be compared.

    Raises:
        Incomparable: its tokenizer or architecture is another one than the reference's.
        BitlossError: it cannot be made or opened.
    """
    trust = spec.trust_remote_code
    if ref.recipe is not None:
        from bitloss.quantizers import make_variant

        path = make_variant(
            ref.recipe,
            reference.path,
            model_digest=reference.checkpoint.info.digest,
            data=spec.data,
            cache=cache,
            device=spec.device,
            progress=progress,
        )
    else:
        path = locate(ref, progress=progress, trust_remote_code=trust)
    checkpoint = open_checkpoint(path, name=ref.text)
    _same_architecture(reference, checkpoint)
    notes: list[str] = []
    if ref.recipe is None and has_tokenizer(path):
        notes.append(compare_vocabularies(tokenizer, load_tokenizer(path, trust_remote_code=trust)))
    ours, theirs = (c.config.get("vocab_size") for c in (reference.checkpoint, checkpoint))
    if ours != theirs:
        notes.append(
            f"vocabulary padded differently ({theirs} rows, the reference has {ours}): "
            "distributions are over the common rows"
        )
    return Model(ref.text, ref, path, checkpoint, tuple(filter(None, notes)))


# What decides the module graph; a variant that differs in one of these is another model.
_SHAPE = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "intermediate_size", "head_dim", "n_embd", "n_layer", "n_head",
)  # fmt: skip


def _same_architecture(reference: Model, variant: Checkpoint) -> None:
    ours, theirs = reference.checkpoint.config, variant.config
    for key in _SHAPE:
        # llama.cpp knows Mistral as Llama, and files may leave out what follows from the rest.
        if key == "model_type" and {ours.get(key), theirs.get(key)} <= {"llama", "mistral"}:
            continue
        if key in ours and key in theirs and ours[key] != theirs[key]:
            raise Incomparable(
                f"{variant.info.name} has `{key}` {theirs[key]}, {reference.name} has {ours[key]}",
                hint="a variant must be a quantized copy of the reference",
            )
