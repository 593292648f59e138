"""The plug over a pool: a run's scoring, texts and variants as parts for workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from bitloss import environment
from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.evaluate import make_scorer
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.errors import BitlossError, StorageError
from bitloss.runner.executors.elsewhere import Written
from bitloss.runner.executors.parts import (
    Action,
    Columns,
    Make,
    SentCandidate,
    SentModel,
    Write,
    file_sizes,
)
from bitloss.runner.executors.pool import Machines, Part, Pool, require_whole
from bitloss.runner.executors.schedule import Task
from bitloss.runner.executors.scorer import PoolScorer
from bitloss.runner.jobs import Job
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.texts import TEXT_COLUMNS, TextShards
from bitloss.spec.fingerprint import fingerprint
from bitloss.spec.recipe import Recipe
from bitloss.spec.serving import Serving
from bitloss.types import Progress, Window

__all__ = ["Delegate", "begun_ahead"]

# Tokens that a step of writing is as long as, roughly, for the order of parts alone.
_WRITTEN_WEIGHT = 20


class Delegate:
    """Does a run's work with a pool; satisfies `bitloss.runner.executors.elsewhere.Elsewhere`.

    Args:
        machines: where workers are.
        store: the run directory, which this process alone writes.
        cache: where made variants are kept; None is the user's cache directory.
        progress: where to report lost workers.
    """

    def __init__(
        self, machines: Machines, store: RunStore, cache: Path | None, progress: Progress
    ) -> None:
        self._store = store
        # As this machine has it: a worker's own environment may name another one.
        self._cache = (environment.cache_directory() if cache is None else cache).absolute()
        self._parts: dict[str, Part] = {}
        self._progress = progress
        self.pool = Pool(machines, self._bring_home, self._report)

    def scorer(self, setup: Setup, engines: Sequence[str]) -> PairScorer:
        """See `Elsewhere.scorer`."""
        local = make_scorer(setup, *engines)
        return PoolScorer.of(local, setup, engines, self.pool, floors=self._parts)

    def begin_scoring(
        self, scorer: PairScorer, pieces: Sequence[Piece], group: Sequence[Candidate]
    ) -> None:
        """See `Elsewhere.begin_scoring`."""
        assert isinstance(scorer, PoolScorer), "made by `scorer`"
        scorer.begin(pieces, group)

    def begin_floor(
        self, scorer: PairScorer, windows: Sequence[Window], serving: Serving | None
    ) -> None:
        """See `Elsewhere.begin_floor`."""
        assert isinstance(scorer, PoolScorer), "made by `scorer`"
        scorer.begin_floor(windows, serving)

    # Texts ----------------------------------------------------------------------------------------

    def begin_texts(self, candidate: Candidate, shards: TextShards, setup: TextSetup) -> None:
        """See `Elsewhere.begin_texts`."""
        self._texts(candidate, shards, setup)

    def write_texts(
        self,
        candidate: Candidate,
        shards: TextShards,
        setup: TextSetup,
        *,
        label: str,
        progress: Progress,
        written: Written,
    ) -> None:
        """See `Elsewhere.write_texts`: what a record holds is graded once it is home."""
        parts = self._texts(candidate, shards, setup)
        keys = {part: key for key, part in parts.items()}
        requests = dict(zip(shards.keys, shards.requests, strict=True))
        samples = shards.planned.task.facts.samples
        total = sum(map(len, shards.requests))

        with progress.task(label, total, "texts") as advance:
            advance(total - sum(len(requests[key]) for key in parts))

            def grade(part: Part) -> None:
                key = keys[part]
                advance(len(requests[key]))
                if part.done.result().error is not None:
                    return
                texts = self._store.read_records([key], TEXT_COLUMNS)["text"]
                for first in range(0, len(texts), samples):
                    own = tuple(map(str, texts[first : first + samples]))
                    written(requests[key][first][0], own)

            self.pool.wait(list(keys), grade)
        for part in keys:
            require_whole(part.done.result())

    def _texts(self, candidate: Candidate, shards: TextShards, setup: TextSetup) -> dict[str, Part]:
        """By fingerprint, the parts of a model's texts that are not there yet."""
        sent = SentCandidate.of(candidate)
        parts = {}
        for rank, (key, piece) in enumerate(shards.missing(self._store)):
            action = Write(
                candidate=sent,
                key=key,
                requests=tuple(request for _, request in piece),
                config=dict(setup.config),
                tokenizer=setup.tokenizer,
                eos_ids=frozenset(setup.eos_ids),
                batch_tokens=setup.batch_tokens,
                memory=setup.memory,
                room=setup.room,
            )
            size = sum(request.decoding.most_tokens for _, request in piece)
            task = Task(
                f"texts of {candidate.label} ({key[:12]})",
                f"{candidate.label} writes",
                size * _WRITTEN_WEIGHT,
                rank=rank,
            )
            parts[key] = self._once(task, action)
        return parts

    # Variants -------------------------------------------------------------------------------------

    def begin_variant(
        self, recipe: Recipe, model: Model, *, data: Path | None, device: str
    ) -> None:
        """See `Elsewhere.begin_variant`."""
        self._variant(recipe, model, data, device)

    def make_variant(self, recipe: Recipe, model: Model, *, data: Path | None, device: str) -> None:
        """See `Elsewhere.make_variant`."""
        part = self._variant(recipe, model, data, device)
        self.pool.wait([part])
        outcome = part.done.result()
        require_whole(outcome)
        made, files = outcome.value
        if not made.exists() or file_sizes(made) != files:
            raise StorageError(
                f"a worker made `{recipe.name}` in {made}, which is not there on this machine",
                hint="set BITLOSS_CACHE to a folder that all machines share",
            )

    def _variant(self, recipe: Recipe, model: Model, data: Path | None, device: str) -> Part:
        # As this machine has it: a worker's own environment may name another folder.
        folder = environment.data_directory() if data is None else data.expanduser()
        own = None if folder is None else folder.absolute()
        action = Make(recipe, SentModel.of(model), own, self._cache, device)
        seed = fingerprint([recipe.to_dict(), model.identity.info.digest])
        parameters = model.identity.info.parameters
        task = Task(f"making {recipe.name} ({seed[:12]})", f"make {seed}", float(parameters))
        return self._once(task, action)

    # Parts ----------------------------------------------------------------------------------------

    def _once(self, task: Task, action: Action) -> Part:
        """The part of that name, handed out now unless it was before."""
        if task.key not in self._parts:
            self._parts[task.key] = Part(task, lambda: (action, ()))
            self.pool.add(self._parts[task.key])
        return self._parts[task.key]

    def _report(self, line: str) -> None:
        with self._progress.task(line, None):
            pass

    def _bring_home(self, fingerprint: str, columns: Columns) -> None:
        if not self._store.has_records(fingerprint):
            self._store.write_records(fingerprint, columns)

    def close(self) -> None:
        """See `Elsewhere.close`."""
        self.pool.close()


def begun_ahead(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, with one put in that hands out the work of all that follow it: once all variants
    are made. What they are made from is handed out now.
    """
    made = [number for number, job in enumerate(jobs) if job.kind == "make-variant"]
    at = made[-1] + 1 if made else 0
    _begin(job.ahead for job in jobs[:at])
    later = [job.ahead for job in jobs[at:]]
    return [*jobs[:at], Job("ahead", "ahead", lambda: _begin(later)), *jobs[at:]]


def _begin(calls: Iterable[Callable[[], None] | None]) -> None:
    for call in calls:
        if call is not None:
            with suppress(BitlossError):  # the job itself meets it again, and says so
                call()
