"""A run whose work workers do; oracle: the bytes of the same run on this machine alone."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import CheckpointError, DataError, QuantizationError, StorageError
from bitloss.results.manifest import Manifest
from bitloss.runner import Plan, RunStore, execute, prepare
from bitloss.runner.executors import worker
from bitloss.runner.executors.parts import Compare, Floor, Make, Read, Write
from bitloss.runner.executors.schedule import MOST_LOSSES
from bitloss.spec.run import RunSpec
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.custom.examples import write_example
from bitloss.types import Progress, SilentProgress
from peers.registering import register
from peers.thread_machines import ThreadMachines
from peers.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, tasks, and a text of several pieces."""
    folder = tmp_path_factory.mktemp("files")
    write_tiny_model(folder / "tiny")
    write_tiny_model(folder / "noisy", noise=0.02)
    text = "".join(f"{n} foxes, {n * n} dogs. " for n in range(800))
    (folder / "text.txt").write_text(text)
    for kind in ("choice", "exact-match"):
        write_example(kind, kind.replace("-", "_"), folder)
    return folder


def planned(place: Path, *variants: Path | str, tasks: bool = False, **more: Any) -> Plan:
    spec = RunSpec(
        reference=str(place / "tiny"),
        variants=tuple(map(str, variants)),
        corpora=(str(place / "text.txt"),),
        tasks=tuple(
            TaskChoice(name=str(place / f"{name}.yaml")) for name in ("choice", "exact-match")
        ) * tasks,
    )  # fmt: skip
    return prepare(spec, progress=SilentProgress(), **more)


def results(folder: Path) -> dict[str, bytes]:
    """Manifest and records; states are kept by those who read."""
    found = [folder / "manifest.json", *(folder / "records").iterdir()]
    return {path.name: path.read_bytes() for path in found}


class Lines(SilentProgress):
    """Keeps the labels of tasks."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, label: str, total: int | None, unit: str = "tokens") -> Any:
        self.lines.append(label)
        return super().task(label, total, unit)


def carried_out(
    plan: Plan,
    folder: Path,
    machines: ThreadMachines | None = None,
    progress: Progress | None = None,
) -> Manifest:
    store = RunStore(folder)
    with store.locked():
        manifest = execute(
            plan,
            store,
            command="",
            progress=progress or SilentProgress(),
            connect=lambda *_: machines,
        )
    assert machines is None or machines.closed
    return manifest


@pytest.fixture(scope="module")
def ready(place: Path) -> Plan:
    return planned(place, place / "noisy", tasks=True)


@pytest.fixture(scope="module")
def undisturbed(ready: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    carried_out(ready, folder)
    return folder


@pytest.fixture
def alone(undisturbed: Path) -> dict[str, bytes]:
    return results(undisturbed)


def test_the_bytes_are_those_of_this_machine(
    ready: Plan, alone: dict[str, bytes], tmp_path: Path
) -> None:
    machines = ThreadMachines(3)
    carried_out(ready, tmp_path / "shared", machines)
    assert results(tmp_path / "shared") == alone
    assert {type(action) for action in machines.actions} == {Read, Compare, Floor, Write}
    assert not list((tmp_path / "shared" / "states").iterdir())


def test_a_variant_that_is_the_reference_by_name(place: Path, tmp_path: Path) -> None:
    ready = planned(place, place / "tiny")
    carried_out(ready, tmp_path / "alone")
    carried_out(ready, tmp_path / "shared", ThreadMachines(2))
    assert results(tmp_path / "shared") == results(tmp_path / "alone")


def test_what_was_done_is_not_done_again(
    ready: Plan, undisturbed: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path / "shared")
    machines = ThreadMachines(2)
    carried_out(ready, tmp_path / "shared", machines)
    assert {type(action) for action in machines.actions} == {Floor}
    assert results(tmp_path / "shared") == alone


def test_a_run_on_this_machine_goes_on_from_what_came_home(
    ready: Plan, alone: dict[str, bytes], tmp_path: Path
) -> None:
    """The cluster is gone after some parts."""
    machines = ThreadMachines(2, lambda worker, action, number: "lost" if number > 12 else "")
    with pytest.raises(DataError, match="workers were repeatedly lost while they computed `"):
        carried_out(ready, tmp_path / "shared", machines)
    assert machines.closed
    records = list((tmp_path / "shared" / "records").iterdir())
    assert 0 < len(records) < len(alone) - 1
    carried_out(ready, tmp_path / "shared")
    assert results(tmp_path / "shared") == alone


@pytest.mark.parametrize("seed", range(2))
def test_the_same_bytes_whoever_is_lost(
    ready: Plan, alone: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    lost: list[str] = []

    def fate(worker: str, action: Any, number: int) -> str:
        what = dice.choice(("lost", "inputs")) if dice.random() < 0.4 else ""
        if what == "inputs" and not isinstance(action, Compare):
            return ""
        lost.extend([what] * bool(what))
        return what

    said = Lines()
    carried_out(ready, tmp_path / "shared", ThreadMachines(3, fate), said)
    assert len(lost) >= 3
    assert sum("is lost, and replaced" in line for line in said.lines) == lost.count("lost")
    assert results(tmp_path / "shared") == alone


def test_no_part_loses_workers_for_ever(ready: Plan, tmp_path: Path) -> None:
    machines = ThreadMachines(1, lambda worker, action, number: "lost")
    with pytest.raises(DataError, match="repeatedly lost") as found:
        carried_out(ready, tmp_path / "shared", machines)
    assert "the test's own" in found.value.message
    assert found.value.hint.startswith("give workers more memory")
    assert len(machines.actions) == MOST_LOSSES + 1


def test_a_variant_at_fault_fails_as_it_does_here(place: Path, tmp_path: Path) -> None:
    """Its weights are cut once the plan is made: the first to notice is who reads them."""
    shutil.copytree(place / "noisy", tmp_path / "broken")
    ready = planned(place, place / "noisy", tmp_path / "broken")
    weights = tmp_path / "broken" / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-60_000:] = b"\xff" * 60_000  # NaN
    weights.write_bytes(bytes(damaged))
    alone = carried_out(ready, tmp_path / "alone")
    machines = ThreadMachines(2)
    shared = carried_out(ready, tmp_path / "shared", machines)
    assert shared == alone
    assert alone.variants[1].error is not None
    assert "NaN" in alone.variants[1].error.message


def test_an_error_of_the_reference_ends_the_run_at_once(
    ready: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: Any, **__: Any) -> None:
        raise CheckpointError("./tiny: damaged", hint="fetch it again")

    monkeypatch.setattr(worker, "make_scorer", damaged)
    machines = ThreadMachines(2)
    with pytest.raises(CheckpointError, match=r"\./tiny: damaged") as found:
        carried_out(ready, tmp_path / "shared", machines)
    assert found.value.hint == "fetch it again"
    reads = [
        a.pieces[0].digest for a in machines.actions if isinstance(a, Read) and not a.candidate
    ]
    assert len(set(reads)) == len(reads)  # an error of the work itself is not tried again


def test_an_interruption_ends_the_workers(
    ready: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitloss.runner.executors.pool import Pool

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pool, "wait", interrupted)
    machines = ThreadMachines(2)
    with pytest.raises(KeyboardInterrupt):
        carried_out(ready, tmp_path / "shared", machines)
    assert machines.closed
    assert not [t for t in threading.enumerate() if t.name == "pool"]
    assert not list((tmp_path / "shared").rglob("*.json"))
    assert not list((tmp_path / "shared").rglob(".tmp-*"))


# Models on other machines ------------------------------------------------------------------------


def test_a_model_that_a_worker_cannot_see(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "noisy", tmp_path / "gone")
    ready = planned(place, tmp_path / "gone")

    def fate(*_: Any) -> str:
        if (tmp_path / "gone").exists():
            (tmp_path / "gone").rename(tmp_path / "elsewhere")
        return ""

    with pytest.raises(StorageError, match="has no such path") as found:
        carried_out(ready, tmp_path / "shared", ThreadMachines(2, fate))
    assert found.value.hint.startswith("put it in a folder that all machines share")


def test_other_weights_under_the_same_path(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "noisy", tmp_path / "model")
    ready = planned(place, tmp_path / "model")

    def fate(*_: Any) -> str:
        other = place / "tiny" / "model.safetensors"
        shutil.copyfile(other, tmp_path / "model" / "model.safetensors")
        return ""

    with pytest.raises(StorageError, match="holds other weights on worker-0 than"):
        carried_out(ready, tmp_path / "shared", ThreadMachines(1, fate))


def test_a_copy_with_other_times_is_the_same_model(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "noisy", tmp_path / "model")
    ready = planned(place, tmp_path / "model")

    def fate(*_: Any) -> str:
        (tmp_path / "model" / "model.safetensors").touch()
        return ""

    manifest = carried_out(ready, tmp_path / "shared", ThreadMachines(1, fate))
    assert manifest.variants[0].error is None


@pytest.fixture
def rounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Plan]:
    """A function: a plan with variants that are to be made, into a cache."""
    register(monkeypatch, "QUANTIZERS", round="peers.round_quantizer:ROUND")
    return lambda cache: planned(place, "round-4", "round-6", cache=cache)


def test_variants_are_made_by_workers(rounded: Callable[[Path], Plan], tmp_path: Path) -> None:
    carried_out(rounded(tmp_path / "cache"), tmp_path / "alone")
    machines = ThreadMachines(2)
    carried_out(rounded(tmp_path / "other"), tmp_path / "shared", machines)
    assert [type(action) for action in machines.actions[:2]] == [Make, Make]
    made = list((tmp_path / "other").rglob("recipe.json"))
    assert len(made) == 2  # by workers, where the run finds them
    assert results(tmp_path / "shared") == results(tmp_path / "alone")


def test_a_cache_that_machines_do_not_share(
    rounded: Callable[[Path], Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitloss.runner.executors.delegate.file_sizes", lambda path: ())
    with pytest.raises(DataError, match="a worker made `round-4` in") as found:
        carried_out(rounded(tmp_path / "cache"), tmp_path / "shared", ThreadMachines(2))
    assert found.value.hint == "set BITLOSS_CACHE to a folder that all machines share"


def test_a_recipe_that_fails_is_tried_once(
    rounded: Callable[[Path], Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = worker.make_variant

    def broken(recipe: Any, *arguments: Any, **more: Any) -> Path:
        if recipe.name == "round-4":
            raise QuantizationError("no", hint="try another")
        return made(recipe, *arguments, **more)

    monkeypatch.setattr(worker, "make_variant", broken)
    machines = ThreadMachines(2)
    manifest = carried_out(rounded(tmp_path / "cache"), tmp_path / "shared", machines)
    error = manifest.variants[0].error
    assert error is not None
    assert (error.message, error.hint) == ("no", "try another")
    assert manifest.variants[1].error is None
    assert sum(isinstance(action, Make) for action in machines.actions) == 2
