"""What number of how many jobs a run is at, and how long the rest takes.

Nothing is measured ahead. A job's work is counted in units of its kind (tokens that are read or
written, the quantizer's own estimate), and what a unit takes is learned from the jobs that have
ended. The run's kinds differ by less than orders of magnitude; one that was not seen yet is taken
to be as fast as reading, so the first estimates are rough.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, runtime_checkable

from bitloss.runner.jobs import Job
from bitloss.types import Progress

__all__ = ["Remaining", "Steps", "counted"]

# Done faster than this, a job only found that the store has what it would do.
_INSTANT = 0.1
_READING = "states"
# Of kinds that have an estimate of their own, in seconds.
_ESTIMATED = "make-variant"


@runtime_checkable
class Steps(Protocol):
    """A `bitloss.types.Progress` that can show how far the whole run is."""

    def steps(
        self, total: int, *, at_most: bool = False
    ) -> AbstractContextManager[Callable[[int, float | None], None]]:
        """Open the run's own bar; called with the jobs that are done and the seconds left.

        Args:
            total: jobs.
            at_most: whether fewer may do, as the run stops when its question is decided.
        """


@contextmanager
def counted(
    jobs: Sequence[Job],
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
    *,
    at_most: bool = False,
) -> Iterator[list[Job]]:
    """The same jobs; each tells when it has ended.

    Args:
        jobs: of a run.
        progress: where to; nothing changes if it shows no steps.
        clock: seconds.
        at_most: see `Steps.steps`.
    """
    if not isinstance(progress, Steps) or not jobs:
        yield list(jobs)
        return
    remaining = Remaining(jobs)
    with progress.steps(len(jobs), at_most=at_most) as show:

        def timed(job: Job) -> None:
            begin = clock()
            job.run()
            done, left = remaining.end(job, clock() - begin)
            show(done, left)

        yield [replace(job, run=partial(timed, job)) for job in jobs]


@dataclass(slots=True)
class Remaining:
    """Work that is left, by kind of job.

    Attributes:
        jobs: of a run.
    """

    jobs: Sequence[Job]
    _units: dict[str, float] = field(init=False)
    _left: dict[str, float] = field(init=False, default_factory=partial(defaultdict, float))
    _spent: dict[str, float] = field(init=False, default_factory=partial(defaultdict, float))
    _worked: dict[str, float] = field(init=False, default_factory=partial(defaultdict, float))
    _done: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        by_key = {job.key: job for job in self.jobs}
        self._units = {job.key: _units(job, by_key) for job in self.jobs}
        for job in self.jobs:
            self._left[job.kind] += self._units[job.key]

    def end(self, job: Job, seconds: float) -> tuple[int, float | None]:
        """Note that a job has ended; jobs may end in several threads.

        Args:
            job: one of the run.
            seconds: that it took.

        Returns:
            How many have ended, and the seconds left; None while nothing is known.
        """
        with self._lock:
            self._done += 1
            units = self._units[job.key]
            self._left[job.kind] = max(0.0, self._left[job.kind] - units)
            if seconds >= _INSTANT and not job.resources.background:
                # Beside others it has a share of the machine.
                self._spent[job.kind] += seconds * job.resources.share
                self._worked[job.kind] += units
            return self._done, self._seconds()

    def _seconds(self) -> float | None:
        total = 0.0
        for kind, units in self._left.items():
            if units <= 0:
                continue
            pace = self._pace(kind)
            if pace is None:
                return None
            total += pace * units
        return total

    def _pace(self, kind: str) -> float | None:
        """Seconds per unit."""
        for known in (kind, _READING):
            if self._worked[known] > 0:
                return self._spent[known] / self._worked[known]
        return 1.0 if kind == _ESTIMATED else None


def _units(job: Job, by_key: dict[str, Job]) -> float:
    """Nothing where a job runs beside others, or only writes down what they found."""
    if job.resources.background or job.kind in ("collect", "grade"):
        return 0.0
    if job.kind == _ESTIMATED:
        return (job.resources.seconds or 0.0) * job.resources.share
    if job.kind == "pair":  # compares what was read
        return float(sum(by_key[key].resources.tokens for key in job.needs if key in by_key))
    return float(job.resources.tokens)
