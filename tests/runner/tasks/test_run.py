"""Tasks carried out one after the other, and resumed. Oracle: a run that was never disturbed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bitloss.engines.dense.scoring import shards
from bitloss.engines.dense.scoring.scorer import DenseScorer
from bitloss.engines.dense.text_model import DenseTextModel
from bitloss.errors import NumericalError, StorageError
from bitloss.results.manifest import Manifest
from bitloss.runner import Plan, RunStore, execute
from bitloss.runner.tasks.run import TasksRun
from bitloss.types import SilentProgress
from peers.runs import without_golds
from peers.scoring import contents, killed_at_write

MakePlan = Callable[..., Plan]

# Options; text with gold answers; text without.
TASKS = ("choice", "contains", "exact-match")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task is in pieces, and pieces reach from one task into the next."""
    monkeypatch.setattr(shards, "SHARD_TOKENS", 150)


@pytest.fixture
def tasks(plan: MakePlan) -> Plan:
    """Three tasks; for the last one what the reference writes stands in for gold answers."""
    made = plan(tasks=TASKS)
    return replace(made, tasks=(*made.tasks[:-1], without_golds(made.tasks[-1])))


def carry_out(plan: Plan, folder: Path) -> Manifest:
    return execute(plan, RunStore(folder), command="", progress=SilentProgress())


def stop_after(patch: pytest.MonkeyPatch, collected: int) -> None:
    """Ctrl-C where the next task would be collected."""
    original = TasksRun._collect
    done: list[str] = []

    def collect(self: TasksRun, planned: object) -> None:
        if len(done) == collected:
            raise KeyboardInterrupt
        original(self, planned)  # type: ignore[arg-type]
        done.append("")

    patch.setattr(TasksRun, "_collect", collect)


def test_a_task_is_complete_for_every_model(tasks: Plan, tmp_path: Path) -> None:
    manifest = carry_out(tasks, tmp_path)
    store = RunStore(tmp_path)
    assert list(manifest.tasks) == list(TASKS)
    assert [entry.gold for entry in manifest.tasks.values()] == ["option", "answer", "reference"]
    for entry in manifest.tasks.values():
        assert list(entry.items) == ["./tiny", "./noisy", "./copy"]
        score = f"score:{entry.metrics[0]}"
        columns = {
            name: store.read_records([key], ("item", score, "gold_nll", "gold_kl", "gold_tokens"))
            for name, key in entry.items.items()
        }
        reference, noisy, copy = columns.values()
        assert len(reference["item"]) == entry.n_items
        for name in ("item", score, "gold_nll", "gold_tokens"):
            assert copy[name].tolist() == reference[name].tolist()
        assert (copy["gold_kl"] == 0).all()
        assert (noisy["gold_kl"] > 0).all()
        assert (reference["gold_tokens"] > 0).all()
        assert entry.noise_floor is not None
        assert entry.noise_floor.kl_divergence < noisy["gold_kl"].sum()


def test_other_tasks_beside_it_change_nothing(plan: MakePlan, tmp_path: Path) -> None:
    """But the last bits of what is read in other company."""
    together = carry_out(plan(tasks=TASKS), tmp_path / "together")
    for name in TASKS:
        alone = carry_out(plan(tasks=(name,)), tmp_path / name).tasks[name]
        for model, key in alone.items.items():
            own, other = (
                RunStore(folder).read_records([one], ("answer", "gold_nll", "gold_kl"))
                for folder, one in (
                    (tmp_path / name, key),
                    (tmp_path / "together", together.tasks[name].items[model]),
                )
            )
            assert own["answer"].tolist() == other["answer"].tolist()
            for column in ("gold_nll", "gold_kl"):
                assert own[column] == pytest.approx(other[column], abs=1e-4)


@pytest.mark.parametrize("collected", [0, 1, 2])
def test_stopped_between_two_tasks_it_has_those_that_are_complete(
    tasks: Plan, tmp_path: Path, collected: int
) -> None:
    undisturbed = carry_out(tasks, tmp_path / "undisturbed")
    folder = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, collected)
        with pytest.raises(KeyboardInterrupt):
            carry_out(tasks, folder)
    store = RunStore(folder)
    with pytest.raises(StorageError, match="not a finished run"):
        store.read_manifest()
    if collected == 0:
        with pytest.raises(StorageError, match=r"unfinished\.json"):
            store.read_unfinished()
    else:
        so_far = store.read_unfinished()
        complete = dict(list(undisturbed.tasks.items())[:collected])
        assert so_far.missing == (f"{', '.join(TASKS[collected:])}: not evaluated yet",)
        assert so_far == undisturbed.model_copy(
            update={"tasks": complete, "missing": so_far.missing}
        )

    # The rerun ends the same, and writes nothing that was there.
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    written: list[str] = []
    original = RunStore._write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            RunStore, "_write", lambda *args: (written.append(args[1].name), original(*args))
        )
        assert carry_out(tasks, folder) == undisturbed
    assert contents(folder) == contents(tmp_path / "undisturbed")
    assert not set(before) & set(written)
    assert len(written) == len(set(written)) < len(contents(tmp_path / "undisturbed"))
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    assert before.items() <= after.items()


@pytest.mark.parametrize("part", range(6))
def test_killed_at_any_write_the_rerun_ends_with_the_same_bytes(
    tasks: Plan, tmp_path: Path, part: int
) -> None:
    written: list[object] = []
    original = RunStore._write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "_write", lambda *args: (written.append(0), original(*args)))
        undisturbed = carry_out(tasks, tmp_path / "undisturbed")
    moment = int((part + random.Random(part).random()) / 6 * len(written))
    with killed_at_write(moment):
        carry_out(tasks, tmp_path / "killed")
    assert carry_out(tasks, tmp_path / "killed") == undisturbed
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_a_second_run_loads_no_model_and_writes_nothing(
    tasks: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = carry_out(tasks, tmp_path)
    before = contents(tmp_path)

    def refuse(*arguments: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(RunStore, "_write", refuse)
    monkeypatch.setattr(DenseTextModel, "__init__", refuse)
    monkeypatch.setattr(DenseScorer, "_read", refuse)
    assert carry_out(tasks, tmp_path) == first
    assert contents(tmp_path) == before


def test_another_task_leaves_what_is_there(plan: MakePlan, tmp_path: Path) -> None:
    """Texts and grades are the task's own, whatever else is asked."""
    first = carry_out(plan(tasks=("exact-match",)), tmp_path)
    loaded: list[str] = []
    original = DenseTextModel.generate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            DenseTextModel, "generate",
            lambda self, requests: (loaded.append(""), original(self, requests))[1],
        )  # fmt: skip
        both = carry_out(plan(tasks=("exact-match", "contains")), tmp_path)
    assert len(loaded) == 2  # for the task that is new; the copy's texts are the reference's
    assert list(both.tasks) == ["exact-match", "contains"]
    assert both.tasks["exact-match"].items.keys() == first.tasks["exact-match"].items.keys()


# Models at fault ---------------------------------------------------------------------------


def break_writing(patch: pytest.MonkeyPatch, model: str, task_tokens: int) -> None:
    """One model gives NaN when it writes so many tokens at most, which tells the tasks apart."""
    original = DenseTextModel.generate
    names: dict[int, str] = {}
    load = DenseTextModel.__init__

    def remember(self: DenseTextModel, candidate: object, setup: object) -> None:
        load(self, candidate, setup)  # type: ignore[arg-type]
        names[id(self)] = candidate.model.name  # type: ignore[attr-defined]

    def generate(self: DenseTextModel, requests: list) -> object:  # type: ignore[type-arg]
        if names[id(self)] == model and requests[0].decoding.max_new_tokens == task_tokens:
            raise NumericalError(f"{model}: NaN", hint="no")
        return original(self, requests)

    patch.setattr(DenseTextModel, "__init__", remember)
    patch.setattr(DenseTextModel, "generate", generate)


def test_a_variant_that_cannot_write_is_left_out_of_what_follows(
    plan: MakePlan, tmp_path: Path
) -> None:
    tasks = plan(tasks=("choice", "exact-match", "contains"))
    tokens = tasks.tasks[1].task.facts.decoding
    assert tokens is not None
    with pytest.MonkeyPatch.context() as patch:
        break_writing(patch, "./noisy", tokens.max_new_tokens)
        manifest = carry_out(tasks, tmp_path)
    noisy, copy = manifest.variants
    assert noisy.error is not None
    assert noisy.error.message == "./noisy: NaN"
    assert copy.error is None
    everyone = ["./tiny", "./noisy", "./copy"]
    assert [list(entry.items) for entry in manifest.tasks.values()] == [
        everyone, ["./tiny", "./copy"], ["./tiny", "./copy"],
    ]  # fmt: skip


def test_a_reference_that_cannot_write_ends_the_run(plan: MakePlan, tmp_path: Path) -> None:
    tasks = plan(tasks=("exact-match",))
    tokens = tasks.tasks[0].task.facts.decoding
    assert tokens is not None
    with pytest.MonkeyPatch.context() as patch:
        break_writing(patch, "./tiny", tokens.max_new_tokens)
        with pytest.raises(NumericalError, match="tiny: NaN"):
            carry_out(tasks, tmp_path)


def test_a_variant_that_cannot_be_scored_is_left_out_of_what_follows(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = DenseScorer._read
    seen: list[str] = []

    def read(self: DenseScorer, graph: object, candidate: object, todo: object) -> None:
        name = candidate.model.name  # type: ignore[attr-defined]
        seen.append(name)
        if name == "./noisy":
            raise NumericalError("./noisy: NaN", hint="no")
        original(self, graph, candidate, todo)  # type: ignore[arg-type]

    monkeypatch.setattr(DenseScorer, "_read", read)
    manifest = carry_out(plan(tasks=("choice", "gold-likelihood")), tmp_path)
    assert [entry.error is None for entry in manifest.variants] == [False, True]
    assert [list(entry.items) for entry in manifest.tasks.values()] == [["./tiny", "./copy"]] * 2
    assert seen.count("./noisy") == 1
