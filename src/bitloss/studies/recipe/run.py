"""`recipe_study`: the types of tensors that lose least within a size, made and measured.

OUT/recipe/<model>/recipe.json          the answer
OUT/recipe/<model>/<model>-<size>.gguf  the file
OUT/recipe/<model>/tensor-types.txt     and other tools' words for it
OUT/recipe/<model>/run/                 the run that compares it with the baseline
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from bitloss import api
from bitloss.datasets import load_corpus
from bitloss.engines.dense.precision import as_precision
from bitloss.engines.dense.swaps.parts import Places
from bitloss.engines.dense.swaps.scorer import SwapScorer
from bitloss.errors import UsageError
from bitloss.files import write_text
from bitloss.quantizers.tensor_types import TENSOR_TYPES
from bitloss.results.document import refuse_newer_schema
from bitloss.runner.store import RunStore
from bitloss.spec.calibration import DEFAULT_CALIBRATION
from bitloss.spec.choices import CompareOptions, StrPath
from bitloss.studies.recipe.comparing import Compared, compare_held_out
from bitloss.studies.recipe.exports import Chosen, export
from bitloss.studies.recipe.groups import TensorGroup, find_groups, fixed_bytes, mixture_of
from bitloss.studies.recipe.knapsack import Choice, allocate
from bitloss.studies.recipe.making import (
    Baseline,
    Uniform,
    choose_size,
    file_type,
    make_recipe,
    make_uniform,
    require_gguf_recipe,
)
from bitloss.studies.recipe.measure import REFERENCE, Sensitivities, measure_groups
from bitloss.studies.recipe.result import (
    RECIPE,
    GroupResult,
    MadeFile,
    OptionResult,
    RecipeResult,
    UniformResult,
)
from bitloss.studies.recipe.size import parse_size
from bitloss.studies.run import run_folders
from bitloss.studies.sensitivity.decide import Judge
from bitloss.studies.sensitivity.measure import in_order
from bitloss.studies.sensitivity.setup import Prepared, prepare_parts
from bitloss.types import Progress, SilentProgress

__all__ = ["LAYER_GROUPS", "WINDOWS", "recipe_study", "target_of"]

LAYER_GROUPS = 8
WINDOWS = 32
# What scoring the sensitivities takes of the comparison's options.
_SHARED = ("data", "device", "batch_tokens", "seed", "trust_remote_code")
# What both files of a comparison have to be measured with alike, and on everything.
_NO_PLACE = ("until", "precision", "replicates", "engine", "cache_type", "activations")


def recipe_study(
    model: StrPath,
    *,
    size: str | None = None,
    like: str | None = None,
    measure_on: StrPath | None = None,
    layer_groups: int = LAYER_GROUPS,
    windows: int = WINDOWS,
    out: StrPath = "studies",
    command: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Unpack[CompareOptions],
) -> RecipeResult:
    """Choose a type for every group of tensors, make the file, and compare it on held-out text.

    Args:
        model: the unquantized reference: a path or a hub name.
        size: bytes of the file (``"3.2MB"``) or bits per weight (``"4.5bpw"``).
        like: a recipe (``"gguf-q4_k_m"``) that the file is compared with; it is no larger, unless
            `size` says so.
        measure_on: the text of the sensitivities; None is the default calibration text.
        layer_groups: into how many runs of neighbors the layers are put.
        windows: how many windows of that text are scored.
        out: where the results go. Rerun to resume.
        command: the words of the command line, recorded.
        progress: where to report; None is silent.
        options: of the comparison on held-out corpora and tasks; see
            `bitloss.spec.choices.CompareOptions`.

    Raises:
        UsageError: no size, one that no choice has, or the text of the sensitivities held out too.
        BitlossError: a model or a text cannot be used, or the file not be made.
    """
    progress = progress or SilentProgress()
    _require_asked(size, like, layer_groups, windows, options)
    folder = target_of(model, Path(out)).parent
    refuse_newer_schema(folder / "recipe.json", RECIPE)
    ready = _prepare(str(model), like, measure_on, options, progress)
    _require_held_out(ready, str(model), options)
    uniform = make_uniform(ready, progress)
    scorer = SwapScorer(
        ready.reference.model,
        precision=as_precision(ready.spec.dtype),
        device=ready.spec.main_device,
    )
    scorer.load(REFERENCE, ready.weights)
    groups = _groups(ready, scorer, uniform, layer_groups)
    target, baseline = choose_size(ready, uniform, groups, size, like, progress)
    with RunStore(folder).locked():
        found = _measure(ready, scorer, uniform, groups, RunStore(folder), windows, progress)
        chosen = _choose(groups, found, target - _fixed(groups, uniform))
        made = make_recipe(ready, chosen, folder / f"{folder.name}-{target}.gguf", progress)
        files = export(chosen, file_type(chosen)).files
        for name, content in files.items():
            write_text(folder / name, content)
        compared = compare_held_out(
            str(model), made.name, baseline.name, folder / "run", options, command, progress
        )
        result = _result(ready, uniform, target, found, chosen, made, baseline, compared)
        result = result.model_copy(
            update={
                "exports": tuple(files),
                "run": (folder / "run").relative_to(Path(out)).as_posix(),
            }
        )
        result.write(folder / "recipe.json")
    return result


def target_of(model: StrPath, out: Path) -> Path:
    """Where the answer for a model goes."""
    return run_folders([model], out / "recipe")[str(model)] / "recipe.json"


def _require_asked(
    size: str | None,
    like: str | None,
    layer_groups: int,
    windows: int,
    options: Mapping[str, Any],
) -> None:
    if size is None and like is None:
        raise UsageError(
            "expected a size for the recipe, got none",
            hint="add --size 4.5bpw, or --like gguf-q4_k_m",
        )
    if size is not None:
        parse_size(size, 1)  # a typing error shows before a text is fetched
    if like is not None:
        require_gguf_recipe(like)
    for name, value in (("--layer-groups", layer_groups), ("--windows", windows)):
        if value < 1:
            raise UsageError(f"{name}: expected 1 or more, got {value}", hint=f"omit {name}")
    given = [name for name in _NO_PLACE if options.get(name) not in (None, "", "all", 1)]
    if given:
        raise UsageError(
            f"expected both files scored densely on all of the text, got {', '.join(given)}",
            hint=f"drop {', '.join(given)}",
        )


def _prepare(
    model: str,
    like: str | None,
    measure_on: StrPath | None,
    options: Mapping[str, Any],
    progress: Progress,
) -> Prepared:
    text = DEFAULT_CALIBRATION.corpus if measure_on is None else str(measure_on)
    shared = {name: options[name] for name in _SHARED if name in options}
    variants = [] if like is None else [like]
    return prepare_parts(model, variants, text, shared, progress)


def _require_held_out(ready: Prepared, model: str, options: Mapping[str, Any]) -> None:
    """Refuse to compare on the text of the sensitivities; and find what is wrong with the others
    before the work begins.
    """
    spec = api.make_spec(model, (), **options)
    for name in spec.corpora:
        if load_corpus(name, data=spec.data).digest == ready.facts.digest:
            raise UsageError(
                f"expected held-out text, got `{name}`, which the sensitivities are measured on",
                hint="choose another --corpus, or another --measure-on",
            )


def _groups(
    ready: Prepared, scorer: SwapScorer, uniform: Mapping[str, Uniform], layer_groups: int
) -> tuple[TensorGroup, ...]:
    places = Places(ready.weights, scorer.stack.path, len(scorer.stack))
    first = next(iter(uniform.values()))
    files = {kind: one.checkpoint for kind, one in uniform.items()}
    return find_groups(places, files, first.weights.own_name, layer_groups)


def _fixed(groups: Sequence[TensorGroup], uniform: Mapping[str, Uniform]) -> int:
    return fixed_bytes(groups, uniform[TENSOR_TYPES[0]].checkpoint)


def _measure(
    ready: Prepared,
    scorer: SwapScorer,
    uniform: Mapping[str, Uniform],
    groups: Sequence[TensorGroup],
    store: RunStore,
    windows: int,
    progress: Progress,
) -> Sensitivities:
    order = in_order(ready.windows, ready.facts, ready.spec.seed)[:windows]
    places = np.sort(np.array([window.place for window in order], dtype=np.int32))
    judge = Judge(
        facts=ready.facts, places=places, looks=False, statements=1, seed=ready.spec.seed,
        drawn_from=len(ready.windows),
    )  # fmt: skip
    return measure_groups(
        scorer,
        store,
        groups,
        {kind: one.weights for kind, one in uniform.items()},
        order,
        judge,
        batch_tokens=ready.spec.tokens_in_forward,
        progress=progress,
    )


def _choose(groups: Sequence[TensorGroup], found: Sensitivities, budget: int) -> tuple[Chosen, ...]:
    options = [
        [Choice(option.nbytes, found.mean(group, option.asked)) for option in group.options]
        for group in groups
    ]
    picked = allocate(options, budget)
    return tuple(
        Chosen(group, group.options[index].asked)
        for group, index in zip(groups, picked, strict=True)
    )


def _result(
    ready: Prepared,
    files: Mapping[str, Uniform],
    target: int,
    found: Sensitivities,
    chosen: Sequence[Chosen],
    made: MadeFile,
    baseline: Baseline,
    compared: Compared,
) -> RecipeResult:
    """Everything but where it lies."""
    mixture = mixture_of([one.group for one in chosen], baseline.checkpoint)
    scored = next(iter(found.found.scored.values()))
    uniform = []
    for kind in found.types:
        loss, total = found.uniform(kind)
        uniform.append(
            UniformResult(type=kind, nbytes=files[kind].nbytes, loss=loss, sum_of_parts=total)
        )
    return RecipeResult(
        model=ready.reference.name,
        digest=ready.reference.model.identity.info.digest,
        measured_on=ready.facts.name,
        n_windows=len(scored.window),
        n_tokens=int(scored.tokens.sum()),
        size=target,
        groups=tuple(_group(one, found, mixture) for one in chosen),
        uniform=tuple(uniform),
        predicted=sum(found.mean(one.group, one.type) for one in chosen),
        recipe=made,
        baseline=MadeFile(name=baseline.name, nbytes=baseline.nbytes),
        held_out=compared.held_out,
        capabilities=compared.capabilities,
        exports=(),
        run="",
        notes=_notes(chosen),
        environment=compared.comparison.environment,
    )


def _group(one: Chosen, found: Sensitivities, mixture: Mapping[str, str]) -> GroupResult:
    group = one.group
    return GroupResult(
        group=group.name,
        weights=group.part.weights,
        options=tuple(
            OptionResult(
                type=option.asked,
                stored=tuple(sorted(set(option.stored.values()))),
                nbytes=option.nbytes,
                loss=found.loss(group, option.asked),
            )
            for option in group.options
        ),
        chosen=one.type,
        baseline=mixture[group.name],
    )


def _notes(chosen: Sequence[Chosen]) -> tuple[str, ...]:
    """Types that llama.cpp puts in the place of the ones asked for."""
    fallen = [one for one in chosen if one.group.option(one.type).fallback]
    if not fallen:
        return ()
    replaced = sorted({f"{one.type} -> {one.group.option(one.type).fallback}" for one in fallen})
    return (
        f"{len(fallen)} of {len(chosen)} groups have rows that the blocks of their type do not "
        f"divide; llama.cpp's fallback types are in their place: {', '.join(replaced)}",
    )
