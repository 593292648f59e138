"""``--plan`` for a cluster: a worker's own rates, and the schedule on a made-up clock."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from bitloss.engines.values import Cost, Work
from bitloss.formats.base import ModelIdentity
from bitloss.results.plan import PlannedCluster
from bitloss.runner.executors.parts import Estimate
from bitloss.runner.executors.pool import Machines, Part, Pool, require_whole
from bitloss.runner.executors.schedule import Task
from bitloss.runner.executors.scorer import parts_of
from bitloss.runner.executors.simulate import simulate
from bitloss.runner.jobs import Job

__all__ = ["Rates", "as_tasks", "plan_cluster"]

_DONE_BY_WORKERS = frozenset({"make-variant", "states", "pair", "floor", "texts"})


class Rates:
    """Asks one worker what work takes on its machine.

    Args:
        machines: where workers are.
    """

    def __init__(self, machines: Machines) -> None:
        self._pool = Pool(machines, lambda fingerprint, columns: None)
        self._number = count()
        self._known: dict[str, Cost] = {}

    def ask(
        self, engine: str, work: Work, identity: ModelIdentity, arithmetic: str, device: str
    ) -> Cost:
        """What some work takes there; see `bitloss.engines.base.Engine.cost`.

        Raises:
            BitlossError: there is no such device, or no worker.
        """
        action = Estimate(engine, work, identity, arithmetic, device)
        name = repr((engine, work, identity.info.digest, arithmetic, device))
        if name not in self._known:
            part = Part(Task(f"estimate {next(self._number)}", "estimate"), lambda: (action, ()))
            self._pool.add(part)
            self._pool.wait([part])
            outcome = part.done.result()
            require_whole(outcome)
            self._known[name] = outcome.value
        return self._known[name]

    def close(self) -> None:
        """End the worker."""
        self._pool.close()


def plan_cluster(
    jobs: Sequence[Job], machines: Machines, *, load: float, price: float | None
) -> PlannedCluster:
    """What a run takes of a cluster.

    Args:
        jobs: of the run, with the times of a worker.
        machines: where workers are, one of which was started.
        load: seconds to load a model, part of the time of each job that reads or writes.
        price: of a worker per hour.
    """
    workers, needs = machines.size, machines.needs
    start = machines.start_seconds
    tasks = as_tasks(jobs, workers, load)
    seconds, busy = None, 0.0
    if tasks is not None:
        simulated = simulate(tasks, workers, start=start, load=load)
        seconds = simulated.seconds
        busy = simulated.busy / max(workers * seconds, 1e-9)
    return PlannedCluster(
        workers, needs.cpus, needs.gpus, needs.memory_bytes, start, seconds, busy, price
    )


def as_tasks(jobs: Sequence[Job], workers: int, load: float) -> list[Task] | None:
    """A run's jobs in the parts that workers are given; None if a job's time is not known.

    Args:
        jobs: each after all that it needs.
        workers: that share them.
        load: seconds to load a model, which the schedule counts for itself.
    """
    tasks: list[Task] = []
    parts: dict[str, tuple[str, ...]] = {}
    made: tuple[str, ...] = ()
    for rank, job in enumerate(jobs):
        seconds = job.resources.seconds
        if job.kind not in _DONE_BY_WORKERS or seconds == 0:  # opened, or not known to be needed
            parts[job.key] = ()
            continue
        if seconds is None:
            return None
        pieces = parts_of(job.resources.parts, workers)
        own = max(0.0, seconds - load) if job.model and job.kind != "make-variant" else seconds
        needs = [parts.get(key, ()) for key in job.needs]
        keys = tuple(f"{job.key}/{number}" for number in range(pieces))
        for number, key in enumerate(keys):
            # A piece is compared once that piece is read, not once all of the text is.
            wanted = [n[number] if len(n) == pieces else n for n in needs]
            flat = [k for one in wanted for k in ([one] if isinstance(one, str) else one)]
            task = Task(
                key,
                f"{job.kind} {job.model}",
                own / pieces,
                tuple(dict.fromkeys((*made, *flat))),
                rank,
            )
            tasks.append(task)
        parts[job.key] = keys
        if job.kind == "make-variant":
            made += keys
    return tasks
