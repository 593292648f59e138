"""Models of a run: located or made, opened, and checked against the reference's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitloss.engines.values import Model
from bitloss.errors import UsageError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import (
    Checkpoint,
    ModelIdentity,
    checkpoint_inputs,
    checkpoint_notes,
    identify,
    implied_keys,
)
from bitloss.formats.configs.matching import ModelConfig, compare_configs
from bitloss.formats.configs.parsing import require_valid
from bitloss.formats.location.locate import locate
from bitloss.formats.tokenizers.loading import (
    compare_tokenizers,
    has_tokenizer,
    load_tokenizer,
    require_rows,
)
from bitloss.quantizers import Workers, calibrated_on, fit_recipe, make_variant
from bitloss.runner.packs.opened import Pack
from bitloss.runner.replicates import replicates_of, require_replicable
from bitloss.spec.activations import AS_DECLARED
from bitloss.spec.fingerprint import sha256_text
from bitloss.spec.model import ModelRef, parse_model, parse_variant
from bitloss.spec.recipe import Recipe
from bitloss.spec.run import RunSpec
from bitloss.types import ModelInfo, Progress
from bitloss.wording import join_words

if TYPE_CHECKING:
    from bitloss.formats.tokenizers.loading import HFTokenizer

__all__ = ["Reference", "Variant", "name_variants", "open_reference", "open_variant"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference, opened.

    Attributes:
        model: as engines get it.
        path: where its files are: variants are made from them.
        tokenizer: the run's.
        pack: what was read of it before, if its weights are not here.
    """

    model: Model
    path: Path
    tokenizer: HFTokenizer
    pack: Pack | None = None

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return self.model.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run's results should know of its tokenizer."""
        return self.tokenizer.notes


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant, opened.

    Attributes:
        ref: what the user's name for it means; a recipe as it was carried out.
        model: as engines get it.
        notes: what a reader of its results should know (a padded vocabulary, types that a file
            has in place of the ones in its name).
    """

    ref: ModelRef
    model: Model
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return self.ref.text

    @property
    def recipe_name(self) -> str:
        """The same; for a replicate the first one's, for a further way the name in the first."""
        return self.ref.replicate_of or self.ref.run_of or self.ref.text


def name_variants(spec: RunSpec) -> list[ModelRef]:
    """What the variants' names mean, each followed by its replicates.

    Raises:
        UsageError: one is named twice, or a name means nothing; or replicates of nothing.
    """
    named = [
        parse_variant(text, engines=spec.engine, calibration=spec.calibration, seed=spec.seed)
        for text in spec.variants
    ]
    require_replicable(named, spec.replicates)
    refs = [ref for one in named for ref in replicates_of(one, spec.replicates)]
    seen: set[str] = set()
    for ref in refs:
        if ref.text in seen:
            raise UsageError(f"variant `{ref.text}` is named twice", hint="name it once")
        seen.add(ref.text)
    return refs


def open_reference(spec: RunSpec, progress: Progress) -> Reference:
    """Locate and open the reference, and load the run's tokenizer.

    Raises:
        BitlossError: whatever is wrong with it; see `locate`, `open_checkpoint`.
    """
    trust = spec.trust_remote_code
    ref = parse_model(spec.reference)
    path = locate(ref, progress=progress, trust_remote_code=trust)
    checkpoint = open_checkpoint(path, name=ref.text)
    code = path if trust and "auto_map" in checkpoint.config else None
    if trust or "auto_map" not in checkpoint.config:  # said by the tokenizer's loader
        require_valid(checkpoint, code)
    model = Model(ref.text, identify(checkpoint), checkpoint, path, code)
    source = path
    if spec.tokenizer is not None:
        owner = parse_model(spec.tokenizer)
        source = locate(owner, progress=progress, trust_remote_code=trust, weights=False)
    return Reference(model, path, load_tokenizer(source, trust_remote_code=trust))


def open_variant(
    ref: ModelRef,
    spec: RunSpec,
    reference: Reference,
    *,
    cache: Path | None,
    progress: Progress,
    workers: Workers,
) -> Variant:
    """Make the variant if it is a recipe, open it, and check that it can be compared.

    Raises:
        Incomparable: its tokenizer or what it computes is not the reference's.
        BitlossError: it cannot be made or opened.
    """
    if ref.kind == "served":
        return _served(ref, reference)
    trust = spec.trust_remote_code
    notes: list[str] = []
    if ref.recipe is not None:
        recipe, chosen = fit_recipe(ref.recipe, reference.path)
        ref = replace(ref, recipe=recipe)
        notes += chosen
        path = make_variant(
            recipe,
            reference.path,
            model_digest=reference.model.identity.info.digest,
            data=spec.data,
            cache=cache,
            device=spec.main_device,
            progress=progress,
            workers=workers,
        )
        notes.append(_little_text(recipe, path))
    else:
        path = locate(ref, progress=progress, trust_remote_code=trust)
    checkpoint = open_checkpoint(path, name=ref.text)
    notes += _require_same_computation(reference, ref.text, checkpoint)
    identity = identify(checkpoint)
    notes += checkpoint_notes(checkpoint)
    notes.append(_inputs(checkpoint, spec.activations))
    if ref.recipe is None and has_tokenizer(path):
        own = load_tokenizer(path, trust_remote_code=trust)
        notes += compare_tokenizers(reference.tokenizer, own)
    notes.append(_padding(reference, identity))
    # A variant runs through the reference's own Python code.
    model = Model(ref.text, identity, checkpoint, path, reference.model.code)
    return Variant(ref, model, tuple(filter(None, notes)))


def _little_text(recipe: Recipe, made: Path) -> str:
    """What there is to say where the calibration text was shorter than was asked for."""
    found = calibrated_on(made)
    if recipe.calibration is None or found is None or found >= recipe.calibration.samples:
        return ""
    return (
        f"calibrated on {found} sequences, not {recipe.calibration.samples}: the text "
        f"`{recipe.calibration.corpus}` has no more"
    )


def _inputs(checkpoint: Checkpoint, activations: str) -> str:
    """What the file says of activations, where the run has them otherwise."""
    words = list(dict.fromkeys(one.words for one in checkpoint_inputs(checkpoint).values()))
    if not words or activations.lower() == AS_DECLARED:
        return ""
    asked = f"the file asks for {join_words([word.rstrip(',') for word in words])} activations"
    if activations:
        return f"{asked}; this run adds {activations.lower()}"
    return f"{asked}, which this run leaves out: --activations {AS_DECLARED}"


def _served(ref: ModelRef, reference: Reference) -> Variant:
    """A model that only a server knows: it is taken to be a copy of the reference, which its
    engine checks by tokens and losses.
    """
    identity = reference.model.identity
    info = ModelInfo(
        name=ref.text, digest=sha256_text(f"served {ref.text}"), format="served", bits=0.0,
        bits_per_weight=0.0, file_bytes=0, parameters=identity.info.parameters,
    )  # fmt: skip
    model = Model(ref.text, ModelIdentity(info, identity.config))
    return Variant(ref, model, ("known by its server's name only: its files were not seen",))


def _padding(reference: Reference, variant: ModelIdentity) -> str:
    ours, theirs = reference.model.identity.vocabulary, variant.vocabulary
    if ours == theirs:
        return ""
    if theirs < ours:
        require_rows(reference.tokenizer, theirs, variant.info.name)
    return (
        f"vocabulary padded differently ({theirs} rows, the reference has {ours}): "
        "distributions are over the common rows"
    )


def _require_same_computation(
    reference: Reference, name: str, variant: Checkpoint
) -> tuple[str, ...]:
    """Compare the configs, for which no weights have to be read: see `compare_configs`."""
    model = reference.model
    ours = None if model.weights is None else implied_keys(model.weights)
    theirs = implied_keys(variant)
    return compare_configs(
        ModelConfig(model.name, model.identity.config, implied=ours, code=model.code),
        ModelConfig(name, variant.config, variant.names(), theirs, model.code),
    )
