"""From a finished run directory to its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from bitloss.analysis.conclude import conclude
from bitloss.analysis.corpora import analyse_corpus, analyse_reference
from bitloss.analysis.loss_ranking import BASELINE, CorpusDivergence, Divergences
from bitloss.analysis.task_collect import CollectedTasks
from bitloss.errors import NumericalError
from bitloss.expectations import Expectations, load_expectations
from bitloss.metrics.divergence import mean_divergence
from bitloss.metrics.intervals import Series
from bitloss.results.comparison import (
    Comparison,
    CorpusComparison,
    Environment,
    Failure,
    NoiseFloor,
    ReferenceCorpus,
    ReferenceResult,
    VariantResult,
)
from bitloss.runner import RunStore
from bitloss.types import ScoredCorpus

__all__ = ["collect"]

_AnyCorpus = TypeVar("_AnyCorpus", bound=ReferenceCorpus)


def collect(
    store: RunStore, manifest: Mapping[str, Any], expectations: Expectations | None = None
) -> Comparison:
    """Analyse the records that the manifest names, and say what they come to.

    Args:
        store: the run directory.
        manifest: as `bitloss.runner.execute` returns it, or `RunStore.read_manifest`.
        expectations: what verdicts are made with; None is the tables that come with bitloss.

    Raises:
        StorageError: a record is missing or damaged.
        NumericalError: the reference's losses are NaN or infinite.
    """
    corpora = {name: _Scored(store, entry, manifest) for name, entry in manifest["corpora"].items()}
    tasks = CollectedTasks(store, manifest)
    variants, answer = conclude(
        tuple(_variant(described, corpora, tasks) for described in manifest["variants"]),
        lambda names: _divergences(names, corpora, tasks, manifest),
        expectations or load_expectations(),
    )
    return Comparison(
        reference=ReferenceResult(
            **manifest["reference"]["info"],
            corpora={name: scored.reference() for name, scored in corpora.items()},
            tasks=tasks.reference(),
        ),
        variants=variants,
        answer=answer,
        environment=Environment(**manifest["environment"]),
        missing=manifest.get("missing"),
    )


def _variant(
    described: Mapping[str, Any], corpora: Mapping[str, _Scored], tasks: CollectedTasks
) -> VariantResult:
    """A variant's row; figures that are no numbers make it a failed one, and the others stay."""
    error = described["error"]
    found: dict[str, CorpusComparison] = {}
    for name, scored in corpora.items():
        if described["name"] not in scored.variants:
            continue
        try:
            found[name] = scored.variant(described["name"])
        except NumericalError as fault:
            error = error or {"message": fault.message, "hint": fault.hint}
    return VariantResult(
        **(described["info"] or {"name": described["name"]}),
        recipe=described["recipe"],
        status="ok" if error is None else "failed",
        error=None if error is None else Failure(**error),
        corpora=found,
        **tasks.variant(described["name"]),
    )


def _divergences(
    names: Sequence[str],
    corpora: Mapping[str, _Scored],
    tasks: CollectedTasks,
    manifest: Mapping[str, Any],
) -> Divergences | None:
    """What is ranked: of the variants that were asked everything; None without any."""
    answered = [name for name in names if tasks.complete(name)]
    capabilities, floors = tasks.divergences(answered)
    if not capabilities:
        return None
    corpus = None
    if BASELINE not in capabilities and corpora:
        first, scored = next(iter(corpora.items()))
        found = {name: scored.divergence(name) for name in answered if name in scored.variants}
        corpus = CorpusDivergence(
            first,
            series={name: series for name, (series, _) in found.items()},
            floors={name: floor for name, (_, floor) in found.items()},
        )
    seed = manifest["environment"]["seeds"]["bootstrap"]
    return Divergences(capabilities, floors, tasks.changes(answered), corpus, seed)


class _Scored:
    """The records of one corpus."""

    def __init__(
        self, store: RunStore, entry: Mapping[str, Any], manifest: Mapping[str, Any]
    ) -> None:
        facts = entry["facts"]
        self.facts = ScoredCorpus(
            **{**facts, "valid": tuple(facts["valid"]), "notes": tuple(facts["notes"])}
        )
        self.variants: Mapping[str, Any] = entry["variants"]
        self._store = store
        self._records: list[str] = entry["reference"]
        self._dtype: str = entry["dtype"]
        self._seed: int = manifest["environment"]["seeds"]["bootstrap"]
        drawn = entry.get("sequential")
        self._blocks: list[int] | None = drawn and drawn["blocks"]
        floor = entry["noise_floor"]
        self._floor = floor and NoiseFloor(
            kl_divergence=floor["kl_divergence"], dtype=floor["dtype"], n_scored=floor["n_scored"]
        )

    def reference(self) -> ReferenceCorpus:
        """The reference's own figures."""
        columns = self._store.read_records(self._records, ("window", "nll", "entropy"))
        figures = analyse_reference(
            columns["nll"],
            columns["window"],
            self.facts,
            dtype=self._dtype,
            seed=self._seed,
            entropy=columns["entropy"],
            noise_floor=self._floor,
            blocks=self._blocks,
        )
        return self._sourced(figures)

    def variant(self, name: str) -> CorpusComparison:
        """A variant's figures beside the reference's."""
        entry = self.variants[name]
        exact = entry["exact"]
        figures = analyse_corpus(
            self._store.read_token_records(entry["records"]),
            self.facts,
            dtype=self._dtype,
            seed=self._seed,
            noise_floor=self._floor,
            exact=exact and self._store.read_token_records(exact["records"]),
            exact_dtype=exact["dtype"] if exact else "fp32",
            blocks=self._blocks,
            stopped=entry.get("stopped"),
        )
        return self._sourced(figures, tuple(entry["notes"]))

    def divergence(self, name: str) -> tuple[Series, float]:
        """A variant's divergence window by window, and the noise floor of its arithmetic."""
        entry = self.variants[name]
        used = entry["exact"] or {"records": entry["records"], "dtype": self._dtype}
        columns = self._store.read_records(used["records"], ("window", "kl_divergence"))
        floor = self._floor
        known = floor is not None and floor.dtype == used["dtype"]
        value = floor.kl_divergence if floor is not None and known else None
        return mean_divergence(columns["kl_divergence"], columns["window"]), value or 0.0

    def _sourced(self, figures: _AnyCorpus, notes: tuple[str, ...] = ()) -> _AnyCorpus:
        return figures.model_copy(
            update={"source": self.facts.source, "notes": (*figures.notes, *notes)}
        )
