"""The answer of `bitloss study recipe`: ``OUT/recipe/<model>/recipe.json``."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from bitloss.errors import DataError
from bitloss.results import Environment, Estimate
from bitloss.results.document import DocumentKind
from bitloss.results.values import Frozen
from bitloss.studies.document import StudyDocument

__all__ = [
    "RECIPE",
    "RECIPE_VERSION",
    "FurtherLoss",
    "GroupResult",
    "HeldOut",
    "MadeFile",
    "OptionResult",
    "RecipeResult",
    "UniformResult",
    "Verdict",
]

RECIPE_VERSION: Final = 1
RECIPE: Final = DocumentKind(
    "recipe study", "recipe_version", RECIPE_VERSION, DataError, "bitloss study recipe"
)

Verdict = Literal["better", "worse", "not shown"]
"""Whether the recipe is shown to be nearer to the reference than the baseline, or farther; by the
interval of their paired difference, corrected for all corpora and capabilities of the study (Holm).
"""


class OptionResult(Frozen):
    """One type for a group.

    Attributes:
        type: ggml's, as llama.cpp is asked for it.
        stored: the types that tensors then have: others where rows do not fit its blocks.
        nbytes: of the group in the file.
        loss: KL(reference || hybrid), nats per token, with this group alone in this type.
    """

    type: str
    stored: tuple[str, ...]
    nbytes: int
    loss: Estimate


class GroupResult(Frozen):
    """Tensors that get one type.

    Attributes:
        group: ``layer-3.down``, ``layers-0-3.q``, ``embeddings``.
        weights: how many numbers it has.
        options: types that store it differently, the largest first.
        chosen: the type of the recipe.
        baseline: what the baseline has: types, joined by commas.
    """

    group: str
    weights: int
    options: tuple[OptionResult, ...]
    chosen: str
    baseline: str


class UniformResult(Frozen):
    """All groups in one type: how far losses add up.

    Attributes:
        type: ggml's.
        nbytes: of the file.
        loss: measured, all groups together.
        sum_of_parts: the groups' losses, each alone, over that: 1 if losses add up.
    """

    type: str
    nbytes: int
    loss: Estimate
    sum_of_parts: Estimate


class MadeFile(Frozen):
    """A quantized file that was measured.

    Attributes:
        name: as a variant of the run.
        nbytes: of the file.
    """

    name: str
    nbytes: int


class HeldOut(Frozen):
    """Recipe and baseline on a text that no sensitivity was measured on.

    Attributes:
        baseline: KL(reference || baseline), nats per token.
        recipe: likewise of the recipe.
        gain: baseline less recipe, on the same windows: above 0 if the recipe is better.
        perplexity_ratio: the recipe's perplexity over the baseline's.
        verdict: what the interval of `gain` shows.
    """

    baseline: Estimate
    recipe: Estimate
    gain: Estimate
    perplexity_ratio: Estimate
    verdict: Verdict


class FurtherLoss(Frozen):
    """The recipe's loss in score beyond the baseline's, on the same items.

    Attributes:
        loss: a share; below 0 if the recipe scores higher.
        verdict: what its interval shows.
    """

    loss: Estimate
    verdict: Verdict


class RecipeResult(StudyDocument):
    """What a study found. ``print(result)`` shows it as plain tables.

    Attributes:
        recipe_version: of this document.
        model: the reference, as the user wrote it.
        digest: sha256 (hex) of its weights and configuration.
        measured_on: the text of the sensitivities.
        n_windows: windows of it that were scored.
        n_tokens: scored tokens of those.
        size: bytes that the file may have.
        groups: in the order of the model.
        uniform: all groups in one type, by type.
        predicted: the sum of the chosen types' losses.
        recipe: the file that was made.
        baseline: what it is compared with.
        held_out: by corpus.
        capabilities: by capability.
        exports: files beside this document, with the recipe in the words of other tools.
        run: the run directory of the comparison, relative to ``--out``.
        notes: what a reader should know.
        environment: what the results depend on besides models and data.
    """

    kind: ClassVar[DocumentKind] = RECIPE
    short: ClassVar[str] = "recipe"

    recipe_version: int = RECIPE_VERSION
    model: str
    digest: str
    measured_on: str
    n_windows: int
    n_tokens: int
    size: int
    groups: tuple[GroupResult, ...]
    uniform: tuple[UniformResult, ...]
    predicted: float
    recipe: MadeFile
    baseline: MadeFile
    held_out: dict[str, HeldOut]
    capabilities: dict[str, FurtherLoss]
    exports: tuple[str, ...]
    run: str
    notes: tuple[str, ...] = ()
    environment: Environment
