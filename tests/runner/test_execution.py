"""Oracles: the order in which work was asked for, and records that another engine must not take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitloss.engines.dense.graph import ModelGraph
from bitloss.errors import QuantizationError
from bitloss.results.manifest import Manifest
from bitloss.runner import Plan, RunStore, execute, prepare, summarize
from bitloss.runner import run as run_module
from bitloss.runner.execution import list_jobs
from bitloss.runner.executors.local import run_locally
from bitloss.runner.jobs import Job, require_order
from bitloss.runner.models import Variant
from bitloss.runner.run import Run
from bitloss.runner.tasks.grading import Grader, NoSandbox
from bitloss.spec.calibration import Calibration
from bitloss.spec.model import ModelRef, parse_model
from bitloss.spec.run import RunSpec
from bitloss.spec.suite import TaskChoice
from bitloss.types import SilentProgress
from peers.registering import register
from peers.runs import make_run, without_golds
from peers.scoring import contents

# Variants ----------------------------------------------------------------------------------


@pytest.fixture
def recipes(
    models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], Run]:
    """A function: a run of variants that are yet to be made, of a reference of some size."""
    monkeypatch.chdir(tmp_path)
    Path("made.gguf").touch()
    names = ("gguf-q8_0", "gptq-4", "./made.gguf", "awq-4", "gptq-8")

    def make(parameters: int) -> Run:
        model = models["reference"]
        info = replace(model.identity.info, parameters=parameters)
        sized = replace(model, identity=replace(model.identity, info=info))
        run = make_run(RunStore(tmp_path / "run"), {"reference": sized}, [])
        refs = tuple(parse_model(name, allow_recipe=True) for name in names)
        plan = replace(run.plan, variants=refs, corpora=())
        return Run(plan, run.store, SilentProgress())

    return make


def listed(run: Run) -> list[Job]:
    with Grader(NoSandbox()) as grader:
        return list_jobs(run, grader)


@pytest.mark.parametrize(("parameters", "threads"), [(1_000_000, 2), (1_000_000_000, 1)])
def test_slow_recipes_begin_first_and_all_come_back_as_asked(
    recipes: Callable[[int], Run], monkeypatch: pytest.MonkeyPatch, parameters: int, threads: int
) -> None:
    begun: list[str] = []
    running: list[str] = []
    most: list[int] = []
    lock, together = threading.Lock(), threading.Barrier(threads)

    def opened(ref: ModelRef, *_: Any, **options: Any) -> Variant:
        with lock:
            begun.append(ref.text)
            running.append(ref.text)
            first = len(begun) <= threads
        if first:
            together.wait(60)  # an error if they do not run side by side
        try:
            with lock:
                most.append(len(running))
            if ref.text == "gptq-4":
                raise QuantizationError("no")
            return Variant(ref, run.plan.reference.model)
        finally:
            running.remove(ref.text)

    monkeypatch.setattr(run_module, "open_variant", opened)
    run = recipes(parameters)
    run_locally(listed(run), end=lambda: None)
    assert [v.name for v in run.variants()] == ["gguf-q8_0", "./made.gguf", "awq-4", "gptq-8"]
    assert list(run.failures) == ["gptq-4"]
    assert max(most) == threads
    if threads == 1:
        assert begun == ["awq-4", "gptq-4", "gptq-8", "gguf-q8_0", "./made.gguf"]


def test_what_is_made_has_a_size(recipes: Callable[[int], Run]) -> None:
    # By hand: 4 bits, and 16 + 4 for each group of 128; Q8_0 takes 34 bytes for 32 weights; what is
    # there already is not written.
    sizes = {job.model: job.resources.disk_bytes for job in listed(recipes(8_000)) if job.model}
    assert sizes == {
        "awq-4": 4_156, "gptq-4": 4_156, "gptq-8": 8_187, "gguf-q8_0": 8_500, "./made.gguf": 0,
    }  # fmt: skip


# The list ----------------------------------------------------------------------------------


@pytest.fixture
def pocket_plan() -> Plan:
    """The bundled model, two recipes, a text, and tasks of every kind: the last without golds."""
    spec = RunSpec(
        reference="pocket",
        variants=("gguf-q8_0", "gptq-4"),
        corpora=("pocket-prose",),
        tasks=tuple(
            TaskChoice(name=f"pocket_{name}") for name in ("logic", "math", "instructions")
        ),
        limit=4,
        calibration=Calibration("pocket-calibration-mixed"),
    )
    plan = prepare(spec, progress=SilentProgress())
    return replace(plan, tasks=(*plan.tasks[:-1], without_golds(plan.tasks[-1])))


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a model is made, opened or loaded, nor anything written or graded."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("listing is doing something")

    for owner, name in (
        (run_module, "open_variant"), (ModelGraph, "load"), (RunStore, "_write"),
        (RunStore, "write_unfinished"), (RunStore, "write_manifest"), (Grader, "submit"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, refuse)


@pytest.mark.usefixtures("idle")
def test_a_list_has_all_kinds_of_jobs_in_order_and_does_nothing(
    pocket_plan: Plan, tmp_path: Path
) -> None:
    jobs = listed(Run(pocket_plan, RunStore(tmp_path / "run"), SilentProgress()))
    require_order(jobs)
    assert {job.kind for job in jobs} == {
        "make-variant", "states", "pair", "floor", "texts", "grade", "collect",
    }  # fmt: skip
    names = ["pocket", "gguf-q8_0", "gptq-4"]
    by_model = {
        kind: [job.model for job in jobs if job.kind == kind and job.model]
        for kind in ("make-variant", "states", "texts", "grade")
    }
    assert (
        by_model
        == {
            "make-variant": ["gptq-4", "gguf-q8_0"],
            "states": 4 * names,  # a text and three tasks
            # What the reference writes for instructions stands in for gold answers, hence is first.
            "texts": ["pocket", *names, *names[1:]],
            "grade": 2 * names,
        }
    )
    # A task is complete before the next one begins.
    keys = [job.key for job in jobs]
    collected = [
        keys.index(f"collect/tasks/pocket_{name}") for name in ("logic", "math", "instructions")
    ]
    assert collected == sorted(collected)
    assert keys.index("collect/corpora/pocket-prose") < keys.index(
        "texts/tasks/pocket_instructions/pocket"
    )
    assert keys.index("states/tasks/pocket_math/pocket") > collected[0]
    assert keys[-1] == "collect/tasks/pocket_instructions"
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("idle")
def test_a_summary_counts_the_jobs_of_the_list(pocket_plan: Plan, tmp_path: Path) -> None:
    summary = summarize(pocket_plan, tmp_path / "run")
    jobs = listed(Run(pocket_plan, RunStore(tmp_path / "run"), SilentProgress()))
    assert [model.name for model in summary.models] == ["pocket", "gguf-q8_0", "gptq-4"]
    for model in summary.models:
        own = [job for job in jobs if job.model == model.name]
        assert model.jobs == len(own) + sum(not job.model for job in jobs)
        assert model.tokens == sum(job.resources.tokens for job in own) > 0
        assert model.disk_bytes == sum(job.resources.disk_bytes for job in own) > 0
        assert model.seconds is not None
        assert model.seconds > 0
    assert summary.models[0].tokens == summary.models[1].tokens
    assert not (tmp_path / "run").exists()


# A whole run -------------------------------------------------------------------------------


def carry_out(plan: Plan, folder: Path) -> Manifest:
    return execute(plan, RunStore(folder), command="", progress=SilentProgress())


def test_a_model_beside_itself_lost_nothing(plan: Callable[..., Plan], tmp_path: Path) -> None:
    both = carry_out(plan(variants=("./tiny",), corpora=("text.txt",), tasks=("choice",)), tmp_path)
    records = both.corpora["text.txt"].variants["./tiny"].records
    divergence = RunStore(tmp_path).read_records(records, ("kl_divergence",))["kl_divergence"]
    assert (divergence == 0).all()
    assert list(both.tasks["choice"].items) == ["./tiny"]


def test_a_variant_at_fault_is_noted_and_the_others_go_on(
    plan: Callable[..., Plan], files: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in (files / "noisy").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    names = (str(broken), "./noisy")
    manifest = carry_out(
        plan(variants=names, corpora=("text.txt",), tasks=("choice",)), tmp_path / "run"
    )
    assert [entry.name for entry in manifest.variants] == list(names)
    bad, good = manifest.variants
    assert bad.error is not None
    assert good.error is None
    assert list(manifest.corpora["text.txt"].variants) == ["./noisy"]
    assert list(manifest.tasks["choice"].items) == ["./tiny", "./noisy"]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    register(
        monkeypatch,
        "ENGINES",
        logits="peers.logits_engine:ENGINE",
        logits_beside_dense="peers.logits_engine:BESIDE_DENSE",
    )


def names_of(manifest: Manifest) -> dict[str, set[str]]:
    """Names of the records of a run: of its variants and floors, of its reference, of questions."""
    corpora, tasks = manifest.corpora.values(), manifest.tasks.values()
    reference = manifest.reference.name
    floors = [entry.noise_floor for entry in corpora if entry.noise_floor is not None]
    return {
        "variants": {
            *(name for entry in corpora for one in entry.variants.values() for name in one.records),
            *(name for floor in floors for name in floor.records),
            *(key for entry in tasks for name, key in entry.items.items() if name != reference),
        },
        "reference": {
            *(name for entry in corpora for name in entry.reference),
            *(entry.items[reference] for entry in tasks),
        },
        "questions": {entry.questions for entry in tasks},
    }


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dense", "logits"),
        ("dense", "logits-beside-dense"),
        ("logits", "logits-beside-dense"),
    ],
)
def test_two_engines_share_a_run_directory_but_no_record(
    plan: Callable[..., Plan], tmp_path: Path, one: str, other: str
) -> None:
    """Oracle: each engine's run in a directory of its own."""
    runs = {
        name: plan(corpora=("text.txt",), tasks=("choice", "gold-likelihood"), engine=(name,))
        for name in (one, other)
    }
    together = {name: carry_out(run, tmp_path / "together") for name, run in runs.items()}
    for name, run in runs.items():
        assert carry_out(run, tmp_path / name) == together[name]
    first, second = (names_of(together[name]) for name in runs)
    assert first["variants"]
    assert len(first["variants"]) == len(second["variants"])
    assert not first["variants"] & second["variants"]
    # What a reference's own engine finds is found once, and questions are no engine's.
    shared = "logits" not in runs
    assert (first["reference"] & second["reference"]) == (first["reference"] if shared else set())
    assert first["questions"] == second["questions"]
    records = contents(tmp_path / "together" / "records")
    apart = [contents(tmp_path / name / "records") for name in runs]
    assert records == apart[0] | apart[1]
