"""The noise floors of a corpus: how far the reference is from itself in each way that is run."""

from __future__ import annotations

from collections.abc import Mapping

from bitloss.engines.evaluate import load_engine
from bitloss.engines.values import Candidate
from bitloss.results.manifest import MeasuredFloor
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.costs import Costs
from bitloss.runner.jobs import Resources
from bitloss.runner.noise import begin_floors, floor_work, measure_floor, measure_served_floor
from bitloss.runner.run import Arithmetic, Run
from bitloss.spec.ways import Way

__all__ = ["CorpusFloors"]


class CorpusFloors:
    """Measures the noise floors of a corpus, or takes them from a pack.

    Args:
        run: the run.
        planned: the corpus.

    Attributes:
        found: by way, and by variant where it has one of its own.
        notes: what a reader should know of the engines, and of floors that are not there.
    """

    def __init__(self, run: Run, planned: PlannedCorpus) -> None:
        self._run = run
        self._planned = planned
        self.found: dict[str, MeasuredFloor] = {}
        self.notes: list[str] = []

    def resources(self, costs: Costs, arithmetic: Arithmetic) -> Resources:
        """What measuring takes."""
        own, plan = floor_work(self._planned.tokens), self._run.plan
        moved = [way for ref in plan.variants if plan.has_own_floors(way := plan.way_of(ref.text))]
        return costs.one_by_one(
            (own, load_engine(way.engine), arithmetic.variants[way.engine])
            for way in (*plan.ways, *moved)
        )

    def begin(self, arithmetic: Arithmetic) -> None:
        """Hand out the work, if there is somebody who does it."""
        run = self._run
        if run.elsewhere is None or run.reference.pack is not None:
            return
        plugs = ((way, load_engine(way.engine)) for way in run.plan.floor_ways)
        scorers = (
            (way, plug.nudges, run.scorer(arithmetic, way.engine))
            for way, plug in plugs
            if plug.top_k is None
        )
        begin_floors(run.elsewhere, scorers, self._planned.windows)

    def measure(self, arithmetic: Arithmetic, scored: Mapping[str, Candidate]) -> None:
        """Measure them.

        Args:
            arithmetic: that of the scores.
            scored: by name, the variants that there are scores of.

        Raises:
            StorageError: the run directory cannot be written or read.
            BitlossError: the reference cannot be read.
        """
        run = self._run
        for engine in run.plan.engines:
            self.notes += [f"{engine.name}: {note}" for note in engine.notes]
        for way in run.plan.floor_ways:
            engine = load_engine(way.engine)
            if engine.top_k is not None:
                why = "cannot run the reference" if engine.at else "returns only likely tokens"
                self.notes.append(f"{way.label} has no noise floor: it {why}")
            elif run.reference.pack is not None:
                self._take(way)
            else:
                with run.floor_may_fail(self._planned.facts.name, way.label):
                    own = self._measured(way, arithmetic, nudges=engine.nudges)
                    self.found[way.label] = own
        self._measure_variants(arithmetic, scored)

    def _take(self, way: Way) -> None:
        """Take a way's noise floor from the pack."""
        name, pack = self._planned.facts.name, self._run.reference.pack
        assert pack is not None, "asked only beside a pack"
        packed = pack.document.corpora[name]
        if way.label in packed.floors:
            self.found[way.label] = packed.floors[way.label]
        else:
            self._run.floor_of_pack(name, way.label, packed.no_floor)

    def _measured(self, way: Way, arithmetic: Arithmetic, *, nudges: bool) -> MeasuredFloor:
        scorer, store = self._run.scorer(arithmetic, way.engine), self._run.store
        windows = self._planned.windows
        if not way.serving:
            return measure_floor(scorer, store, windows, nudges=nudges)
        plain = self.found.get(way.engine)
        return measure_served_floor(scorer, store, windows, way.serving, plain)

    def _measure_variants(self, arithmetic: Arithmetic, scored: Mapping[str, Candidate]) -> None:
        """Floors of variants in further engines: kernels may round what enters a product with the
        quantized weights of a file, which no run of the reference shows.
        """
        run = self._run
        for name, candidate in scored.items():
            way = run.plan.way_of(name)
            if not run.plan.has_own_floors(way):
                continue
            scorer, plain = run.scorer(arithmetic, way.engine), self.found.get(way.label)
            with run.floor_may_fail(self._planned.facts.name, name):
                self.found[name] = measure_served_floor(
                    scorer, run.store, self._planned.windows, way.serving, plain, candidate
                )
