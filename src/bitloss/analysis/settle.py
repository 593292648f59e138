"""Which variants of a run need no more text and items, since nothing hangs on it.

Asked after every turn of a run (`bitloss.runner.turns`), by the same verdicts that the page will
show. A variant is left

* once it is shown to be acceptable or shown not to be (``decided``): the questions are then whether
  it is the one to ship, and which smaller one is;
* once a smaller one is shown to be acceptable, or the end of its texts has not shown its level to
  be (``not needed``): whatever it keeps, it will not be recommended.

While its level is open, more text is read and, once all its capabilities are shown to be kept, no
more items are evaluated.

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
from bitloss.results.manifest import Manifest, ModelEntry, ScoredVariant
from bitloss.results.models import VariantResult
from bitloss.runner import RunStore
from bitloss.runner.enough import Enough

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
    _corpora: dict[tuple[str, ScoredVariant], CorpusComparison] = field(default_factory=dict)

    def __call__(self, store: RunStore, manifest: Manifest, reading: Collection[str]) -> Enough:
        """The variants of which enough is known.

        Args:
            store: the run directory.
            manifest: of what the run has come to so far.
            reading: names of the variants whose texts are read on.

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
        return settled(variants, self.expectations, unmeasurable, reading, complete=not early)

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
        """A variant's results on texts, put together again where more was scored."""
        found = {}
        for corpus, entry in manifest.corpora.items():
            if name not in entry.variants:
                continue
            key = (corpus, entry.variants[name])
            if key not in self._corpora:
                seed = manifest.environment.seeds.bootstrap
                try:
                    result = CollectedCorpus(store, entry, seed, {}).variant(name)
                except NumericalError:  # it will be reported as failed
                    continue
                self._corpora[key] = result
            found[corpus] = self._corpora[key]
        return found


def settled(
    variants: Sequence[VariantResult],
    expectations: Expectations,
    unmeasurable: Collection[str] = (),
    reading: Collection[str] = (),
    *,
    complete: bool = True,
) -> Enough:
    """The variants of which enough is known.

    Args:
        variants: with their results so far.
        expectations: what verdicts are made with.
        unmeasurable: capabilities that the reference is not shown to have.
        reading: names of the variants whose texts are read on.
        complete: whether none of these may still be shown: else nobody is shown to keep all.
    """
    families = families_of(variants, expectations, unmeasurable)
    found = {one.name: judge(one, expectations, unmeasurable, families) for one in variants}
    verdicts = {name: verdict for name, verdict in found.items() if verdict is not None}
    sides = {name: acceptable(verdict) for name, verdict in verdicts.items()}
    lost = {n for n, one in verdicts.items() if "lost" in (sides[n], one.outcome)}
    kept = {n for n, side in sides.items() if side == "kept" and complete and n not in reading}
    smallest = min((size_order(one) for one in variants if one.name in kept), default=None)
    enough = Enough()
    for one in variants:
        if one.name in kept | lost:
            enough.tasks[one.name] = "decided"
            enough.texts[one.name] = "not needed"
        elif smallest is not None and size_order(one) > smallest:
            enough.tasks[one.name] = enough.texts[one.name] = "not needed"
        elif (verdict := verdicts.get(one.name)) is None:
            continue
        elif one.name not in reading and verdict.level not in (None, *ACCEPTABLE):
            enough.tasks[one.name] = "not needed"
        elif one.name in reading and complete and verdict.outcome == "kept":
            enough.tasks[one.name] = "decided"
    return enough
