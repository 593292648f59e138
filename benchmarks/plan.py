"""Is `--plan` right?

    python benchmarks/plan.py MODEL [MODEL ...] [--data DIR] [--limit N] [--variants gguf-q8_0,...]
        [--corpora wikitext-2] [--tasks hellaswag,gsm8k,ifeval]

Runs a small comparison of every model, job by job, and prints what each job was estimated to take
beside what it took: seconds, and the most memory that the process and those it started held
together. The last rows are those of the whole run, which `--plan` prints. On SmolLM2-135M-Instruct
and Gemma 3 270M the totals are to be within a factor of 2 in time and of 1.3 in memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import psutil

from bitloss import api
from bitloss.runner.estimate import summarize
from bitloss.runner.execution import list_jobs
from bitloss.runner.executors.local import run_locally
from bitloss.runner.jobs import Job
from bitloss.runner.plan import Plan, prepare
from bitloss.runner.run import Run
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.grading import Grader, NoSandbox
from bitloss.sandbox import open_sandbox
from bitloss.sandbox.base import Sandbox
from bitloss.types import SilentProgress
from sampling import sampled

SAMPLE_SECONDS = 0.05


def main() -> None:
    arguments = _parse()
    for model in arguments.models:
        _compare(model, arguments)


def _compare(model: str, arguments: argparse.Namespace) -> None:
    spec = api.make_spec(
        model,
        _listed(arguments.variants),
        corpora=_listed(arguments.corpora),
        tasks=_listed(arguments.tasks),
        limit=arguments.limit,
        data=arguments.data,
        dtype=arguments.dtype,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plan = prepare(spec, cache=folder / "cache", progress=SilentProgress())
        summary = summarize(plan, folder / "run")
        store = RunStore(folder / "run")
        run = Run(plan, store, SilentProgress())
        took: dict[str, tuple[float, int]] = {}
        print(f"{model}\n{'job':<52}{'s est.':>8}{'s':>8}{'GB est.':>9}{'GB':>7}", flush=True)
        start = time.perf_counter()
        with store.locked(), Grader(_sandbox(plan)) as grader:
            jobs = list_jobs(run, grader, measure=True)
            watch = _Watch()
            with sampled(watch.look, SAMPLE_SECONDS):
                run_locally([_timed(job, watch, took) for job in jobs], end=run.workers.end)
        total = time.perf_counter() - start
        _print(jobs, took, total)
        for name, error in run.failures.items():
            print(f"{name} failed: {error.message}")
        print(f"--plan: {summary.seconds or 0:.0f} s, {summary.memory_bytes / 1e9:.2f} GB\n")


def _sandbox(plan: Plan) -> Sandbox:
    needed = any(task.task.facts.needs_sandbox for task in plan.tasks)
    return open_sandbox(unsafe=False) if needed else NoSandbox()


class _Watch:
    """The most memory that this process and those below it held since it was last asked."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._peak = 0

    def peak(self) -> int:
        self._peak, peak = 0, self._peak
        return peak

    def look(self) -> None:
        held = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                held += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self._peak = max(self._peak, held)


def _timed(job: Job, watch: _Watch, took: dict[str, tuple[float, int]]) -> Job:
    def timed(run: Callable[[], None] = job.run) -> None:
        watch.peak()
        start = time.perf_counter()
        run()
        took[job.key] = time.perf_counter() - start, watch.peak()
        _print_job(job, *took[job.key])

    return dataclasses.replace(job, run=timed)


def _print_job(job: Job, seconds: float, memory: int) -> None:
    estimated = job.resources.seconds or 0.0
    if max(seconds, estimated) >= 0.5:
        print(
            f"{job.key[-50:]:<52}{estimated:>8.1f}{seconds:>8.1f}"
            f"{job.resources.memory_bytes / 1e9:>9.2f}{memory / 1e9:>7.2f}",
            flush=True,
        )


def _print(jobs: list[Job], took: dict[str, tuple[float, int]], total: float) -> None:
    by_kind: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for job in jobs:
        by_kind[job.kind][0] += job.resources.seconds or 0.0
        by_kind[job.kind][1] += took[job.key][0]
    for kind, (estimated, seconds) in by_kind.items():
        print(f"{'all of ' + kind:<52}{estimated:>8.1f}{seconds:>8.1f}")
    memory = max(held for _, held in took.values())
    print(f"{'the run':<52}{'':>8}{total:>8.1f}{'':>9}{memory / 1e9:>7.2f}")


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="directories of models")
    parser.add_argument("--data", type=Path, help="directory with local data")
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--variants", default="gguf-q8_0,gguf-q4_k_m")
    parser.add_argument("--corpora", default="wikitext-2")
    parser.add_argument("--tasks", default="hellaswag,gsm8k,ifeval")
    parser.add_argument("--dtype", default="auto")
    return parser.parse_args()


if __name__ == "__main__":
    main()
