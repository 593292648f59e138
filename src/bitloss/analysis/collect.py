"""From a finished run directory to its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

from bitloss.analysis.conclude import conclude
from bitloss.analysis.corpora import analyse_corpus, analyse_reference
from bitloss.analysis.replicated_corpora import analyse_replicates
from bitloss.analysis.task_collect import CollectedTasks
from bitloss.errors import NumericalError
from bitloss.expectations import Expectations, load_expectations
from bitloss.results.comparison import Comparison
from bitloss.results.corpora import CorpusComparison, ReferenceCorpus
from bitloss.results.manifest import CorpusEntry, ExactRecords, Manifest, ModelEntry
from bitloss.results.models import Failure, ReferenceResult, VariantResult
from bitloss.results.replicates import Replicates, Spread
from bitloss.runner import RunStore
from bitloss.runner.noise import FIRST_WINDOWS

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
    corpora = {name: _Scored(store, entry, seed) for name, entry in manifest.corpora.items()}
    tasks = CollectedTasks(store, manifest)
    abilities = tasks.abilities()
    references = {name: scored.reference() for name, scored in corpora.items()}
    variants, answer = conclude(
        tuple(_row(named, corpora, tasks) for named in _named(manifest)),
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
    named: Sequence[ModelEntry], corpora: Mapping[str, _Scored], tasks: CollectedTasks
) -> VariantResult:
    return (_variant if len(named) == 1 else _replicated)(named, corpora, tasks)


def _variant(
    named: Sequence[ModelEntry], corpora: Mapping[str, _Scored], tasks: CollectedTasks
) -> VariantResult:
    """A variant's row; results that are not finite make it a failed one, and the others stay."""
    (entry,) = named
    failure = entry.error
    analysed: dict[str, CorpusComparison] = {}
    for name, scored in corpora.items():
        if entry.name not in scored.variants:
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
        **tasks.variant(entry.name),
    )


def _replicated(
    named: Sequence[ModelEntry], corpora: Mapping[str, _Scored], tasks: CollectedTasks
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
        **results,
    )


def _whose(failure: Failure, entry: ModelEntry) -> Failure:
    """A replicate's failure, with its name."""
    if entry.replicate_of is None:
        return failure
    return Failure(message=f"{entry.name}: {failure.message}", hint=failure.hint)


class _Scored:
    """The records of one corpus."""

    def __init__(self, store: RunStore, entry: CorpusEntry, seed: int) -> None:
        self.variants = entry.variants
        self._store = store
        self._entry = entry
        self._seed = seed
        self._blocks = None if entry.random_order is None else entry.random_order.blocks
        self._floor = None if entry.noise_floor is None else entry.noise_floor.as_result

    def reference(self) -> ReferenceCorpus:
        """The reference's own results."""
        columns = self._store.read_records(self._entry.reference, ("window", "nll", "entropy"))
        results = analyse_reference(
            columns["nll"],
            columns["window"],
            self._entry.facts,
            dtype=self._entry.dtype,
            seed=self._seed,
            entropy=columns["entropy"],
            noise_floor=self._floor,
            blocks=self._blocks,
        )
        return self._sourced(results)

    def variant(self, name: str) -> CorpusComparison:
        """A variant's results beside the reference's."""
        scored = self.variants[name]
        exact = scored.exact
        results = analyse_corpus(
            self._store.read_token_records(scored.records),
            self._entry.facts,
            dtype=self._entry.dtype,
            seed=self._seed,
            noise_floor=self._floor,
            exact=None if exact is None else self._store.read_token_records(exact.records),
            exact_dtype="" if exact is None else exact.dtype,
            exact_drawn_from=self._entry.drawn_from(exact),
            exact_blocks=self._exact_blocks(exact),
            blocks=self._blocks,
            stopped=scored.stopped,
        )
        return self._sourced(results, scored.notes)

    def replicates(self, names: Sequence[str]) -> tuple[CorpusComparison, dict[str, Spread]]:
        """The mean results of a recipe's replicates, and what each of them has."""
        scored = [self.variants[name] for name in names]
        exact = [one.exact for one in scored if one.exact is not None]
        both = len(exact) == len(scored)
        results, spreads = analyse_replicates(
            [self._store.read_token_records(one.records) for one in scored],
            self._entry.facts,
            dtype=self._entry.dtype,
            seed=self._seed,
            noise_floor=self._floor,
            exact=[self._store.read_token_records(one.records) for one in exact] if both else None,
            exact_dtype=exact[0].dtype if both else "",
            exact_drawn_from=self._entry.drawn_from(exact[0] if both else None),
        )
        notes = dict.fromkeys(note for one in scored for note in one.notes)
        return self._sourced(results, tuple(notes)), spreads

    def _exact_blocks(self, exact: ExactRecords | None) -> Sequence[int] | None:
        """Windows that could be drawn to be scored again, look by look; None without looks."""
        if exact is None or not exact.drawn:
            return self._blocks
        total = self._entry.facts.n_windows_total
        return range(total) if self._entry.facts.n_windows > FIRST_WINDOWS else None

    def _sourced(self, results: _AnyCorpus, notes: tuple[str, ...] = ()) -> _AnyCorpus:
        return results.model_copy(
            update={"source": self._entry.facts.source, "notes": (*results.notes, *notes)}
        )
