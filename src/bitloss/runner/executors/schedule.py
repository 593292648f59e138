"""Which worker takes which part of a run, and what is done again when a worker is lost.

Nothing here knows what parts are, where workers run or what time it is: `simulate` drives the same
class on a made-up clock, `pool` with real workers.

The rule is list scheduling with a memory: a free worker stays with the model that it has loaded
while there is work for it, and else takes the model with the most waiting work per worker. No
worker is ever idle while a part is ready, so that a run takes at most the work divided by the
workers plus its longest chain (R. L. Graham, Bounds on multiprocessing timing anomalies, 1969).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

__all__ = ["MOST_LOSSES", "LostTooOften", "Schedule", "Task"]

MOST_LOSSES = 3
"""How many workers may be lost with one part before the part is taken to be the reason."""

_MOST_MACHINES = 20
"""How often a part or its output may be lost with a machine, which proves nothing against it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A part as the schedule sees it.

    Attributes:
        key: its name.
        model: what a worker has to load for it; a worker that has it loaded is preferred.
        seconds: expected, in any unit: only ratios count.
        needs: keys of parts whose output it takes.
        rank: the smaller, the earlier among parts of one model.
    """

    key: str
    model: str = ""
    seconds: float = 1.0
    needs: tuple[str, ...] = ()
    rank: int = 0


class LostTooOften(Exception):  # noqa: N818 - the pool turns it into an error for people
    """A part with which too many workers were lost, one after the other."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.key)
        self.task = task


@dataclass(slots=True)
class _Queue:
    """Parts of one model that are ready, by rank, and who has the model loaded."""

    ready: list[tuple[int, int, str]] = field(default_factory=list)
    seconds: float = 0.0
    workers: set[str] = field(default_factory=set)


class Schedule:
    """Parts that wait, are ready, run or are done, and the workers that take them.

    Args:
        most_losses: see `MOST_LOSSES`.
    """

    def __init__(self, most_losses: int = MOST_LOSSES) -> None:
        self._most_losses = most_losses
        self._tasks: dict[str, Task] = {}
        self._added: dict[str, int] = {}
        self._waiting: dict[str, set[str]] = {}
        self._needed_by: dict[str, set[str]] = {}
        self._queues: dict[str, _Queue] = {}
        self._running: dict[str, str | None] = {}
        self._loaded: dict[str, str] = {}
        self._done: set[str] = set()
        self._losses: dict[str, int] = {}
        self._lost_machines: dict[str, int] = {}

    @property
    def unfinished(self) -> int:
        """Parts that are not done."""
        return len(self._tasks) - len(self._done)

    def is_done(self, key: str) -> bool:
        """Whether a part is done and its output was not lost since."""
        return key in self._done

    def add(self, tasks: Iterable[Task]) -> None:
        """Take on parts; a key that is known is not taken on again.

        Raises:
            ValueError: a part needs one that was not added before it.
        """
        for task in tasks:
            if task.key in self._tasks:
                continue
            for key in task.needs:
                if key not in self._tasks:
                    raise ValueError(f"part `{task.key}` needs `{key}`, which nobody added")
                self._needed_by.setdefault(key, set()).add(task.key)
            self._tasks[task.key] = task
            self._added[task.key] = len(self._added)
            self._wait(task)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop parts that are done, with all that needs them, or that nobody wants any more."""
        for key in keys:
            task = self._tasks.pop(key, None)
            if task is None:
                continue
            if key not in {*self._done, *self._waiting, *self._running.values()}:
                self._queues[task.model].seconds -= task.seconds
            self._done.discard(key)
            self._waiting.pop(key, None)
            self._needed_by.pop(key, None)

    def join(self, worker: str) -> None:
        """A worker that is free."""
        self._running.setdefault(worker, None)

    def take(self, worker: str) -> Task | None:
        """Give a free worker a part; None if none is ready."""
        own = self._loaded.get(worker)
        name = own if own is not None and self._has_ready(own) else self._choose()
        if name is None:
            return None
        queue = self._queues[name]
        task = self._tasks[heappop(queue.ready)[2]]
        queue.seconds -= task.seconds
        if own is not None and own != name:
            self._queues[own].workers.discard(worker)
        queue.workers.add(worker)
        self._loaded[worker] = name
        self._running[worker] = task.key
        return task

    def done(self, worker: str) -> None:
        """The worker's part is done, and the worker is free."""
        key = self._running[worker]
        self._running[worker] = None
        if key is None or key not in self._tasks:
            return
        self._done.add(key)
        self._losses.pop(key, None)
        for other in sorted(self._needed_by.get(key, ()), key=self._added.__getitem__):
            if other in self._waiting:
                self._waiting[other].discard(key)
                self._enqueue_if_ready(other)

    def leave(self, worker: str, *, with_machine: bool = False) -> Task | None:
        """A worker is lost; its part, if it had one, is done again.

        Args:
            worker: who.
            with_machine: whether all of the machine was lost: hardly because of the part.

        Raises:
            LostTooOften: see `MOST_LOSSES`.
        """
        key = self._running.pop(worker, None)
        if (model := self._loaded.pop(worker, None)) is not None:
            self._queues[model].workers.discard(worker)
        if key is None or key not in self._tasks:
            return None
        if with_machine:
            return self._again(key, self._lost_machines, _MOST_MACHINES)
        return self._again(key, self._losses, self._most_losses)

    def lose(self, worker: str, outputs: Iterable[str]) -> None:
        """The worker's part could not begin: outputs that it takes were lost with their machine.
        They are made again, and the part after them; the worker is free.

        Raises:
            LostTooOften: a part's outputs were lost again and again.
        """
        key, self._running[worker] = self._running[worker], None
        for output in outputs:
            if output in self._done:
                self._done.discard(output)
                self._again(output, self._lost_machines, _MOST_MACHINES)
        if key is not None and key in self._tasks:
            self._wait(self._tasks[key])

    def _again(self, key: str, losses: dict[str, int], most: int) -> Task:
        task = self._tasks[key]
        losses[key] = losses.get(key, 0) + 1
        if losses[key] > most:
            raise LostTooOften(task)
        self._wait(task)  # what needs it is held back when it would be given out: `_has_ready`
        return task

    def _wait(self, task: Task) -> None:
        self._waiting[task.key] = {key for key in task.needs if key not in self._done}
        self._enqueue_if_ready(task.key)

    def _enqueue_if_ready(self, key: str) -> None:
        if self._waiting[key]:
            return
        del self._waiting[key]
        task = self._tasks[key]
        queue = self._queues.setdefault(task.model, _Queue())
        heappush(queue.ready, (task.rank, self._added[key], key))
        queue.seconds += task.seconds

    def _has_ready(self, model: str) -> bool:
        queue = self._queues[model]
        while queue.ready:
            task = self._tasks.get(queue.ready[0][2])
            if task is not None and self._done.issuperset(task.needs):
                return True
            heappop(queue.ready)
            if task is not None:  # an output that it takes was lost since
                queue.seconds -= task.seconds
                self._wait(task)
        return False

    def _choose(self) -> str | None:
        """The model with the most waiting work per worker; of equal ones the first asked for."""
        best, most = None, (-1.0, 0, 0)
        for name in self._queues:
            if not self._has_ready(name):
                continue
            queue = self._queues[name]
            rank, added, _ = queue.ready[0]
            share = (queue.seconds / (1 + len(queue.workers)), -rank, -added)
            if best is None or share > most:
                best, most = name, share
        return best
