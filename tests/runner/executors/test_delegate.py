"""A run whose work workers do; oracle: the bytes of the same run on this machine alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bitloss.runner import Plan, RunStore, execute
from bitloss.runner.executors.parts import Compare, Floor, Read, Write
from bitloss.types import SilentProgress
from peers.thread_machines import ThreadMachines

TASKS = ("choice", "exact_match", "contains", "gold_likelihood")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from runner.conftest import KINDS, write_example, write_tiny_model

    folder = tmp_path_factory.mktemp("files")
    write_tiny_model(folder / "tiny")
    write_tiny_model(folder / "noisy", noise=0.02)
    (folder / "copy").symlink_to("tiny")
    text = "".join(f"{n} foxes, {n * n} dogs. " for n in range(3000))
    (folder / "text.txt").write_text(text)
    for kind in KINDS:
        write_example(kind.replace("_", "-"), kind, folder)
    return folder


def results(folder: Path) -> dict[str, bytes]:
    """Manifest and records; states are kept by those who read."""
    found = [folder / "manifest.json", *(folder / "records").iterdir()]
    return {path.name: path.read_bytes() for path in found}


def run(plan: Plan, folder: Path, machines: ThreadMachines | None = None) -> dict[str, bytes]:
    store = RunStore(folder)
    with store.locked():
        execute(plan, store, command="", progress=SilentProgress(), connect=lambda *_: machines)
    if machines is not None:
        assert machines.closed
    return results(folder)


def test_the_bytes_are_those_of_this_machine(plan: Callable[..., Plan], tmp_path: Path) -> None:
    ready = plan(corpora=("./text.txt",), tasks=("choice", "exact-match"))
    alone = run(ready, tmp_path / "alone")
    machines = ThreadMachines(3)
    assert run(ready, tmp_path / "shared", machines) == alone
    kinds = {type(action) for action in machines.actions}
    assert kinds == {Read, Compare, Floor, Write}
