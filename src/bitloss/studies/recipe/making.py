"""Files of a recipe study: the model uniformly in every type, the baseline, and the recipe."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitloss.engines.dense.swaps.hybrid import NamedWeights, checkpoint_weights
from bitloss.errors import UsageError
from bitloss.files import replacing
from bitloss.formats.gguf.checkpoint import GgufCheckpoint, open_checkpoint
from bitloss.quantizers import check_recipe, make_variant
from bitloss.quantizers.tensor_types import TENSOR_TYPES, TypedFile, make_all_typed, make_typed
from bitloss.spec.recipe import is_recipe_name, parse_recipe
from bitloss.studies.recipe.exports import Chosen, tensor_types
from bitloss.studies.recipe.groups import TensorGroup, fixed_bytes
from bitloss.studies.recipe.knapsack import fewest_bytes, most_bytes
from bitloss.studies.recipe.result import MadeFile
from bitloss.studies.recipe.size import parse_size, require_possible
from bitloss.studies.sensitivity.setup import Prepared
from bitloss.types import Progress

__all__ = ["Baseline", "Uniform", "choose_size", "file_type", "make_recipe", "make_uniform"]

# What a file that is mostly of a type is called (llama.cpp's mixtures of that name).
_FILE_TYPES = {
    "q8_0": "q8_0", "q6_k": "q6_k", "q5_k": "q5_k_m", "q4_k": "q4_k_m", "q3_k": "q3_k_m",
    "q2_k": "q2_k",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Uniform:
    """The model with every tensor that can be quantized in one type.

    Attributes:
        path: of the file.
        checkpoint: opened.
        weights: under the reference's names.
    """

    path: Path
    checkpoint: GgufCheckpoint
    weights: NamedWeights

    @property
    def nbytes(self) -> int:
        """Of the file."""
        return self.checkpoint.files.file_bytes


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the recipe is compared with.

    Attributes:
        name: as a variant of the run: a recipe, or a file's path.
        checkpoint: opened.
    """

    name: str
    checkpoint: GgufCheckpoint

    @property
    def nbytes(self) -> int:
        """Of the file."""
        return self.checkpoint.files.file_bytes


def make_uniform(ready: Prepared, progress: Progress) -> dict[str, Uniform]:
    """The model in every type of `TENSOR_TYPES`.

    Raises:
        BitlossError: see `make_all_typed`.
    """
    reference = ready.reference
    wanted = [TypedFile(_FILE_TYPES[kind], ((".", kind),), f"all-{kind}") for kind in TENSOR_TYPES]
    paths = make_all_typed(
        wanted,
        reference.path,
        model_digest=reference.model.identity.info.digest,
        name="all-types",
        cache=ready.plan.cache,
        progress=progress,
    )
    made: dict[str, Uniform] = {}
    for kind, path in zip(TENSOR_TYPES, paths, strict=True):
        checkpoint = open_checkpoint(path, f"all-{kind}")
        assert reference.model.weights is not None
        weights = checkpoint_weights(checkpoint, reference.model.weights, reference.model.code)
        made[kind] = Uniform(path, checkpoint, weights)
    return made


def choose_size(
    ready: Prepared,
    uniform: Mapping[str, Uniform],
    groups: Sequence[TensorGroup],
    size: str | None,
    like: str | None,
    progress: Progress,
) -> tuple[int, Baseline]:
    """Bytes that the file may have, and what it is compared with.

    Without `like` that is the largest uniform file of at most the size.

    Raises:
        UsageError: a size that no choice of types has.
        BitlossError: the recipe cannot be made.
    """
    parameters = ready.reference.model.identity.info.parameters
    target = None if size is None else parse_size(size, parameters)
    baseline = None if like is None else _like(ready, like, progress)
    if target is None:
        assert baseline is not None, "checked by the caller"
        target = baseline.nbytes
    fixed = fixed_bytes(groups, uniform[TENSOR_TYPES[0]].checkpoint)
    options = [group.options for group in groups]
    require_possible(target, fixed + fewest_bytes(options), fixed + most_bytes(options))
    if baseline is None:
        fitting = [one for one in uniform.values() if one.nbytes <= target]
        largest = max(fitting or uniform.values(), key=lambda one: one.nbytes)
        if not fitting:
            largest = min(uniform.values(), key=lambda one: one.nbytes)
        baseline = Baseline(str(largest.path), largest.checkpoint)
    return target, baseline


def require_gguf_recipe(name: str) -> None:
    """Refuse a baseline that is no GGUF recipe.

    Raises:
        UsageError: names what it is.
    """
    if not is_recipe_name(name) or parse_recipe(name).method != "gguf":
        raise UsageError(
            f"expected a GGUF recipe for --like, got `{name}`", hint="use --like gguf-q4_k_m"
        )


def _like(ready: Prepared, name: str, progress: Progress) -> Baseline:
    recipe = parse_recipe(name, calibration=ready.spec.calibration, seed=ready.spec.seed)
    reference = ready.reference
    check_recipe(recipe, reference.path, data=ready.spec.data)
    path = make_variant(
        recipe,
        reference.path,
        model_digest=reference.model.identity.info.digest,
        data=ready.spec.data,
        cache=ready.plan.cache,
        progress=progress,
    )
    return Baseline(name, open_checkpoint(path, name))


def file_type(chosen: Sequence[Chosen]) -> str:
    """The file type of a recipe: its name says what most of the weights have."""
    sizes: Counter[str] = Counter()
    for one in chosen:
        sizes[one.type] += one.group.part.weights
    return _FILE_TYPES[sizes.most_common(1)[0][0]]


def make_recipe(
    ready: Prepared, chosen: Sequence[Chosen], out: Path, progress: Progress
) -> MadeFile:
    """Make the file and put it at a place of the user's.

    Args:
        ready: the reference.
        chosen: every group with its type.
        out: the file to be written.
        progress: where to report.

    Raises:
        BitlossError: see `make_typed`; or the file cannot be written.
    """
    made = make_typed(
        TypedFile(file_type(chosen), tensor_types(chosen), "recipe"),
        ready.reference.path,
        model_digest=ready.reference.model.identity.info.digest,
        cache=ready.plan.cache,
        progress=progress,
    )
    with replacing(out) as temporary:
        shutil.copyfile(made, temporary)
    return MadeFile(name=out.as_posix(), nbytes=out.stat().st_size)
