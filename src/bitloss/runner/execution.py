"""A plan carried out: its jobs listed, run, and written down, the manifest last."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial

from bitloss.engines.devices import memory_on
from bitloss.formats.shapes import shape_of
from bitloss.quantizers import quantizer_of
from bitloss.results.manifest import Manifest
from bitloss.runner.corpus import CorpusRun
from bitloss.runner.costs import ENTRY_BYTES, PROCESS_BYTES, Ask, Costs
from bitloss.runner.enough import Settle
from bitloss.runner.executors.choose import Connect, connect_machines
from bitloss.runner.executors.delegate import Delegate, begun_ahead
from bitloss.runner.executors.local import run_locally
from bitloss.runner.executors.pool import Machines
from bitloss.runner.jobs import Job, Resources
from bitloss.runner.plan import Plan
from bitloss.runner.remaining import counted
from bitloss.runner.run import Run
from bitloss.runner.speed import SpeedRun
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.grading import Grader, NoSandbox
from bitloss.runner.tasks.run import TasksRun
from bitloss.runner.turns import Turns
from bitloss.sandbox import open_sandbox
from bitloss.sandbox.base import Sandbox
from bitloss.spec.model import ModelRef
from bitloss.types import Progress

__all__ = ["execute", "list_jobs", "sandbox_of"]

# Parameters up to which two recipes are carried out at a time.
SMALL = 100_000_000


def execute(
    plan: Plan,
    store: RunStore,
    *,
    command: str,
    progress: Progress,
    connect: Connect = connect_machines,
    settle: Settle | None = None,
) -> Manifest:
    """Carry the plan out and return the manifest.

    A variant that cannot be made, opened or scored is recorded with its error and does not stop
    the others. Work that the store already holds is not done again.

    Args:
        plan: from `prepare`.
        store: the run directory; the caller holds its lock, and keeps it until the result made of
            the manifest is written.
        command: as the user typed it, recorded in the result.
        progress: where to report.
        connect: finds the workers that the plan asks for; none do the work here.
        settle: where tasks are evaluated until the recommendation is settled, says when it is.

    Returns:
        The manifest, from which the comparison is made (`bitloss.analysis`).

    Raises:
        BitlossError: the reference cannot be scored, or the run directory not be written.
    """
    run = Run(plan, stored_beside(plan, store), progress, command)
    store = run.store
    with sandbox_of(plan) as sandbox, Grader(sandbox) as grader:
        store.require_unchanged()
        if plan.reference.pack is not None:
            plan.reference.pack.copy_records(store.root)

        def end() -> None:
            run.workers.end()
            grader.stop()
            if run.elsewhere is not None:
                run.elsewhere.close()

        jobs = list_jobs(run, grader, settle=settle)
        with (
            closing(_Workers(run, connect(plan.spec, jobs))) as workers,
            counted(jobs, progress, at_most=plan.stopping is not None) as listed,
        ):
            run_locally(workers.begun(listed), end=end)
        manifest = run.manifest()
        store.write_manifest(manifest)
    return manifest


class _Workers:
    """The workers of a run, if it has any: they end with the block that closes them."""

    def __init__(self, run: Run, machines: Machines | None) -> None:
        self._run = run
        if machines is not None:
            run.elsewhere = Delegate(machines, run.store, run.plan.cache, run.progress)

    def begun(self, jobs: list[Job]) -> list[Job]:
        """The jobs, with work that workers do handed out ahead of them."""
        return jobs if self._run.elsewhere is None else begun_ahead(jobs)

    def close(self) -> None:
        if self._run.elsewhere is not None:
            self._run.elsewhere.close()


def list_jobs(
    run: Run,
    grader: Grader,
    *,
    measure: bool = False,
    ask: Ask | None = None,
    settle: Settle | None = None,
) -> list[Job]:
    """Everything that a run does, in order; nothing is done by listing it.

    Args:
        run: the run.
        grader: grades texts.
        measure: spend a moment on measuring the machine, so that resources have times.
        ask: measures another machine instead.
        settle: see `execute`.
    """
    plan = run.plan
    identity = plan.reference.model.identity
    spec = plan.spec
    memory = memory_on(spec.devices, spec.memory_bytes)
    costs = Costs(identity, spec.main_device, measure, memory, ask)
    made = [ref for ref in plan.variants if ref.run_of is None]
    jobs = [_make_job(run, ref) for ref in sorted(made, key=_pace)]
    if plan.variants and plan.variants_must_work:
        needs = tuple(job.key for job in jobs)
        jobs.append(Job("make-variant", "make-variant", run.require_variants, "", needs))
    if plan.tasks and plan.decides_tasks:
        jobs += Turns(run, plan.corpora, grader, settle).jobs(costs)
    else:
        for planned in plan.corpora:
            jobs += CorpusRun(run, planned).jobs(costs)
        if plan.tasks:
            jobs += TasksRun(run, grader).jobs(costs)
    if plan.spec.speed:
        jobs += SpeedRun(run).jobs()
    return jobs


def _make_job(run: Run, ref: ModelRef) -> Job:
    """Quantizing a small model is mostly starting a library, which keeps one core busy; a large one
    has use for all cores, and for the memory.
    """
    identity = run.reference.model.identity
    parameters = identity.info.parameters
    bits, held, quantizer = 0.0, 0, None
    if ref.recipe is not None:
        quantizer = quantizer_of(ref.recipe)
        bits = quantizer.bits_per_weight(ref.recipe)
        held = quantizer.memory_bytes(ref.recipe, identity)
    share = 0.5 if parameters <= SMALL else 1.0
    seconds: float | None = 0.0  # opened, if it is not made
    if quantizer is not None:
        pace = quantizer.seconds_per_million
        seconds = None if pace is None else pace * shape_of(identity).body / 1e6
    process = PROCESS_BYTES + ENTRY_BYTES * shape_of(identity).vocabulary
    resources = Resources(
        seconds=seconds,
        # The library has a process of its own beside this one.
        memory_bytes=0 if quantizer is None else 2 * process + held,
        disk_bytes=int(parameters * bits / 8),
        share=share,
    )
    return Job(
        f"make-variant/{ref.text}", "make-variant", partial(run.open, ref), ref.text, (), resources,
        partial(run.begin, ref),
    )  # fmt: skip


def _pace(ref: ModelRef) -> float:
    """The slowest recipes come first: begun last, one would run alone at the end."""
    return -quantizer_of(ref.recipe).pace if ref.recipe else 0.0


def stored_beside(plan: Plan, store: RunStore) -> RunStore:
    """The run directory, with the hidden states of the pack if the reference is one."""
    return RunStore(store.root, plan.reference.pack) if plan.reference.pack else store


def sandbox_of(plan: Plan) -> AbstractContextManager[Sandbox]:
    """Where programs that models write are run; nowhere if no task has any."""
    if any(planned.task.facts.needs_sandbox for planned in plan.tasks):
        return closing(open_sandbox(unsafe=plan.spec.unsafe_exec))
    return nullcontext(NoSandbox())
