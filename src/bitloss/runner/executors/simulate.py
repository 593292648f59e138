"""The schedule on a made-up clock: how long a run takes on so many workers, losses included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from bitloss.runner.executors.schedule import Schedule, Task

__all__ = ["Simulated", "simulate", "work_bound"]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of it.

    Attributes:
        seconds: from the beginning to the end of the last part.
        busy: seconds of all workers together in which they loaded or worked, lost work included.
        lost: of those, spent on parts whose worker was lost.
        loads: how often a worker loaded a model.
        losses: workers that were lost.
    """

    seconds: float
    busy: float
    lost: float
    loads: int
    losses: int


def simulate(
    tasks: Sequence[Task],
    workers: int,
    *,
    start: float = 0.0,
    load: float = 0.0,
    failures: Sequence[tuple[float, int]] = (),
) -> Simulated:
    """Carry parts out on workers that are equal.

    Args:
        tasks: each after all that it needs.
        workers: how many.
        start: seconds until a worker is there, at the beginning and after a loss.
        load: seconds to load a model, whenever a worker changes to another one.
        failures: moments, and the worker that is lost at each, counted from 0; another one takes
            its place. Outputs of parts that are done are kept.

    Raises:
        LostTooOften: see `bitloss.runner.executors.schedule.MOST_LOSSES`.
    """
    schedule = Schedule()
    schedule.add(tasks)
    order = count()
    names = {slot: f"{slot}.0" for slot in range(workers)}
    events: list[tuple[float, int, str, int, str]] = []
    for slot in range(workers):
        heappush(events, (start, next(order), "free", slot, names[slot]))
    for moment, slot in failures:
        heappush(events, (moment, next(order), "fail", slot, ""))
    idle: dict[int, str] = {}
    begun: dict[int, float] = {}
    loaded: dict[int, str] = {}
    busy = lost = now = end = 0.0
    loads = losses = 0
    while events and schedule.unfinished:
        now, _, kind, slot, name = heappop(events)
        if kind == "fail":
            losses += 1
            if slot in begun:
                lost += now - begun[slot]
                busy += now - begun.pop(slot)
            schedule.leave(names[slot])
            idle.pop(slot, None)
            loaded.pop(slot, None)
            names[slot] = f"{slot}.{losses}"
            heappush(events, (now + start, next(order), "free", slot, names[slot]))
        elif name == names[slot]:  # else an event of a worker that was lost since
            if slot in begun:
                busy += now - begun.pop(slot)
                schedule.done(name)
                end = now
            schedule.join(name)
            idle[slot] = name
        for free, own in list(idle.items()):
            task = schedule.take(own)
            if task is None:
                break
            del idle[free]
            changes = loaded.get(free) != task.model
            loaded[free] = task.model
            loads += changes
            begun[free] = now
            heappush(events, (now + load * changes + task.seconds, next(order), "done", free, own))
    return Simulated(end, busy, lost, loads, losses)


def work_bound(tasks: Sequence[Task], workers: int) -> float:
    """No schedule is shorter: the work divided by the workers, or the longest chain of needs."""
    chains: dict[str, float] = {}
    for task in tasks:
        chains[task.key] = task.seconds + max((chains[key] for key in task.needs), default=0.0)
    total = sum(task.seconds for task in tasks)
    return max(total / workers, max(chains.values(), default=0.0))
