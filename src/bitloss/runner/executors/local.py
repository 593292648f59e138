"""Jobs carried out on this machine, one after the other where they need the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from bitloss.runner.concurrent import side_by_side
from bitloss.runner.jobs import Job, require_order

__all__ = ["peak_memory", "run_locally"]


def run_locally(jobs: Sequence[Job], *, end: Callable[[], None]) -> None:
    """Run all jobs in the order of the list.

    Neighbours that leave each other room run side by side, and background jobs beside those that
    use the device.

    Args:
        jobs: each after all that it needs.
        end: ends what running jobs have started or wait for, after an error or an interruption.

    Raises:
        BaseException: what interrupted it, or the first error of a job; nothing is left running.
    """
    require_order(jobs)
    background: dict[str, Future[None]] = {}
    pool = ThreadPoolExecutor(1, thread_name_prefix="background-job")
    try:
        for group in _groups(jobs):
            for job in group:
                for key in job.needs:
                    if key in background:
                        background.pop(key).result()
            if group[0].resources.background:
                background[group[0].key] = pool.submit(group[0].run)
            elif len(group) == 1:
                group[0].run()
            else:
                side_by_side(lambda job: job.run(), group, threads=_threads(group), end=end)
        for future in background.values():
            future.result()
    except BaseException:
        end()
        pool.shutdown(cancel_futures=True)  # waits: nothing may be written once the lock is free
        raise
    pool.shutdown()


def peak_memory(jobs: Sequence[Job]) -> int:
    """Bytes that `run_locally` takes at its peak, as the jobs are estimated: those that it runs
    side by side take their memory together.
    """
    peak = 0
    for group in _groups(jobs):
        held = sorted((job.resources.memory_bytes for job in group), reverse=True)
        peak = max(peak, sum(held[: _threads(group)]))
    return peak


def _threads(group: Sequence[Job]) -> int:
    return max(1, round(1 / group[0].resources.share))


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Neighbours with the same share of the machine, less than all of it, are together."""
    groups: list[list[Job]] = []
    for job in jobs:
        joins = (
            bool(groups)
            and job.resources.share < 1
            and groups[-1][0].resources.share == job.resources.share
            and not (job.resources.background or groups[-1][0].resources.background)
            and not {other.key for other in groups[-1]} & set(job.needs)
        )
        if joins:
            groups[-1].append(job)
        else:
            groups.append([job])
    return groups
