"""A plan carried out: variants made, text scored, the manifest written last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bitloss.engines.dense import reuse_freed_memory
from bitloss.errors import BitlossError
from bitloss.quantizers import Workers, quantizer_of
from bitloss.runner.arithmetic import (
    exact_scorer,
    first_precision,
    measure_floor,
    needs_float32,
)
from bitloss.runner.candidates import ENGINE_VERSION, Candidate
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.environment import environment
from bitloss.runner.looks import Stopped, score_in_looks
from bitloss.runner.models import FailedVariant, Model, open_variant
from bitloss.runner.plan import Plan
from bitloss.runner.schedules import DrawnText, Schedule, WholeText
from bitloss.runner.scoring import Scorer
from bitloss.runner.shards import forwards
from bitloss.runner.side_by_side import side_by_side
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.execute import execute_tasks
from bitloss.spec.model import ModelRef
from bitloss.types import Progress

__all__ = ["MANIFEST_VERSION", "execute"]

MANIFEST_VERSION = 4
# Parameters up to which two recipes are carried out at a time.
SMALL = 100_000_000


def execute(plan: Plan, store: RunStore, *, command: str, progress: Progress) -> dict[str, Any]:
    """Carry the plan out and return the manifest.

    A variant that cannot be made, opened or scored is recorded with its error and does not stop
    the others. Work that the store already holds is not done again.

    Args:
        plan: from `prepare`.
        store: the run directory.
        command: as the user typed it, recorded in the result.
        progress: where to report.

    Returns:
        The manifest: plain values from which the comparison is built (`bitloss.results`).

    Raises:
        BitlossError: the reference cannot be scored, or the run directory not be written.
    """
    reuse_freed_memory()
    with store.locked():
        models, failed = _open_variants(plan, progress)
        corpora: dict[str, Any] = {}
        for planned in plan.corpora:
            scored, unscored = _score_corpus(plan, store, planned, models, progress)
            corpora[planned.facts.name] = scored
            models = _without(models, unscored)
            failed.extend(unscored)
            so_far = _manifest(plan, models, failed, corpora, {}, command)
            store.write_unfinished(so_far, _missing(plan, corpora))
        tasks, unasked = execute_tasks(plan, store, models, progress)
        models = _without(models, unasked)
        failed.extend(unasked)
        manifest = _manifest(plan, models, failed, corpora, tasks, command)
        store.write_manifest(manifest)
    return manifest


def _manifest(
    plan: Plan,
    models: Sequence[Model],
    failed: Sequence[FailedVariant],
    corpora: Mapping[str, Any],
    tasks: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    names = [ref.text for ref in plan.variants]
    described = [*map(_describe, models), *map(_describe_failure, failed)]
    return {
        "manifest_version": MANIFEST_VERSION,
        "reference": _describe(plan.reference),
        "variants": sorted(described, key=lambda variant: names.index(variant["name"])),
        "corpora": corpora,
        "tasks": tasks,
        "environment": environment(plan.spec, ENGINE_VERSION, command),
    }


def _without(models: list[Model], failed: Sequence[FailedVariant]) -> list[Model]:
    gone = {failure.name for failure in failed}
    return [model for model in models if model.name not in gone]


def _missing(plan: Plan, corpora: Mapping[str, Any]) -> list[str]:
    """What was asked for and is not there yet, in sentences."""
    texts = [p.facts.name for p in plan.corpora if p.facts.name not in corpora]
    tasks = [planned.name for planned in plan.tasks]
    parts = {"not scored": texts, "not asked": tasks}
    return [f"{', '.join(names)}: {what} yet" for what, names in parts.items() if names]


def _open_variants(plan: Plan, progress: Progress) -> tuple[list[Model], list[FailedVariant]]:
    """Make and open them; small ones two at a time.

    To quantize a small model is mostly to start a library, which keeps one core busy; a large one
    has use for all cores, and for the memory.
    """

    workers = Workers()

    def attempt(ref: ModelRef) -> Model | FailedVariant:
        try:
            return open_variant(
                ref, plan.spec, plan.reference, plan.tokenizer,
                cache=plan.cache, progress=progress, workers=workers,
            )  # fmt: skip
        except BitlossError as error:
            return FailedVariant(ref.text, ref, error)

    small = plan.reference.checkpoint.info.parameters <= SMALL
    order = sorted(plan.variants, key=_pace)
    found = side_by_side(attempt, order, threads=2 if small else 1, end=workers.end)
    found.sort(key=lambda one: plan.variants.index(one.ref))
    models = [one for one in found if isinstance(one, Model)]
    return models, [one for one in found if isinstance(one, FailedVariant)]


def _pace(ref: ModelRef) -> float:
    """The slowest recipes come first: begun last, one would run alone at the end."""
    return -quantizer_of(ref.recipe).pace if ref.recipe else 0.0


def _score_corpus(
    plan: Plan,
    store: RunStore,
    planned: PlannedCorpus,
    models: Sequence[Model],
    progress: Progress,
) -> tuple[dict[str, Any], list[FailedVariant]]:
    """The manifest's entry for one corpus, and the variants that gave no numbers on it."""
    spec, reference = plan.spec, plan.reference
    read = sum(len(window.ids) for window in planned.windows) * (1 + len(models))
    precision = first_precision(spec, reference.checkpoint.info.parameters, read)
    scorer = Scorer(
        store,
        Candidate(reference, precision),
        batch_tokens=spec.batch_tokens,
        device=spec.device,
        progress=progress,
    )
    candidates = [Candidate(model, precision) for model in models]
    schedule = _schedule(plan, store, planned)
    found = score_in_looks(scorer, schedule.looks(scorer), candidates, schedule.enough)
    floor = None
    if models:
        floor = measure_floor(spec, store, reference, planned, precision, progress)
    whole = [c for c in candidates if c.label in found.variants]
    exact: dict[str, Stopped] = {}
    if floor is not None and spec.dtype == "auto" and precision != "fp32":
        near = [
            c.model
            for c in whole
            if needs_float32(store, found.variants[c.label].records, floor["kl_divergence"])
        ]
        exact = _rescore(exact_scorer(spec, store, reference, progress), near, schedule)
    entry = {
        "facts": asdict(planned.facts),
        "dtype": precision,
        "noise_floor": floor,
        "reference": found.reference,
        "sequential": schedule.described(),
        "variants": {
            c.model.name: {
                "records": found.variants[c.label].records,
                "stopped": schedule.told(exact.get(c.model.name) or found.variants[c.label]),
                "exact": _describe_exact(exact.get(c.model.name)),
                "notes": list(c.model.notes),
            }
            for c in whole
        },
    }
    failed = [
        FailedVariant(c.model.name, c.model.ref, found.failed[c.label])
        for c in candidates
        if c.label in found.failed
    ]
    return entry, failed


def _schedule(plan: Plan, store: RunStore, planned: PlannedCorpus) -> Schedule:
    if plan.stopping is None:
        return WholeText(store, planned)
    pieces = forwards(planned.windows, plan.spec.batch_tokens)
    return DrawnText(store, planned.facts, pieces, plan.stopping, plan.spec.seed)


def _rescore(scorer: Scorer, variants: Sequence[Model], schedule: Schedule) -> dict[str, Stopped]:
    """By name, what was scored of variants in more exact arithmetic."""
    candidates = [Candidate(model, scorer.reference.precision) for model in variants]
    if not candidates:
        return {}
    looks = schedule.exact_looks(scorer)
    found = score_in_looks(scorer, looks, candidates, schedule.exact_enough)
    for fault in found.failed.values():
        raise fault
    return {c.model.name: found.variants[c.label] for c in candidates}


def _describe_exact(exact: Stopped | None) -> dict[str, Any] | None:
    if exact is None:
        return None
    return {"dtype": "fp32", "n_windows": exact.n_windows, "records": exact.records}


def _describe(model: Model) -> dict[str, Any]:
    recipe = model.ref.recipe
    return {
        "name": model.name,
        "info": asdict(model.checkpoint.info),
        "recipe": None if recipe is None else recipe.to_dict(),
        "error": None,
    }


def _describe_failure(failure: FailedVariant) -> dict[str, Any]:
    recipe = failure.ref.recipe
    return {
        "name": failure.name,
        "info": None,
        "recipe": None if recipe is None else recipe.to_dict(),
        "error": {"message": failure.error.message, "hint": failure.error.hint},
    }
