"""One corpus of a run: its jobs, and what has come of them so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.evaluate import evaluate, load_engine
from bitloss.engines.values import Candidate, Work
from bitloss.metrics.sequential import ENOUGH_BLOCKS
from bitloss.results.manifest import CorpusEntry, ExactRecords, ScoredVariant
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.corpus_floors import CorpusFloors
from bitloss.runner.costs import Costs
from bitloss.runner.enough import Enough
from bitloss.runner.jobs import Job
from bitloss.runner.models import Variant
from bitloss.runner.run import Arithmetic, Run
from bitloss.runner.sequential import RandomText, Reason, Schedule, Stopped, WholeText

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
        enough: says which variants need no more text, where more decides than the text itself.
    """

    def __init__(self, run: Run, planned: PlannedCorpus, enough: Enough | None = None) -> None:
        self._run = run
        self._planned = planned
        self._enough = Enough() if enough is None else enough
        self._reference: list[str] = []
        self._scored: dict[str, Stopped] = {}
        self._floors = CorpusFloors(run, planned)
        self._exact: dict[str, Stopped] = {}
        self._exact_arithmetic = ""

    def jobs(self, costs: Costs) -> list[Job]:
        """Everything that is to be done, in order.

        Args:
            costs: estimates what it takes.
        """
        jobs = [job for look in self._scoring(costs) for job in look]
        jobs.append(self._floor_job(costs, jobs[-1].key))
        exact = self._exact_job(self._place, jobs[-1].key)
        return [*jobs, exact, self.last_job(exact.key)]

    def looks(self, costs: Costs) -> list[list[Job]]:
        """By look, the jobs that score it, and note what it came to; `last_job` comes after all.

        Args:
            costs: estimates what it takes.
        """
        looks = self._scoring(costs)
        looks[0].append(self._floor_job(costs, looks[0][-1].key))
        for number, jobs in enumerate(looks, start=1):
            place = f"{self._place}/look-{number}"
            jobs.append(self._exact_job(place, jobs[-1].key))
            needs = (jobs[-1].key,)
            jobs.append(Job(f"collect/{place}", "collect", self._note, needs=needs))
        return looks

    def last_job(self, after: str) -> Job:
        """What is to be done when all has been scored that is.

        Args:
            after: key of the job before.
        """
        return Job(f"collect/{self._place}", "collect", self._collect, needs=(after,))

    @property
    def _place(self) -> str:
        return f"corpora/{self._planned.facts.name}"

    def _floor_job(self, costs: Costs, after: str) -> Job:
        resources = self._floors.resources(costs, self._planned_arithmetic)
        key, measure = f"floor/{self._place}", self._measure_floors
        return Job(key, "floor", measure, "", (after,), resources, self._begin_floors)

    def _exact_job(self, place: str, after: str) -> Job:
        return Job(f"exact/{place}", "pair", self._rescore, needs=(after,))

    def _scoring(self, costs: Costs) -> list[list[Job]]:
        arithmetic = self._planned_arithmetic
        looks: list[list[Job]] = []
        for step in self._steps(self._run.scorer(arithmetic)):
            if step.look == len(looks):
                looks.append([])
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
            # Later ones depend on the first.
            ahead = partial(self._begin, step) if looks == [[]] else None
            pairing = Job(f"pair/{step.name}", "pair", pair, "", needs, resources, ahead)
            looks[-1] += [*states, pairing]
        return looks

    @property
    def _planned_arithmetic(self) -> Arithmetic:
        """Of all variants, whether or not they can be opened."""
        tokens = self._planned.tokens * (1 + len(self._run.plan.variants))
        return self._run.arithmetic(tokens)

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
        pieces = scorer.smallest_pieces(planned.windows, ENOUGH_BLOCKS)
        return RandomText(run.store, planned.facts, pieces, run.plan.stopping, run.plan.spec.seed)

    def _active(self, names: Sequence[str]) -> list[Candidate]:
        """The variants among these that have neither failed nor been scored far enough."""
        return [
            candidate
            for name, candidate in self._candidates.items()
            if name in names and name not in self._stopped and name not in self._run.failures
        ]

    @property
    def _stopped(self) -> dict[str, Stopped]:
        """By name, what was scored of the variants that are scored no further."""
        return {
            name: replace(one, reason=why)
            for name, one in self._scored.items()
            if (why := one.reason or self._enough.texts.get(name)) is not None
        }

    def reading(self) -> list[str]:
        """The variants that are scored further, if there is more text."""
        return [candidate.model.name for candidate in self._active(list(self._candidates))]

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
                self._scored[name] = _stopped(records, look, reason)

    def _note(self) -> None:
        """Note the results so far, between two looks; what the scorer has loaded is let go."""
        self._run.undecided.add(self._planned.facts.name)
        so_far = {
            name: replace(one, reason=one.reason or "end") for name, one in self._scored.items()
        }
        self._enter({**so_far, **self._stopped})

    def _begin(self, step: _Step) -> None:
        if self._run.elsewhere is not None:
            look, group = self._looks[step.look], self._active(step.group)
            self._run.elsewhere.begin_scoring(self._scorer, look, group)

    def _begin_floors(self) -> None:
        if self._candidates:
            self._floors.begin(self._arithmetic)

    def _over(self, step: _Step, group: Sequence[Candidate]) -> bool:
        """Whether nobody needs this step; the reference is scored at the first look in any case."""
        return step.look > 0 and not group

    def _measure_floors(self) -> None:
        if self._candidates or self._run.plan.makes_pack:
            scored = {name: self._candidates[name] for name in self._scored}
            self._floors.measure(self._arithmetic, scored)

    def _rescore(self) -> None:
        """Score variants near the noise floor again, in the engine's exact arithmetic, once they
        have been scored far enough.
        """
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
            if v.name in self._stopped
            and self._stopped[v.name].reason != "not needed"
            and not (v.name in self._exact or self._is_partial(v.name))
        ]
        # Replicates are put together, and ways held against each other: in one arithmetic, that of
        # the one that needs it most.
        recipes = {variant.recipe_name for variant in scored if self._needs_exact(variant.name)}
        near = [self._run.candidate(v, arithmetic) for v in scored if v.recipe_name in recipes]
        reason = self._schedule.exact_stop_reason
        looks = self._schedule.exact_looks(exact) if near else []
        self._exact |= _score_in_looks(self._run, exact, looks, near, reason)

    def _is_partial(self, name: str) -> bool:
        """Whether only likely tokens are known of a variant as it is run."""
        return load_engine(self._run.plan.way_of(name).engine).top_k is not None

    def _needs_exact(self, name: str) -> bool:
        floor = self._floors.found.get(self._run.plan.way_of(name).label)
        return self._schedule.needs_exact(self._stopped[name].records, floor)

    def _collect(self) -> None:
        self._run.undecided.discard(self._planned.facts.name)
        self._enter(self._stopped)

    def _enter(self, scored: Mapping[str, Stopped]) -> None:
        """Make the manifest's entry of what was scored of variants."""
        run, planned, floors = self._run, self._planned, self._floors
        notes = (*floors.notes, *run.about_floors(planned.facts.name))
        first = run.plan.engine.name
        run.corpora[planned.facts.name] = CorpusEntry(
            facts=replace(planned.facts, notes=(*planned.facts.notes, *notes)),
            dtype=self._arithmetic.reference,
            noise_floor=floors.found.get(first),
            floors={label: floor for label, floor in floors.found.items() if label != first},
            reference=tuple(self._reference),
            random_order=self._schedule.random_order,
            variants={
                variant.name: self._entry(scored[variant.name], variant)
                for variant in run.variants()
                if variant.name in scored
            },
        )
        # The list of jobs lives on, and what the scorer has loaded with it.
        self.__dict__.pop("_scorer", None)
        run.save_unfinished()

    def _entry(self, stopped: Stopped, variant: Variant) -> ScoredVariant:
        exact = self._exact.get(variant.name)
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
            notes=variant.notes,
            top_k=self._is_partial(variant.name),
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


def _stopped(records: Sequence[str], look: Sequence[Piece], reason: Reason | None) -> Stopped:
    return Stopped(tuple(records), sum(len(piece.windows) for piece in look), reason)


def _work(pieces: Sequence[Piece]) -> Work:
    scored = sum(window.n_scored for piece in pieces for window in piece.windows)
    return Work(read=sum(piece.tokens for piece in pieces), scored=scored)
