"""The tasks of a run: their jobs, and what has come of them so far.

The windows of all tasks stand in one row (`layout`), since prompts of one task may begin alike and
pieces may hold windows of two. They are scored task by task, so that a run that is stopped has the
tasks that are complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.values import Candidate, Work
from bitloss.errors import BitlossError, Incomparable, SandboxError, StorageError
from bitloss.runner.costs import Costs, pieces_in
from bitloss.runner.jobs import Job, Resources
from bitloss.runner.models import Variant
from bitloss.runner.noise import floor_work
from bitloss.runner.run import Run
from bitloss.runner.tasks.drafts import ReferenceTexts
from bitloss.runner.tasks.entry import Evaluated, Part, keep_task
from bitloss.runner.tasks.floors import TASKS, measure_floors, take_floors
from bitloss.runner.tasks.grading import Grader, grade_texts, grades_key
from bitloss.runner.tasks.items import keep_items, new_pieces, total_items
from bitloss.runner.tasks.kept import KeptOfReference
from bitloss.runner.tasks.layout import TaskWindows, lay_out
from bitloss.runner.tasks.plan import PlannedTask, answer_windows
from bitloss.runner.tasks.texts import TextShards, shards_in
from bitloss.runner.tasks.work import scored_work, text_work
from bitloss.runner.tasks.writers import Writers, shards_of
from bitloss.tasks.base import Grade

__all__ = ["TasksRun"]


class TasksRun:
    """Evaluates all models of a run on its tasks.

    Args:
        run: the run.
        grader: grades texts.
        part: of the items; None is all of them.
        writers: the models that write, where several parts share them.
    """

    def __init__(
        self,
        run: Run,
        grader: Grader,
        part: Part | None = None,
        writers: Writers | None = None,
    ) -> None:
        self._run = run
        self._grader = grader
        self._part = part
        self._place = "tasks" if part is None else f"tasks/{part.name}"
        self._tasks = run.plan.tasks if part is None else part.tasks
        self._laid_out = run.plan.laid_out if part is None else part.tasks
        # Of the whole run: parts of it are scored in the same arithmetic.
        tokens = sum(planned.tokens for planned in run.plan.tasks)
        self._arithmetic = run.arithmetic(tokens * (1 + len(run.plan.variants)))
        self._writers = writers or Writers(run)
        self._grades: dict[tuple[str, str], Sequence[Grade | None]] = {}
        self._reference: dict[int, str] = {}
        self._variants: dict[str, dict[int, str]] = {}
        self._notes: list[str] = []
        self._unscored: dict[str, str] = {}

    # The list ----------------------------------------------------------------------------------

    def jobs(self, costs: Costs) -> list[Job]:
        """Everything that is to be done, in order.

        Args:
            costs: estimates what it takes.
        """
        reference = self._run.reference.name
        # What the reference wrote stands in for gold answers that the data does not have.
        first = [self._text_job(p, reference, costs) for p in self._tasks if p.gold == "reference"]
        laid_out = tuple(job.key for job in first)
        tokens = sum(self._scored_work(planned).scored for planned in self._tasks)
        first_engine = self._run.plan.engine
        own = self._arithmetic.variants[first_engine.name]
        floor = costs.of(floor_work(tokens), first_engine, own)
        measured = f"floor/{self._place}"
        jobs = [*first, Job(measured, "floor", self._measure_floors, "", laid_out, floor)]
        for planned in self._tasks:
            texts = list(self._text_jobs(planned, costs, {job.key for job in jobs}))
            jobs += texts
            states = list(self._states_jobs(planned, costs))
            work = Work(compared=self._scored_work(planned).scored)
            compared = self._run.compared(self._models()[1:], work, self._arithmetic)
            pair = Job(
                f"pair/{self._place}/{planned.name}", "pair", partial(self._pair, planned),
                needs=tuple(job.key for job in states),
                resources=costs.one_by_one(compared, states[0].resources.parts),
                ahead=None if self._part else partial(self._begin, planned),
            )  # fmt: skip
            needs = (measured, pair.key, *(j.key for j in texts if j.kind == "grade"))
            collect = partial(self._collect, planned)
            jobs += [
                *states,
                pair,
                Job(f"collect/{self._place}/{planned.name}", "collect", collect, needs=needs),
            ]
        return jobs

    def _models(self) -> list[str]:
        # A model may be compared with itself: it is evaluated once.
        variants = (ref.text for ref in self._run.plan.variants)
        return list(dict.fromkeys((self._run.reference.name, *variants)))

    def _text_jobs(self, planned: PlannedTask, costs: Costs, listed: set[str]) -> Iterator[Job]:
        """Let every model write, and grade what it wrote while the next one writes."""
        if planned.task.facts.decoding is None:
            return
        for name in self._models():
            job = self._text_job(planned, name, costs)
            if job.key not in listed:
                yield job
            grade = partial(self._grade, planned, name)
            key = f"grade/{self._place}/{planned.name}/{name}"
            yield Job(key, "grade", grade, name, (job.key,), Resources(background=True))

    def _text_job(self, planned: PlannedTask, name: str, costs: Costs) -> Job:
        work = text_work(planned)
        key = f"texts/{self._place}/{planned.name}/{name}"
        write = partial(self._write, planned, name)
        shards = shards_in(work.texts, planned.task.facts.samples)
        resources = self._run.resources(costs, work, name, self._arithmetic, shards)
        ahead = None if self._part else partial(self._begin_texts, planned, name)
        return Job(key, "texts", write, name, self._made(name), resources, ahead)

    def _states_jobs(self, planned: PlannedTask, costs: Costs) -> Iterator[Job]:
        work = self._scored_work(planned)
        for name in self._models():
            key = f"states/{self._place}/{planned.name}/{name}"
            run = partial(self._prepare, planned, name)
            needs = (*self._made(name), f"floor/{self._place}")
            parts = pieces_in(work.read)
            resources = self._run.resources(costs, work, name, self._arithmetic, parts)
            yield Job(key, "states", run, name, needs, resources)

    def _scored_work(self, planned: PlannedTask) -> Work:
        return scored_work(planned, lambda windows: self._estimator.pieces(windows))

    def _made(self, name: str) -> tuple[str, ...]:
        made = self._run.plan.made_by(name)
        return () if name == self._run.reference.name else (f"make-variant/{made}",)

    @cached_property
    def _estimator(self) -> PairScorer:
        return self._run.scorer(self._arithmetic, share_prefixes=True)

    def release(self) -> None:
        """Let go of what was loaded, once all jobs are done: the list of jobs lives on."""
        self.__dict__.pop("_scorer", None)

    # For packs ---------------------------------------------------------------------------------

    def kept(self) -> KeptOfReference:
        """What is in the store of the reference, once all jobs are done."""
        reference = self._scorer_reference
        texts = {
            planned.name: self._shards(planned, reference)
            for planned in self._tasks
            if planned.task.facts.decoding is not None
        }
        home = self._run.reference_engine.name
        scorer = self._run.scorer(self._arithmetic, home, share_prefixes=True)
        return KeptOfReference(
            scorer=scorer,
            pieces=self._pieces,
            layout=self._layout,
            records=tuple(scorer.score(self._pieces, []).reference),
            texts={name: shards.keys for name, shards in texts.items()},
            grades=tuple(grades_key(shards) for shards in texts.values()),
        )

    # Texts -------------------------------------------------------------------------------------

    def _write(self, planned: PlannedTask, name: str) -> None:
        candidate = self._candidate(name)
        if candidate is None:
            return
        shards = self._requests(planned, name, candidate)
        try:
            self._writers.write(candidate, shards, written=partial(self._grader.submit, planned))
        except (SandboxError, StorageError):
            raise
        except BitlossError as error:
            if name == self._run.reference.name:
                raise
            self._run.fail(name, error)

    def _begin_texts(self, planned: PlannedTask, name: str) -> None:
        candidate = self._candidate(name)
        if candidate is not None:
            self._writers.begin(candidate, self._requests(planned, name, candidate))

    def _requests(self, planned: PlannedTask, name: str, candidate: Candidate) -> TextShards:
        """Requests, a variant's with what the reference wrote, as far as it is known."""
        shards, written = self._shards(planned, candidate), self._reference_texts(planned, name)
        return shards if written is None else written.drafts(shards)

    def _reference_texts(self, planned: PlannedTask, name: str) -> ReferenceTexts | None:
        """What a variant's texts are held against."""
        if name == self._run.reference.name or planned.task.facts.decoding is None:
            return None
        own = self._shards(planned, self._scorer_reference)
        return ReferenceTexts.read(self._run.store, own, self._run.reference.tokenizer)

    def _grade(self, planned: PlannedTask, name: str) -> None:
        candidate = self._candidate(name)
        if candidate is not None:
            shards = self._shards(planned, candidate)
            self._grades[planned.name, name] = grade_texts(self._run.store, shards, self._grader)

    def _shards(self, planned: PlannedTask, candidate: Candidate) -> TextShards:
        return shards_of(self._run, planned, candidate)

    # Scores ------------------------------------------------------------------------------------

    @cached_property
    def _layout(self) -> TaskWindows:
        reference = self._run.reference_candidate(self._arithmetic)
        written = {}
        for planned in self._laid_out:
            if planned.gold != "reference":
                continue
            texts = self._shards(planned, reference).read(self._run.store)
            written[planned.name] = [
                answer_windows(question.item, own[0] if own else "", self._run.plan.encoder, index)
                for index, (question, own) in enumerate(zip(planned.questions, texts, strict=True))
            ]
        return lay_out(self._laid_out, written)

    @cached_property
    def _scorer(self) -> PairScorer:
        self._writers.close()  # their memory goes before the scorer's comes
        return self._run.scorer(self._arithmetic, share_prefixes=True)

    @cached_property
    def _pieces(self) -> Sequence[Piece]:
        return self._scorer.pieces(self._layout.windows) if self._layout.windows else []

    def _candidate(self, name: str) -> Candidate | None:
        """A model as it is run; None if it has failed, or is not evaluated."""
        if name == self._run.reference.name:
            return None if self._is_over else self._scorer_reference
        variant = next((v for v in self._asked() if v.name == name), None)
        return None if variant is None else self._run.candidate(variant, self._arithmetic)

    def _asked(self) -> list[Variant]:
        """The variants that are evaluated."""
        usable, part = self._run.variants(), self._part
        return usable if part is None else [v for v in usable if v.name in part.asked()]

    @property
    def _is_over(self) -> bool:
        """Whether nobody has to know what these items come to."""
        return self._part is not None and not self._asked()

    @cached_property
    def _scorer_reference(self) -> Candidate:
        return self._run.reference_candidate(self._arithmetic)

    def _compared(self) -> list[Candidate]:
        """The variants of which options and gold answers are scored."""
        group = [self._run.candidate(v, self._arithmetic) for v in self._asked()]
        return [one for one in group if not self._why_unscored(one)]

    def _why_unscored(self, candidate: Candidate) -> str:
        """Why options and gold answers of a variant are not scored; empty if they are."""
        engine = self._run.engine_of(candidate)
        if "score" not in engine.abilities:
            return f"engine `{engine.name}` cannot score options: {'; '.join(engine.lacks)}"
        return self._unscored.get(candidate.label, "")

    def _own_pieces(self, planned: PlannedTask) -> Sequence[Piece]:
        return new_pieces(planned.name, self._tasks, self._layout, self._pieces)

    def _begin(self, planned: PlannedTask) -> None:
        """Hand out what `_pair` is going to need, if the layout does not depend on texts."""
        elsewhere = self._run.elsewhere
        if elsewhere is None or any(one.gold == "reference" for one in self._laid_out):
            return
        if pieces := self._own_pieces(planned):
            elsewhere.begin_scoring(self._scorer, pieces, self._compared())

    def _prepare(self, planned: PlannedTask, name: str) -> None:
        if self._is_over or not (pieces := self._own_pieces(planned)):
            return
        group = self._compared()
        self._writers.close()
        if name == self._run.reference.name:
            self._scorer.prepare(pieces, self._scorer.reference, group)
            return
        for candidate in group:
            if candidate.model.name == name:
                with self._run.blame(name):
                    self._scorer.prepare(pieces, candidate, group)

    def _pair(self, planned: PlannedTask) -> None:
        if self._is_over or not (pieces := self._own_pieces(planned)):
            return
        group = self._compared()
        scores = self._scorer.score(pieces, group)
        firsts = [piece.first for piece in pieces]
        self._reference.update(zip(firsts, scores.reference, strict=True))
        for candidate in group:
            if candidate.label in scores.failed:
                self._leave_unscored(candidate, scores.failed[candidate.label])
            else:
                records = self._variants.setdefault(candidate.label, {})
                records.update(zip(firsts, scores.variants[candidate.label], strict=True))

    def _leave_unscored(self, candidate: Candidate, error: BitlossError) -> None:
        """A variant whose engine does not score a task's texts. What a server writes still counts
        where it reads other tokens, or has no log-probabilities that are right.
        """
        partial = self._run.engine_of(candidate).is_partial
        if partial and isinstance(error, Incomparable):
            self._unscored[candidate.label] = error.message
        else:
            self._run.fail(candidate.model.name, error)

    def _measure_floors(self) -> None:
        """By engine and task, the divergence that the arithmetic makes on its first gold answers.

        The first engine's, which gives the results; a pack has those of others, too.
        """
        run, plan = self._run, self._run.plan
        if run.task_floors or self._is_over:  # an earlier part has measured them
            return
        if not plan.corpora:  # said once
            self._notes += [f"{one.name}: {note}" for one in plan.engines for note in one.notes]
        if plan.engine.is_partial or not (self._compared() or plan.makes_pack):
            return
        if plan.reference.pack is not None:
            take_floors(run, plan.engine.name)
            return
        gold = {p.name: self._layout.gold_windows(p) for p in self._tasks}
        self._writers.close()  # their memory goes before the scorers' comes
        for engine in plan.spec.engine if plan.makes_pack else plan.spec.engine[:1]:
            with run.floor_may_fail(TASKS, engine):
                scorer = run.scorer(self._arithmetic, engine, share_prefixes=True)
                run.task_floors[engine] = measure_floors(scorer, run.store, gold)

    # What it came to ---------------------------------------------------------------------------

    def _collect(self, planned: PlannedTask) -> None:
        items: dict[str, str] = {}
        absent: dict[str, str] = {}
        totals: dict[str, dict[str, float]] = {}
        for name in self._models():
            candidate = self._candidate(name)
            if candidate is None:
                continue
            is_reference = name == self._run.reference.name
            why = "" if is_reference else self._why_unscored(candidate)
            if why and planned.task.facts.decoding is None:
                absent[name] = why
            else:
                items[name], totals[name] = self._items(planned, name, candidate, is_scored=not why)
        found = Evaluated(items, absent, totals, self._arithmetic.reference, tuple(self._notes))
        if self._part is None:
            keep_task(self._run, planned, found)
        elif items:
            self._part.keep(planned, found)

    def _items(
        self, planned: PlannedTask, name: str, candidate: Candidate, *, is_scored: bool
    ) -> tuple[str, dict[str, float]]:
        """The fingerprint of a model's item records of a task, and the task's totals."""
        reference = name == self._run.reference.name
        records = self._reference if reference else self._variants.get(candidate.label, {})
        shards = None if planned.task.facts.decoding is None else self._shards(planned, candidate)
        is_partial = not reference and self._run.engine_of(candidate).is_partial
        key = keep_items(
            self._run.store,
            planned,
            self._layout,
            self._pieces,
            records,
            shards=shards,
            grades=self._grades.get((planned.name, name)),
            grader=self._grader,
            is_reference=reference,
            beside=self._reference_texts(planned, name),
            is_scored=is_scored,
            is_partial=is_partial,
        )
        totals = total_items(
            self._run.store, planned, self._layout, self._pieces, records,
            shards=shards, is_reference=reference, is_partial=is_partial,
        )  # fmt: skip
        return key, totals
