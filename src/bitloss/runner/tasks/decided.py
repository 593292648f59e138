"""Tasks evaluated in looks.

A look adds items in the order of the draw (`bitloss.runner.draw`), to all tasks at once. What is
known after it says which variants are evaluated on the next ones (`bitloss.runner.turns`). The
reference is evaluated on what any variant is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bitloss.metrics.item_looks import item_look_sizes
from bitloss.results.values import Stopped
from bitloss.runner.costs import Costs
from bitloss.runner.draw import item_order
from bitloss.runner.enough import Enough
from bitloss.runner.jobs import Job
from bitloss.runner.run import Run
from bitloss.runner.tasks.drawn import keep_drawn
from bitloss.runner.tasks.entry import Evaluated, Part, keep_task
from bitloss.runner.tasks.grading import Grader
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.run import TasksRun
from bitloss.runner.tasks.writers import Writers

__all__ = ["DecidedTasks", "task_looks"]


class DecidedTasks:
    """Evaluates the models of a run on as much of its tasks as has to be known.

    Args:
        run: the run.
        grader: grades texts.
        enough: says at any time which variants need no more.
    """

    def __init__(self, run: Run, grader: Grader, enough: Enough) -> None:
        self._run = run
        self._enough = enough
        self._grader = grader
        self._writers = Writers(run)
        self._looks = _looks(run.plan.tasks)
        self._found: dict[str, list[tuple[PlannedTask, Evaluated]]] = defaultdict(list)
        self._ended: dict[str, Stopped] = {}

    def looks(self, costs: Costs) -> list[list[Job]]:
        """By look, everything that is to be done if no variant stops before the end, in order.

        Args:
            costs: estimates what it takes.
        """
        looks: list[list[Job]] = []
        for number, tasks in enumerate(self._looks, start=1):
            part = Part(f"look-{number}", tasks, self.asked, self._keep)
            look = TasksRun(self._run, self._grader, part, self._writers)
            own = look.jobs(costs)
            needs = tuple(job.key for job in own if job.kind == "collect")
            end = partial(self._end, look, is_last=number == len(self._looks))
            looks.append([*own, Job(f"collect/tasks/{part.name}", "collect", end, needs=needs)])
        return looks

    def asked(self) -> Collection[str]:
        """The variants that are evaluated on more items, if there are more."""
        left = {v.name for v in self._run.variants()}
        return left - self._enough.tasks.keys() - self._ended.keys()

    def note(self) -> None:
        """Note the results so far, and who has stopped."""
        asked, undecided = self.asked(), self._run.undecided
        (undecided.update if asked else undecided.difference_update)(self._found)
        self._write({**dict.fromkeys(asked, "end"), **self._ended, **self._enough.tasks})

    def _keep(self, planned: PlannedTask, found: Evaluated) -> None:
        self._found[planned.name].append((planned, found))

    def _end(self, look: TasksRun, *, is_last: bool) -> None:
        look.release()
        asked = self.asked()
        if not asked:
            return
        if is_last:
            self._ended.update(dict.fromkeys(asked, "end"))
        self.note()

    def _write(self, stopped: Mapping[str, Stopped]) -> None:
        for planned in self._run.plan.tasks:
            parts = self._found[planned.name]
            first = parts[0][1]
            names = dict.fromkeys(name for _, found in parts for name in found.items)
            items = {
                name: keep_drawn(
                    self._run.store,
                    planned,
                    [(own, found.items[name]) for own, found in parts if name in found.items],
                )
                for name in names
            }
            here = {name: why for name, why in stopped.items() if name in items}
            totals = {name: own for _, found in parts for name, own in found.totals.items()}
            found = replace(first, items=items, totals=totals, stopped=here)
            keep_task(self._run, planned, found)


def task_looks(planned: PlannedTask) -> list[PlannedTask]:
    """The task in parts, each with the items that a look adds.

    A task with a metric of all items together is one part: no look could add to it. Items that do
    not fit the context take no time, and tell nothing: they are part of the first look.
    """
    if planned.task.totals is not None:
        return [planned]
    questions = planned.questions
    order = item_order([question.item for question in questions], seed=planned.seed)
    fitting = [index for index in order if questions[index].asked]
    sizes = item_look_sizes(len(fitting))
    parts = [fitting[start:stop] for start, stop in zip((0, *sizes), sizes, strict=False)]
    parts[0] = parts[0] + [index for index in order if not questions[index].asked]
    return [
        replace(planned, questions=tuple(questions[index] for index in sorted(part)))
        for part in parts
    ]


def _looks(tasks: Sequence[PlannedTask]) -> list[tuple[PlannedTask, ...]]:
    """By look, the parts of all tasks that have so many."""
    parts = [task_looks(planned) for planned in tasks]
    return [
        tuple(own[number] for own in parts if number < len(own))
        for number in range(max(map(len, parts), default=0))
    ]
