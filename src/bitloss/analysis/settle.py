"""Which variants of a run need no more items: their verdict is settled, or nothing hangs on it.

Asked after every look at the tasks of a run (`bitloss.runner.tasks.decided`), by the same verdicts
that the page will show. A variant is left

* once it is shown to be acceptable or shown not to be (``decided``): the questions are then whether
  it is the one to ship, and which smaller one is;
* once a smaller one is shown to be acceptable, or its level on texts cannot be shown to be (texts
  come first, and are read to the end then): ``not needed``, since whatever it keeps, it will not be
  recommended.

A capability that the reference is not shown to have is open until `ENOUGH` items were evaluated:
with fewer, a small ability cannot be shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field

from bitloss.analysis.corpus_collect import CollectedCorpus
from bitloss.analysis.families import families_of
from bitloss.analysis.reasons import acceptable
from bitloss.analysis.recommendation import size_order
from bitloss.analysis.task_collect import CollectedTasks
from bitloss.analysis.verdicts import judge, without_ability
from bitloss.errors import NumericalError
from bitloss.expectations import ACCEPTABLE, Expectations
from bitloss.results.corpora import CorpusComparison
from bitloss.results.manifest import Manifest, ModelEntry
from bitloss.results.models import VariantResult
from bitloss.results.values import Stopped
from bitloss.runner import RunStore

__all__ = ["ENOUGH", "Settling", "settled"]

ENOUGH = 256
"""Items of a capability, evaluated with the reference, that show any ability worth measuring."""


@dataclass(frozen=True, slots=True)
class Settling:
    """Says which variants need no more items.

    Attributes:
        expectations: what verdicts are made with.
    """

    expectations: Expectations
    _corpora: dict[tuple[str, str], CorpusComparison] = field(default_factory=dict)

    def __call__(self, store: RunStore, manifest: Manifest) -> dict[str, Stopped]:
        """By name of a variant of which enough is known, why.

        Args:
            store: the run directory.
            manifest: of what the run has come to so far.

        Raises:
            StorageError: a record is missing or damaged.
        """
        tasks = CollectedTasks(store, manifest)
        abilities = tasks.abilities()
        unmeasurable = without_ability(abilities, self.expectations)
        variants = tuple(
            self._row(store, manifest, entry, tasks)
            for entry in manifest.variants
            if entry.error is None
        )
        early = tasks.capabilities_below(ENOUGH) & set(unmeasurable)
        return settled(variants, self.expectations, unmeasurable, complete=not early)

    def _row(
        self, store: RunStore, manifest: Manifest, entry: ModelEntry, tasks: CollectedTasks
    ) -> VariantResult:
        """No more of a variant's row than its verdict is made of."""
        info = {"name": entry.name} if entry.info is None else asdict(entry.info)
        return VariantResult(
            **info,
            recipe=entry.recipe,
            own_spread=None,
            status="ok",
            error=None,
            corpora=self._texts(store, manifest, entry.name),
            capabilities=tasks.losses_of(entry.name) or None,
        )

    def _texts(self, store: RunStore, manifest: Manifest, name: str) -> dict[str, CorpusComparison]:
        """A variant's results on texts, which do not change while tasks are evaluated."""
        found = {}
        for corpus, entry in manifest.corpora.items():
            if name not in entry.variants:
                continue
            if (corpus, name) not in self._corpora:
                seed = manifest.environment.seeds.bootstrap
                try:
                    result = CollectedCorpus(store, entry, seed, {}).variant(name)
                except NumericalError:  # it will be reported as failed
                    continue
                self._corpora[corpus, name] = result
            found[corpus] = self._corpora[corpus, name]
        return found


def settled(
    variants: Sequence[VariantResult],
    expectations: Expectations,
    unmeasurable: Collection[str] = (),
    *,
    complete: bool = True,
) -> dict[str, Stopped]:
    """By name of a variant of which enough is known, why.

    Args:
        variants: with their results so far.
        expectations: what verdicts are made with.
        unmeasurable: capabilities that the reference is not shown to have.
        complete: whether none of these may still be shown: else nobody is shown to keep all.
    """
    families = families_of(variants, expectations, unmeasurable)
    sides, doubtful = {}, set()
    for one in variants:
        verdict = judge(one, expectations, unmeasurable, families)
        if verdict is not None and (complete or acceptable(verdict) == "lost"):
            sides[one.name] = acceptable(verdict)
        if verdict is not None and verdict.level not in (None, *ACCEPTABLE):
            doubtful.add(one.name)
    kept = [size_order(one) for one in variants if sides.get(one.name) == "kept"]
    smallest = min(kept, default=None)
    found: dict[str, Stopped] = {}
    for one in variants:
        if sides.get(one.name) in ("kept", "lost"):
            found[one.name] = "decided"
        elif one.name in doubtful or (smallest is not None and size_order(one) > smallest):
            found[one.name] = "not needed"
    return found
