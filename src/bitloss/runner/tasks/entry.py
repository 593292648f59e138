"""What was found on a task, or on a part of it, and how it stands in the manifest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from bitloss.results.manifest import TaskEntry
from bitloss.results.values import Stopped
from bitloss.runner.run import Run
from bitloss.runner.tasks.display import keep_questions
from bitloss.runner.tasks.floors import TASKS
from bitloss.runner.tasks.plan import PlannedTask

__all__ = ["Evaluated", "Part", "keep_task"]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What was found on a task.

    Attributes:
        items: by model, the fingerprint of its item records.
        absent: by variant without any that did not fail, why.
        totals: by model, metrics of all items together.
        arithmetic: of the scoring.
        notes: what a reader should know.
        stopped: by variant, why no more of it was evaluated; None where all of it is.
    """

    items: Mapping[str, str]
    absent: Mapping[str, str]
    totals: Mapping[str, Mapping[str, float]]
    arithmetic: str
    notes: tuple[str, ...] = ()
    stopped: Mapping[str, Stopped] | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Part:
    """Some items of the run's tasks, which are evaluated apart from the others.

    Attributes:
        name: of it, for the keys of its jobs.
        tasks: with these items alone.
        asked: names of the variants that are evaluated, known when the first job of it runs;
            without any the reference is not, either.
        keep: given a task and what was found, keeps it.
    """

    name: str
    tasks: tuple[PlannedTask, ...]
    asked: Callable[[], Collection[str]]
    keep: Callable[[PlannedTask, Evaluated], None]


def keep_task(run: Run, planned: PlannedTask, found: Evaluated) -> None:
    """Note a task's results, so that a run that is stopped can be reported.

    Raises:
        StorageError: the run directory cannot be written.
    """
    facts = planned.described()
    floors = run.task_floors.get(run.plan.engine.name, {})
    run.tasks[planned.name] = TaskEntry(
        **{**facts, "notes": (*facts["notes"], *found.notes, *run.about_floors(TASKS))},
        dtype=found.arithmetic,
        noise_floor=floors.get(planned.name),
        questions=keep_questions(run.store, planned),
        items=dict(found.items),
        totals={name: dict(own) for name, own in found.totals.items() if own},
        absent=dict(found.absent),
        stopped=None if found.stopped is None else dict(found.stopped),
    )
    run.save_unfinished()
