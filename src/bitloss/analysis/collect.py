"""From a finished run directory to its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

from bitloss.analysis.conclude import conclude
from bitloss.analysis.corpus_collect import CollectedCorpus
from bitloss.analysis.served import analyse_served
from bitloss.analysis.task_collect import CollectedTasks
from bitloss.errors import NumericalError
from bitloss.expectations import Expectations, load_expectations
from bitloss.results.comparison import Comparison
from bitloss.results.corpora import CorpusComparison, ReferenceCorpus
from bitloss.results.manifest import Manifest, ModelEntry
from bitloss.results.models import ReferenceResult, VariantResult
from bitloss.results.replicates import Replicates, Spread
from bitloss.results.speed import COLUMN, ModelSpeed
from bitloss.results.values import Failure
from bitloss.runner import RunStore

__all__ = ["collect"]

_AnyCorpus = TypeVar("_AnyCorpus", bound=ReferenceCorpus)


def collect(
    store: RunStore, manifest: Manifest, expectations: Expectations | None = None
) -> Comparison:
    """Analyse the records that the manifest names, and say what they come to.

    Args:
        store: the run directory.
        manifest: of the run.
        expectations: what verdicts are made with; None is bitloss's own tables.

    Raises:
        StorageError: a record is missing or damaged.
        NumericalError: the reference's losses are NaN or infinite.
    """
    seed = manifest.environment.seeds.bootstrap
    ways = {one.name: one.way.label for one in manifest.variants if one.way is not None}
    corpora = {
        name: CollectedCorpus(store, entry, seed, ways, packed=manifest.reference.pack is not None)
        for name, entry in manifest.corpora.items()
    }
    tasks = CollectedTasks(store, manifest)
    speeds = {
        name: ModelSpeed.model_validate_json(str(store.read_records([key], (COLUMN,))[COLUMN][0]))
        for name, key in manifest.speeds.items()
    }
    abilities = tasks.abilities()
    references = {name: scored.reference() for name, scored in corpora.items()}
    variants, answer = conclude(
        tuple(
            _row(named, corpora, tasks).model_copy(
                update={
                    "served": analyse_served(named[0].name, manifest, corpora, tasks, speeds),
                    "speed": speeds.get(named[0].name),
                }
            )
            for named in _named(manifest)
        ),
        tasks.losses,
        expectations or load_expectations(),
        abilities,
    )
    return Comparison(
        reference=ReferenceResult(
            **asdict(manifest.reference.info),
            corpora=references,
            tasks=tasks.reference(),
            abilities=abilities or None,
            pack=manifest.reference.pack,
        ),
        variants=variants,
        answer=answer,
        environment=manifest.environment,
        missing=manifest.missing,
    )


def _named(manifest: Manifest) -> list[tuple[ModelEntry, ...]]:
    """The variants that the user named, each with its replicates."""
    entries = {entry.name: entry for entry in manifest.variants}
    return [tuple(entries[name] for name in names) for names in manifest.replicates.values()]


def _row(
    named: Sequence[ModelEntry], corpora: Mapping[str, CollectedCorpus], tasks: CollectedTasks
) -> VariantResult:
    return (_variant if len(named) == 1 else _replicated)(named, corpora, tasks)


def _variant(
    named: Sequence[ModelEntry], corpora: Mapping[str, CollectedCorpus], tasks: CollectedTasks
) -> VariantResult:
    """A variant's row; results that are not finite make it a failed one, and the others stay."""
    (entry,) = named
    failure = entry.error
    analysed: dict[str, CorpusComparison] = {}
    for name, scored in corpora.items():
        if entry.name not in scored.variants or scored.variants[entry.name].top_k:
            continue
        try:
            analysed[name] = scored.variant(entry.name)
        except NumericalError as error:
            failure = failure or Failure(message=error.message, hint=error.hint)
    return VariantResult(
        **({"name": entry.name} if entry.info is None else asdict(entry.info)),
        recipe=entry.recipe,
        own_spread=None if entry.recipe is None else "left out" if entry.seeded else "none",
        status="ok" if failure is None else "failed",
        error=failure,
        corpora=analysed,
        not_measured=tasks.not_measured(entry.name),
        **tasks.variant(entry.name),
    )


def _replicated(
    named: Sequence[ModelEntry], corpora: Mapping[str, CollectedCorpus], tasks: CollectedTasks
) -> VariantResult:
    """The row of a recipe that was made several times; it has failed if one replicate has."""
    first, names = named[0], [entry.name for entry in named]
    failure = next((_whose(one.error, one) for one in named if one.error is not None), None)
    analysed: dict[str, CorpusComparison] = {}
    spreads: dict[str, dict[str, Spread]] = {}
    for corpus, scored in corpora.items():
        if not all(name in scored.variants for name in names):
            continue
        try:
            analysed[corpus], spreads[corpus] = scored.replicates(names)
        except NumericalError as error:
            failure = failure or Failure(message=error.message, hint=error.hint)
    results, of_tasks = tasks.replicated(names)
    return VariantResult(
        **({"name": first.name} if first.info is None else asdict(first.info)),
        recipe=first.recipe,
        own_spread="included",
        replicates=Replicates(
            seeds=tuple(int((entry.recipe or {})["seed"]) for entry in named),
            digests=tuple("" if entry.info is None else entry.info.digest for entry in named),
            corpora=spreads,
            **of_tasks,
        ),
        status="ok" if failure is None else "failed",
        error=failure,
        corpora=analysed,
        not_measured=tasks.not_measured(first.name),
        **results,
    )


def _whose(failure: Failure, entry: ModelEntry) -> Failure:
    """A replicate's failure, with its name."""
    if entry.replicate_of is None:
        return failure
    return Failure(message=f"{entry.name}: {failure.message}", hint=failure.hint)
