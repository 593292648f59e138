"""One corpus of a run: its jobs, and what has come of them so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.evaluate import evaluate, load_engine
from bitloss.engines.values import Candidate, Work
from bitloss.results.manifest import CorpusEntry, ExactRecords, MeasuredFloor, ScoredVariant
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.costs import Costs
from bitloss.runner.jobs import Job
from bitloss.runner.noise import (
    begin_floors,
    floor_work,
    is_near_floor,
    measure_floor,
    measure_served_floor,
)
from bitloss.runner.run import Arithmetic, Run
from bitloss.runner.sequential import RandomText, Reason, Schedule, Stopped, WholeText
from bitloss.spec.ways import Way

__all__ = ["CorpusRun"]


@dataclass(frozen=True, slots=True)
class _Step:
    """A group of variants at one look: what `CorpusRun` lists jobs for.

    Attributes:
        name: for keys.
        look: index of the look.
        group: names of the variants.
        work: of each model, beyond the look before.
        pieces: of the text.
    """

    name: str
    look: int
    group: tuple[str, ...]
    work: Work
    pieces: int


class CorpusRun:
    """Scores all variants of a run on one corpus.

    Args:
        run: the run.
        planned: the corpus.
    """

    def __init__(self, run: Run, planned: PlannedCorpus) -> None:
        self._run = run
        self._planned = planned
        self._reference: list[str] = []
        self._stopped: dict[str, Stopped] = {}
        self._floors: dict[str, MeasuredFloor] = {}
        self._notes: list[str] = []
        self._exact: dict[str, Stopped] = {}
        self._exact_arithmetic = ""

    def jobs(self, costs: Costs) -> list[Job]:
        """Everything that is to be done, in order.

        Args:
            costs: estimates what it takes.
        """
        name = f"corpora/{self._planned.facts.name}"
        tokens = self._planned.tokens * (1 + len(self._run.plan.variants))
        arithmetic = self._run.arithmetic(tokens)
        jobs: list[Job] = []
        for step in self._steps(self._run.scorer(arithmetic)):
            states = [
                Job(
                    f"states/{step.name}/{model}", "states", partial(self._prepare, step, model),
                    model=model, needs=self._made(model, step.group),
                    resources=self._run.resources(
                        costs, step.work, model, arithmetic, step.pieces
                    ),
                )
                for model in dict.fromkeys((self._run.reference.name, *step.group))
            ]  # fmt: skip
            needs = tuple(job.key for job in states)
            work = Work(compared=step.work.scored)
            compared = self._run.compared(step.group, work, arithmetic)
            resources = costs.one_by_one(compared, step.pieces)
            pair = partial(self._pair, step)
            ahead = None if jobs else partial(self._begin, step)  # later ones depend on the first
            jobs += [*states, Job(f"pair/{step.name}", "pair", pair, "", needs, resources, ahead)]
        last = (jobs[-1].key,)
        own = floor_work(self._planned.tokens)
        plan = self._run.plan
        moved = [way for ref in plan.variants if plan.has_own_floors(way := plan.way_of(ref.text))]
        floor = costs.one_by_one(
            (own, load_engine(way.engine), arithmetic.variants[way.engine])
            for way in (*plan.ways, *moved)
        )
        jobs.append(
            Job(f"floor/{name}", "floor", self._measure_floor, "", last, floor, self._begin_floors)
        )
        jobs.append(Job(f"exact/{name}", "pair", self._rescore, needs=(f"floor/{name}",)))
        jobs.append(Job(f"collect/{name}", "collect", self._collect, needs=(f"exact/{name}",)))
        return jobs

    def _steps(self, scorer: PairScorer) -> list[_Step]:
        """Looks, and rounds of as many variants as the scorer takes at once.

        The pieces are those of the scorer's engine; arithmetic and store decide nothing here.
        """
        names = [ref.text for ref in self._run.plan.variants]
        looks = self._schedule_for(scorer).looks(scorer)
        steps: list[_Step] = []
        before = Work()
        for index, look in enumerate(looks):
            size = scorer.rounds(look, len(names))
            groups = [tuple(names[at : at + size]) for at in range(0, max(1, len(names)), size)]
            total = _work(look)
            added = Work(total.read - before.read, total.scored - before.scored)
            before = total
            for number, group in enumerate(groups):
                parts = ["corpora", self._planned.facts.name]
                parts += [f"look-{index + 1}"] * (len(looks) > 1)
                parts += [f"round-{number + 1}"] * (len(groups) > 1)
                steps.append(_Step("/".join(parts), index, group, added, len(look)))
        return steps

    def _made(self, model: str, variants: Sequence[str]) -> tuple[str, ...]:
        made = self._run.plan.made_by(model)
        return (f"make-variant/{made}",) if model in variants else ()

    def kept(self) -> tuple[PairScorer, Sequence[Piece]]:
        """The scorer whose store has the reference's hidden states, and their pieces, once all
        jobs are done.
        """
        scorer = self._run.scorer(self._arithmetic, self._run.reference_engine.name)
        return scorer, self._schedule_for(scorer).looks(scorer)[-1]

    # What is decided when the first job runs --------------------------------------------------

    @cached_property
    def _arithmetic(self) -> Arithmetic:
        return self._run.arithmetic(self._planned.tokens * (1 + len(self._run.variants())))

    @cached_property
    def _scorer(self) -> PairScorer:
        return self._run.scorer(self._arithmetic)

    @cached_property
    def _candidates(self) -> dict[str, Candidate]:
        """By name, the variants that are there at the beginning."""
        return {v.name: self._run.candidate(v, self._arithmetic) for v in self._run.variants()}

    @cached_property
    def _schedule(self) -> Schedule:
        return self._schedule_for(self._scorer)

    @cached_property
    def _looks(self) -> Sequence[Sequence[Piece]]:
        return self._schedule.looks(self._scorer)

    def _schedule_for(self, scorer: PairScorer) -> Schedule:
        run, planned = self._run, self._planned
        if run.plan.stopping is None:
            return WholeText(run.store, planned.facts, planned.windows, run.plan.spec.seed)
        pieces = scorer.smallest_pieces(planned.windows)
        return RandomText(run.store, planned.facts, pieces, run.plan.stopping, run.plan.spec.seed)

    def _active(self, names: Sequence[str]) -> list[Candidate]:
        """The variants among these that have neither failed nor been scored far enough."""
        return [
            candidate
            for name, candidate in self._candidates.items()
            if name in names and name not in self._stopped and name not in self._run.failures
        ]

    # Jobs --------------------------------------------------------------------------------------

    def _prepare(self, step: _Step, name: str) -> None:
        group = self._active(step.group)
        if self._over(step, group):
            return
        pieces = self._looks[step.look]
        if name == self._run.reference.name:
            self._scorer.prepare(pieces, self._scorer.reference, group)
        for candidate in group:  # one may be the reference's own files, served in another way
            if candidate.model.name == name:
                with self._run.blame(name):
                    self._scorer.prepare(pieces, candidate, group)

    def _pair(self, step: _Step) -> None:
        group = self._active(step.group)
        if self._over(step, group):
            return
        look = self._looks[step.look]
        scores = self._scorer.score(look, group)
        self._reference = scores.reference
        for candidate in group:
            name = candidate.model.name
            if candidate.label in scores.failed:
                self._run.fail(name, scores.failed[candidate.label])
                continue
            records = scores.variants[candidate.label]
            with self._run.blame(name):
                last = step.look == len(self._looks) - 1
                reason = self._schedule.stop_reason(records) or ("end" if last else None)
                if reason is not None:
                    self._stopped[name] = _stopped(records, look, reason)

    def _begin(self, step: _Step) -> None:
        if self._run.elsewhere is not None:
            look, group = self._looks[step.look], self._active(step.group)
            self._run.elsewhere.begin_scoring(self._scorer, look, group)

    def _begin_floors(self) -> None:
        run = self._run
        if run.elsewhere is None or not self._candidates or run.reference.pack is not None:
            return
        plugs = ((way, load_engine(way.engine)) for way in run.plan.floor_ways)
        scorers = (
            (way, plug.nudges, run.scorer(self._arithmetic, way.engine))
            for way, plug in plugs
            if plug.top_k is None
        )
        begin_floors(run.elsewhere, scorers, self._planned.windows)

    def _over(self, step: _Step, group: Sequence[Candidate]) -> bool:
        """Whether nobody needs this step; the reference is scored at the first look in any case."""
        return step.look > 0 and not group

    def _measure_floor(self) -> None:
        run, name = self._run, self._planned.facts.name
        if not self._candidates and not run.plan.makes_pack:
            return
        for engine in run.plan.engines:
            self._notes += [f"{engine.name}: {note}" for note in engine.notes]
        for way in run.plan.floor_ways:
            engine = load_engine(way.engine)
            if engine.top_k is not None:
                why = "cannot run the reference" if engine.at else "returns only likely tokens"
                self._notes.append(f"{way.label} has no noise floor: it {why}")
            elif run.reference.pack is not None:
                self._take_floor(way)
            else:
                with run.floor_may_fail(name, way.label):
                    self._floors[way.label] = self._floor_of(way, nudges=engine.nudges)
        self._measure_variants()

    def _take_floor(self, way: Way) -> None:
        """Take a way's noise floor from the pack."""
        name, pack = self._planned.facts.name, self._run.reference.pack
        assert pack is not None, "asked only beside a pack"
        packed = pack.document.corpora[name]
        if way.label in packed.floors:
            self._floors[way.label] = packed.floors[way.label]
        else:
            self._run.floor_of_pack(name, way.label, packed.no_floor)

    def _floor_of(self, way: Way, *, nudges: bool) -> MeasuredFloor:
        scorer, store = self._run.scorer(self._arithmetic, way.engine), self._run.store
        windows = self._planned.windows
        if not way.serving:
            return measure_floor(scorer, store, windows, nudges=nudges)
        plain = self._floors.get(way.engine)
        return measure_served_floor(scorer, store, windows, way.serving, plain)

    def _measure_variants(self) -> None:
        """Floors of variants in further engines: kernels may round what enters a product with the
        quantized weights of a file, which no run of the reference shows.
        """
        run = self._run
        for name in self._stopped:
            way = run.plan.way_of(name)
            if not run.plan.has_own_floors(way):
                continue
            scorer, candidate = run.scorer(self._arithmetic, way.engine), self._candidates[name]
            with run.floor_may_fail(self._planned.facts.name, name):
                self._floors[name] = measure_served_floor(
                    scorer,
                    run.store,
                    self._planned.windows,
                    way.serving,
                    self._floors.get(way.label),
                    candidate,
                )

    def _rescore(self) -> None:
        """Score variants near the noise floor again, in the engine's exact arithmetic."""
        exact = self._scorer.exact()
        if not self._candidates or self._run.plan.spec.dtype != "auto" or exact is None:
            return
        self._exact_arithmetic = exact.reference.arithmetic
        home = self._run.reference_engine.name
        arithmetic = Arithmetic(
            self._exact_arithmetic,
            {**self._arithmetic.variants, home: self._exact_arithmetic},
        )
        scored = [
            v
            for v in self._run.variants()
            if v.name in self._stopped and not self._is_partial(v.name)
        ]
        # Replicates are put together, and ways held against each other: in one arithmetic, that of
        # the one that needs it most.
        recipes = {variant.recipe_name for variant in scored if self._is_near_floor(variant.name)}
        near = [self._run.candidate(v, arithmetic) for v in scored if v.recipe_name in recipes]
        reason = self._schedule.exact_stop_reason
        looks = self._schedule.exact_looks(exact) if near else []
        self._exact = _score_in_looks(self._run, exact, looks, near, reason)

    def _is_partial(self, name: str) -> bool:
        """Whether only likely tokens are known of a variant as it is run."""
        return load_engine(self._run.plan.way_of(name).engine).top_k is not None

    def _is_near_floor(self, name: str) -> bool:
        """Whatever is not known to be far from a floor that was not measured is near it."""
        floor = self._floors.get(self._run.plan.way_of(name).label)
        limit = math.inf if floor is None else floor.kl_divergence
        return is_near_floor(self._run.store, self._stopped[name].records, limit)

    def _collect(self) -> None:
        run, planned = self._run, self._planned
        notes = (*self._notes, *run.about_floors(planned.facts.name))
        run.corpora[planned.facts.name] = CorpusEntry(
            facts=replace(planned.facts, notes=(*planned.facts.notes, *notes)),
            dtype=self._arithmetic.reference,
            noise_floor=self._floors.get(run.plan.engine.name),
            floors={
                label: floor
                for label, floor in self._floors.items()
                if label != run.plan.engine.name
            },
            reference=tuple(self._reference),
            random_order=self._schedule.random_order,
            variants={
                variant.name: self._entry(variant.name, variant.notes)
                for variant in run.variants()
                if variant.name in self._stopped
            },
        )
        del self._scorer  # the list of jobs lives on, and what the scorer has loaded with it
        run.save_unfinished()

    def _entry(self, name: str, notes: tuple[str, ...]) -> ScoredVariant:
        stopped, exact = self._stopped[name], self._exact.get(name)
        return ScoredVariant(
            records=stopped.records,
            stopped=self._schedule.reported_stop_reason(exact or stopped),
            exact=None
            if exact is None
            else ExactRecords(
                dtype=self._exact_arithmetic,
                n_windows=exact.n_windows,
                records=exact.records,
                drawn=self._run.plan.stopping is None,
            ),
            notes=notes,
            top_k=self._is_partial(name),
        )


def _score_in_looks(
    run: Run,
    scorer: PairScorer,
    looks: Sequence[Sequence[Piece]],
    candidates: Sequence[Candidate],
    stop_reason: Callable[[Sequence[str]], Reason | None],
) -> dict[str, Stopped]:
    """By name, what was scored of candidates look by look, each until there is enough of it."""
    stopped: dict[str, Stopped] = {}
    active = list(candidates)
    for look in looks:
        if not active:
            break
        scores = evaluate(scorer, look, active)
        for candidate in active:
            name = candidate.model.name
            with run.blame(name):
                records = scores.records_of(candidate)
                reason = stop_reason(records) or ("end" if look is looks[-1] else None)
                if reason is not None:
                    stopped[name] = _stopped(records, look, reason)
        active = [c for c in active if c.model.name not in {*stopped, *run.failures}]
    return stopped


def _stopped(records: Sequence[str], look: Sequence[Piece], reason: Reason) -> Stopped:
    return Stopped(tuple(records), sum(len(piece.windows) for piece in look), reason)


def _work(pieces: Sequence[Piece]) -> Work:
    scored = sum(window.n_scored for piece in pieces for window in piece.windows)
    return Work(read=sum(piece.tokens for piece in pieces), scored=scored)
