"""The records of a run's corpora, read and analysed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from bitloss.analysis.corpora import (
    added_series,
    analyse_corpus,
    analyse_reference,
    paired_intervals,
)
from bitloss.analysis.replicated_corpora import analyse_replicates, on_common_windows
from bitloss.analysis.top_k import COLUMNS, analyse_top_k
from bitloss.errors import StorageError
from bitloss.metrics.divergence import relative_perplexity
from bitloss.results.corpora import CorpusComparison, ReferenceCorpus
from bitloss.results.manifest import CorpusEntry, ExactRecords
from bitloss.results.replicates import Spread
from bitloss.results.served import Added, ServedCorpus
from bitloss.results.values import Estimate
from bitloss.runner import RunStore
from bitloss.runner.noise import FIRST_WINDOWS
from bitloss.types import TokenRecords

__all__ = ["CollectedCorpus"]

_AnyCorpus = TypeVar("_AnyCorpus", bound=ReferenceCorpus)


class CollectedCorpus:
    """The records of one corpus of a run.

    Args:
        store: the run directory.
        entry: of the corpus, in the run's manifest.
        seed: of the bootstrap.
        ways: by variant, the label of the way that it is run in, if that is not the first.
        packed: whether the reference's hidden states are a pack's, which may be rounded.
    """

    def __init__(
        self,
        store: RunStore,
        entry: CorpusEntry,
        seed: int,
        ways: Mapping[str, str],
        *,
        packed: bool = False,
    ) -> None:
        self.variants = entry.variants
        self._packed = packed
        self._store = store
        self._entry = entry
        self._seed = seed
        self._blocks = None if entry.random_order is None else entry.random_order.blocks
        self._floor = None if entry.noise_floor is None else entry.noise_floor.as_result
        self._floors = {
            name: None if found is None else found.as_result
            for name, way in ways.items()
            for found in (entry.floors.get(name, entry.floors.get(way)),)
        }

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
            self._tokens(scored.records),
            self._entry.facts,
            dtype=self._entry.dtype,
            seed=self._seed,
            noise_floor=self._floors.get(name, self._floor),
            exact=None if exact is None else self._store.read_token_records(exact.records),
            exact_dtype="" if exact is None else exact.dtype,
            exact_drawn_from=self._entry.drawn_from(exact),
            exact_blocks=self._exact_blocks(exact),
            blocks=self._blocks,
            stopped=scored.stopped,
        )
        return self._sourced(results, scored.notes)

    def served(self, name: str, before: str | None) -> ServedCorpus:
        """A variant's results in a further way to run it.

        Args:
            name: of the variant in this way.
            before: of the variant in the way that it is held beside; None if that has no results.
        """
        if self.variants[name].top_k:
            return self._likely(name, before)
        result = self.variant(name)
        if before is None or before not in self.variants:
            return ServedCorpus(result=result)
        pair = [self.variants[name], self.variants[before]]
        exact = all(one.exact is not None for one in pair)
        records = [self._tokens(one.most_exact if exact else one.records) for one in pair]
        after, beside = on_common_windows(records)
        first = pair[0].exact if exact else None
        found = paired_intervals(
            added_series(after, beside, self._entry.facts),
            after.window,
            self._entry.facts,
            self._entry.drawn_from(first),
            self._exact_blocks(first),
            self._seed,
        )
        return ServedCorpus(
            result=result, added=Added(**{key: Estimate.of(one) for key, one in found.items()})
        )

    def _likely(self, name: str, before: str | None) -> ServedCorpus:
        """A variant's results in a way in which only likely tokens are known: beside another way
        there are the losses alone.
        """
        columns = self._store.read_records(self.variants[name].records, COLUMNS)
        facts = self._entry.facts
        result = analyse_top_k(
            columns, facts, dtype=self._entry.dtype, seed=self._seed, blocks=self._blocks
        )
        top_k = self._sourced(result, self.variants[name].notes)
        if before is None or before not in self.variants:
            return ServedCorpus(top_k=top_k)
        other = self._store.read_records(self.variants[before].records, ("window", "nll"))
        ratio = relative_perplexity(
            other["nll"], columns["nll"], columns["window"], facts.averaging, facts.valid
        )
        found = paired_intervals(
            {"ratio": ratio}, columns["window"], facts, facts.drawn_from, self._blocks, self._seed
        )
        return ServedCorpus(
            top_k=top_k, added=Added(relative_perplexity=Estimate.of(found["ratio"]))
        )

    def replicates(self, names: Sequence[str]) -> tuple[CorpusComparison, dict[str, Spread]]:
        """The mean results of a recipe's replicates, and what each of them has."""
        scored = [self.variants[name] for name in names]
        exact = [one.exact for one in scored if one.exact is not None]
        both = len(exact) == len(scored)
        results, spreads = analyse_replicates(
            [self._tokens(one.records) for one in scored],
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

    def _tokens(self, records: Sequence[str]) -> TokenRecords:
        """A variant's records; beside a pack with the reference's own losses.

        Losses rebuilt from rounded states err to one side on average, so that an exact copy seemed
        to be better than the reference. The pack has those of the states as they were computed.
        """
        found = self._store.read_token_records(records)
        if not self._packed:
            return found
        own = self._store.read_records(self._entry.reference, ("window", "nll"))
        # Engines may read windows in another order; a window's own tokens stay in the text's.
        theirs, ours = (np.argsort(one, kind="stable") for one in (own["window"], found.window))
        if not np.array_equal(own["window"][theirs], found.window[ours]):
            raise StorageError(
                f"{self._store.root}: the reference and a variant have records of other windows",
                hint="delete the run directory, and run again",
            )
        exact = np.empty_like(found.reference_nll)
        exact[ours] = own["nll"][theirs]
        return replace(found, reference_nll=exact)

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
