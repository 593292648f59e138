"""Oracles: weak references, which tell what is still held, and the facts of dummy engines."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest

from bitloss.engines.base import PAIR_COLUMNS
from bitloss.engines.dense import precision
from bitloss.engines.dense.scoring.scorer import DenseScorer
from bitloss.errors import CheckpointError, NumericalError, UnsupportedModel, UsageError
from bitloss.metrics.resolution import EXPECTED_SPREAD
from bitloss.runner import RunStore, execute, summarize
from bitloss.types import SilentProgress
from peers.logits_engine import OTHER, load
from peers.registering import register
from peers.runs import corpus_jobs, make_run, run_corpus


class Loaded:
    """Stands for a model's weights."""


def test_a_failure_holds_nothing_that_was_loaded(tmp_path, models):
    held: list[weakref.ref[Loaded]] = []

    def load() -> None:
        weights = Loaded()
        held.append(weakref.ref(weights))
        raise CheckpointError("damaged", hint="no")

    def generate() -> None:
        weights = Loaded()
        held.append(weakref.ref(weights))
        try:
            load()
        except CheckpointError as error:
            raise NumericalError("no", hint="no") from error

    run = make_run(RunStore(tmp_path), models, [], "a")
    try:
        generate()
    except NumericalError as error:
        run.fail("a", error)
    gc.collect()
    assert [reference() for reference in held] == [None, None]
    assert run.failures["a"].message == "no"


def test_a_corpus_that_is_collected_holds_no_scorer(tmp_path, models, windows, monkeypatch):
    made: list[Any] = []
    run = make_run(RunStore(tmp_path), models, windows, "a")
    original = type(run).scorer

    def scorer(self: Any, *args: Any, **options: Any) -> Any:
        result = original(self, *args, **options)
        made.append(weakref.ref(result))
        return result

    monkeypatch.setattr(type(run), "scorer", scorer)
    jobs = corpus_jobs(run)
    for job in jobs:
        job.run()
    gc.collect()
    assert len(made) > 1
    assert [reference() for reference in made] == [None] * len(made)


# Engines -----------------------------------------------------------------------------------


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "ENGINES", other="peers.logits_engine:OTHER")


@pytest.mark.usefixtures("other")
def test_each_model_has_its_own_engines_arithmetic(tmp_path, models, windows):
    run = make_run(RunStore(tmp_path), models, windows, "a", engine=("other",))
    arithmetic = run.arithmetic(1)
    assert (arithmetic.reference, arithmetic.variants) == ("fp32", {"other": "own"})
    labels = []
    original = OTHER.logits

    def remember(candidate: Any, **options: Any) -> Any:
        labels.append(candidate.label)
        return original(candidate, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("peers.logits_engine.OTHER", replace(OTHER, logits=remember))
        entry = run_corpus(run)
    assert labels == ["a (other own)", "reference (other own, alone)"]
    assert entry.dtype == "fp32"


@pytest.mark.usefixtures("other")
def test_each_model_costs_what_its_own_engine_says(tmp_path, models, windows):
    run = make_run(RunStore(tmp_path), models, windows, "a", engine=("other",))
    sizes = {job.model: job.resources.disk_bytes for job in corpus_jobs(run) if job.model}
    assert sizes["a"] == len("own")
    assert sizes["reference"] > 1000


@pytest.mark.usefixtures("other")
def test_without_variants_the_engine_asked_for_runs_the_reference(
    tmp_path, models, windows, monkeypatch
):
    """`bitloss perplexity`: otherwise another engine's number would bear this one's name."""
    monkeypatch.setattr(DenseScorer, "prepare", None)
    entry = run_corpus(make_run(RunStore(tmp_path), models, windows, engine=("other",)))
    assert entry.dtype == "own"


@pytest.mark.usefixtures("other")
def test_an_engine_that_cannot_run_the_reference_has_no_floor(
    tmp_path, models, windows, monkeypatch
):
    """A runtime of quantized files: all but the floor is there, and a note says why."""

    def refuse(candidate: Any, **options: Any) -> Any:
        if candidate.model.name == "reference":
            raise UnsupportedModel("not quantized", hint="no")
        return load(candidate, **options)

    monkeypatch.setattr("peers.logits_engine.OTHER", replace(OTHER, logits=refuse))
    entry = run_corpus(make_run(RunStore(tmp_path), models, windows, "a", engine=("other",)))
    assert entry.noise_floor is None
    assert entry.facts.notes == ("the noise floor was not measured: not quantized",)
    assert entry.variants["a"].exact is None


@pytest.mark.usefixtures("other")
def test_tasks_without_a_floor_say_so(plan, tmp_path, monkeypatch):
    def refuse(candidate: Any, **options: Any) -> Any:
        if candidate.model.name == "./tiny":
            raise UnsupportedModel("not quantized", hint="no")
        return load(candidate, **options)

    monkeypatch.setattr("peers.logits_engine.OTHER", replace(OTHER, logits=refuse))
    made = plan(tasks=("choice",), engine=("other",))
    manifest = execute(made, RunStore(tmp_path), command="", progress=SilentProgress())
    task = manifest.tasks["choice"]
    assert task.noise_floor is None
    assert task.notes[-1] == "the noise floor was not measured: not quantized"
    assert list(task.items) == ["./tiny", "./noisy", "./copy"]


@pytest.mark.usefixtures("other")
def test_a_variant_of_the_references_name_is_refused_where_answers_would_be_mixed(plan):
    with pytest.raises(UsageError, match=r"`\./tiny` has the reference's name"):
        plan(variants=("./tiny",), tasks=("choice",), engine=("other",))
    assert plan(variants=("./tiny",), corpora=("text.txt",), engine=("other",)).tasks == ()
    assert plan(variants=("./tiny",), tasks=("choice",)).variants[0].text == "./tiny"


@pytest.mark.usefixtures("other")
def test_an_engine_that_lacks_a_column_is_refused_by_name(plan, monkeypatch):
    few = frozenset(PAIR_COLUMNS) - {"same_top1"}
    monkeypatch.setattr("peers.logits_engine.OTHER", replace(OTHER, columns=few))
    with pytest.raises(UnsupportedModel, match="engine `other` gives no `same_top1`"):
        plan(corpora=("text.txt",), engine=("other",))


def test_a_summary_names_every_arithmetic_of_the_run(plan, tmp_path, monkeypatch):
    """Corpora and tasks are scored in what suits their own size."""
    made = plan(corpora=("text.txt",), tasks=("choice",))
    (text,), (task,) = made.corpora, made.tasks
    assert text.tokens != task.tokens
    parameters = made.reference.model.identity.info.parameters
    between = parameters * 3 * (text.tokens + task.tokens) / 2
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    monkeypatch.setattr(precision, "SMALL_RUN", between)
    assert set(summarize(made, tmp_path / "run").dtype.split(", ")) == {"fp32", "bf16"}
    monkeypatch.setattr(precision, "SMALL_RUN", 1)
    alone = plan(tasks=("choice",))
    assert summarize(alone, tmp_path / "run").dtype == "bf16"


def test_a_summary_says_what_items_that_belong_together_can_show(plan, tmp_path):
    def note(made):
        (found,) = (note for note in summarize(made, tmp_path / "run").notes if "smallest" in note)
        return found.rpartition(": ")[2]

    made = plan(tasks=("choice",))
    alone = note(made)
    (task,) = made.tasks
    n = len(task.questions)
    # By hand: 1.96 of the spread over the root of so many; half of them, if pairs are alike.
    capability = task.task.facts.capability
    width = 100 * 1.959964 * EXPECTED_SPREAD
    assert alone == f"{capability} {width / n**0.5:.1f}"
    pairs = tuple(
        replace(one, item=replace(one.item, cluster=str(index // 2)))
        for index, one in enumerate(task.questions)
    )
    together = replace(made, tasks=(replace(task, questions=pairs),))
    halves = -(-n // 2)
    assert note(together) == f"{capability} {width / n**0.5:.1f} to {width / halves**0.5:.1f}"
