"""What a run will cost, before it is run: ``--plan``."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from bitloss.engines.devices import free_memory
from bitloss.engines.values import Work
from bitloss.metrics.resolution import EXPECTED_SPREAD, SCORE_SPREAD, smallest_loss
from bitloss.results.plan import PlannedCluster, PlannedModel, PlanSummary
from bitloss.runner.execution import list_jobs
from bitloss.runner.executors.choose import Connect, connect_machines
from bitloss.runner.executors.local import peak_memory
from bitloss.runner.executors.plan import Rates, plan_cluster
from bitloss.runner.jobs import Job
from bitloss.runner.plan import Plan
from bitloss.runner.run import Run
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.grading import Grader, NoSandbox
from bitloss.spec.model import ModelRef
from bitloss.types import SilentProgress
from bitloss.wording import join_words, size

__all__ = ["summarize"]

_BY_LAYERS = "read a layer at a time"
_ABOUT_CLUSTER = (
    "times are for workers that run nothing else; the cluster's time is from the start of its "
    "workers to the last result, without what is read before and analyzed after"
)


def summarize(plan: Plan, run_dir: Path, *, connect: Connect = connect_machines) -> PlanSummary:
    """Jobs, tokens, memory, disk and time of every model of the plan, from the run's own job list.

    Args:
        plan: from `prepare`; nothing of it is run, no variant is made.
        run_dir: where the run would be, for the free space there.
        connect: finds the workers that the plan asks for; one of them is measured.

    Variants that are on this machine are opened, and compared with the reference by config and
    tokenizer, as the run does it; recipes were checked by `prepare`.

    Raises:
        BitlossError: a variant cannot be evaluated beside the reference.

    Times are estimated by the engines, which measure the machine for a moment, and those of
    making a variant by its quantizer.
    """
    run = Run(plan, RunStore(run_dir), SilentProgress())
    for ref in plan.variants:
        if ref.recipe is None and ref.kind != "hub" and ref.run_of is None:
            run.open(ref)
    # One that a further engine cannot run keeps its other results.
    run.require_usable([r.text for r in plan.variants if r.text in run.failures and not r.run_of])
    with Grader(NoSandbox()) as grader:
        jobs, cluster = _jobs(run, grader, connect)
    made = any(ref.recipe is not None for ref in plan.variants)
    models = [_planned(plan.reference.name, jobs)]
    models += [_planned(ref.text, jobs, note=_note(ref, run)) for ref in plan.variants]
    compared = [job.resources for job in jobs if job.kind in ("pair", "floor")]
    return PlanSummary(
        models=tuple(models),
        corpora=tuple(corpus.facts.name for corpus in plan.corpora),
        tasks=tuple(task.name for task in plan.tasks),
        protocol=plan.spec.protocol,
        dtype=_arithmetic(run),
        device=plan.spec.device,
        memory_available=sum(free_memory(one) for one in plan.spec.devices),
        disk_available=shutil.disk_usage(_existing(run_dir)).free,
        compared_seconds=_sum(resources.seconds for resources in compared),
        compared_bytes=max((resources.memory_bytes for resources in compared), default=0),
        together_bytes=peak_memory(jobs),
        notes=(
            "times are extrapolated from a layer, a head and a comparison of the model's width, "
            "timed just now; rescoring variants near the noise floor in float32 is not included",
            *(("variants that are in the cache are not made again",) * made),
            "disk of a variant's intermediate states is freed during the run",
            *(("the time of --speed is not included",) * plan.spec.speed),
            *dict.fromkeys(engine.timing for engine in plan.engines if engine.timing),
            *_about_unscored(plan),
            *_about_files(plan),
            *_about_replicates(plan),
            *_about_looks(plan),
            *_about_texts(plan),
            *_about_losses(plan),
            *((_ABOUT_CLUSTER,) * (cluster is not None)),
        ),
        cluster=cluster,
    )


def _jobs(run: Run, grader: Grader, connect: Connect) -> tuple[list[Job], PlannedCluster | None]:
    """The jobs with the times of whatever machine does them."""
    spec, sizes = run.plan.spec, list_jobs(run, grader)
    machines = connect(spec, sizes)
    if machines is None:
        return list_jobs(run, grader, measure=True), None
    with closing(Rates(machines)) as rates:
        jobs = list_jobs(run, grader, measure=True, ask=rates.ask)
        arithmetic = run.arithmetic(1).reference
        identity = run.reference.model.identity
        engine = run.reference_engine.name
        load = rates.ask(engine, Work(read=1), identity, arithmetic, spec.main_device).seconds
        cluster = plan_cluster(jobs, machines, load=load or 0.0, price=spec.price)
    return jobs, cluster


def _planned(name: str, jobs: Sequence[Job], note: str = "") -> PlannedModel:
    """A model's own jobs, and those that concern all models."""
    own = [job for job in jobs if job.model == name]
    timed = [job.resources for job in own]
    return PlannedModel(
        name=name,
        jobs=len(own) + sum(not job.model for job in jobs),
        tokens=sum(resources.tokens for resources in timed),
        memory_bytes=max((resources.memory_bytes for resources in timed), default=0),
        disk_bytes=sum(job.resources.disk_bytes for job in own),
        seconds=_sum(resources.seconds for resources in timed),
        note=note or _BY_LAYERS * any(resources.by_layers for resources in timed),
    )


def _sum(seconds: Iterable[float | None]) -> float | None:
    """None if one of them is unknown."""
    total = 0.0
    for value in seconds:
        if value is None:
            return None
        total += value
    return total


def _note(ref: ModelRef, run: Run) -> str:
    if ref.text in run.failures:
        return f"not run: {run.failures[ref.text].message}"
    if ref.run_of is not None:
        return "the same files, run in another way"
    if ref.recipe is not None:
        return "to be made"
    return "to be fetched" if ref.kind == "hub" else ""


def _arithmetic(run: Run) -> str:
    """The reference's; several if corpora and tasks are scored in different ones."""
    plan = run.plan
    texts = [corpus.tokens for corpus in plan.corpora]
    texts += [sum(task.tokens for task in plan.tasks)] if plan.tasks else []
    models = 1 + len(plan.variants)
    return ", ".join(dict.fromkeys(run.arithmetic(n * models).reference for n in texts))


def _about_replicates(plan: Plan) -> tuple[str, ...]:
    """Which variants are made several times, and which are not although it was asked for."""
    if plan.spec.replicates == 1:
        return ()
    notes = []
    named = [ref for ref in plan.variants if ref.replicate_of is None and ref.recipe is not None]
    seeded = [ref for ref in named if ref.recipe is not None and ref.recipe.depends_on_seed]
    first, count = plan.spec.seed, plan.spec.replicates
    names = join_words([ref.text for ref in seeded])
    notes.append(f"made {count} times, with seeds {first} to {first + count - 1}: {names}")
    if once := [ref.text for ref in named if ref not in seeded]:
        notes.append(f"made once, since nothing random decides the bytes: {join_words(once)}")
    return tuple(notes)


def _about_files(plan: Plan) -> tuple[str, ...]:
    """What engines write of the reference to run it for their noise floors."""
    notes = []
    for engine in plan.engines:
        cost = engine.written_file(plan.reference.model)
        if cost is None or engine.name == plan.reference_engine.name:
            continue
        seconds = "" if cost.seconds is None else f", written in about {max(1, cost.seconds):.0f} s"
        notes.append(
            f"{engine.name} runs the reference for its noise floor from a file of its own in the "
            f"cache of made variants, {size(cost.disk_bytes)}{seconds} unless it is there"
        )
    return tuple(notes)


def _about_unscored(plan: Plan) -> tuple[str, ...]:
    """The tasks that an engine leaves out."""
    options = [task.name for task in plan.tasks if task.task.facts.decoding is None]
    return tuple(
        f"{engine.name} does not measure {join_words(options)}: {'; '.join(engine.lacks)}"
        for engine in plan.engines
        if options and "score" not in engine.abilities
    )


def _about_looks(plan: Plan) -> tuple[str, ...]:
    if plan.stopping is None:
        return ()
    return (
        "corpora are read in looks, the first at 4% of the text: tokens, disk and time are those "
        "of a run in which nothing is decided before the end",
    )


def _about_texts(plan: Plan) -> tuple[str, ...]:
    written = sum(
        request.decoding.max_new_tokens for task in plan.tasks for _, request in task.requests()
    )
    if not written:
        return ()
    names = [task.name for task in plan.tasks if task.requests()]
    return (
        f"{', '.join(names)}: models may write {written:,} of the tokens; times assume that they "
        "write all of them",
    )


def _about_losses(plan: Plan) -> tuple[str, ...]:
    """What the items can show, of every capability."""
    if not plan.tasks or not plan.variants:
        return ()
    apart: dict[str, list[tuple[int, float]]] = {}
    together: dict[str, list[tuple[int, float]]] = {}
    for task in plan.tasks:
        if not task.questions:
            continue
        # An option's probability stands for the score; a text's seldom does.
        options = all(question.item.options for question in task.questions)
        spread = EXPECTED_SPREAD if options else SCORE_SPREAD
        clusters = {question.item.belongs_to for question in task.questions}
        capability = task.task.facts.capability
        apart.setdefault(capability, []).append((len(task.questions), spread))
        together.setdefault(capability, []).append((len(clusters), spread))
    shown = [f"{name} {_smallest(apart[name], together[name])}" for name in apart]
    return (f"smallest loss that these items can show at 4 bits, in points: {', '.join(shown)}",)


def _smallest(apart: Sequence[tuple[int, float]], together: Sequence[tuple[int, float]]) -> str:
    """In points; a range where items belong together, up to that of items that lose the same."""
    least, most = (f"{100 * smallest_loss(ones):.1f}" for ones in (apart, together))
    return least if least == most else f"{least} to {most}"


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
