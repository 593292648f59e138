"""What workers need and say of their machines, without a cluster; numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bitloss import __version__
from bitloss.errors import UsageError
from bitloss.runner.executors.cluster import RayMachines, needs_of, room_on
from bitloss.runner.executors.pool import Needs
from bitloss.runner.jobs import Job, Resources
from bitloss.spec.run import RunSpec

GB = 1_000_000_000


def job(kind: Any, memory: int) -> Job:
    return Job(kind, kind, lambda: None, resources=Resources(memory_bytes=memory))


def test_a_worker_has_memory_for_the_largest_job() -> None:
    jobs = [job("states", 3 * GB), job("pair", 5 * GB), job("grade", 9 * GB)]
    spec = RunSpec(reference="m", executor="ray")
    assert needs_of(spec, jobs) == Needs(torch.get_num_threads(), 0, 5 * GB)
    limited = RunSpec(reference="m", memory="2GB")
    assert needs_of(limited, jobs).memory_bytes == 2 * GB + (1 << 30)
    card = needs_of(RunSpec(reference="m", device="cuda"), jobs)
    assert (card.gpus, card.memory_bytes) == (1, 0)


def test_room() -> None:
    machines = [{"CPU": 4.0, "memory": 10.0 * GB}, {"CPU": 9.0, "memory": 7.0 * GB}, {"GPU": 1.0}]
    assert room_on(machines, Needs(2, 0, 3 * GB)) == 2 + 2
    assert room_on(machines, Needs(2, 0, 0)) == 2 + 4
    assert room_on([{"CPU": 8.0, "GPU": 3.0}], Needs(2, 1, 0)) == 3


@pytest.mark.parametrize(
    ("needs", "message", "hint"),
    [
        (Needs(16, 0, 0), "a worker needs 16 CPUs, the largest machine of the cluster has 8",
         "set OMP_NUM_THREADS"),
        (Needs(1, 1, 0), "no machine of the cluster has one", "add machines with GPUs"),
        (Needs(1, 0, 30 * GB), "needs 30 GB of memory, the largest machine of the cluster has 12",
         "use larger machines, or --memory"),
    ],
)  # fmt: skip
def test_no_room(needs: Needs, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as found:
        room_on([{"CPU": 8.0, "memory": 12.0 * GB}], needs)
    assert found.value.hint.startswith(hint)


def machines(**own: str) -> RayMachines:
    made = RayMachines(1, Needs(), own=own, engines=("dense",), device="cpu", leave=False)
    made._started["worker-1"] = 0.0
    return made


def test_a_machine_like_this_one_is_welcome() -> None:
    event = machines(torch="2.13")._hello("worker-1", "node7", {"torch": "2.13"}, "")
    assert (event.worker, event.kind) == ("worker-1", "started")


def test_other_versions_are_named() -> None:
    here = machines(torch="2.13", gguf="0.19", threads="8")
    event = here._hello("worker-1", "node7", {"torch": "2.12", "threads": "8"}, "")
    assert event.kind == "refused"
    assert event.error is not None
    assert event.error.message == (
        "node7 would compute different numbers than here: gguf 0.19 here, none there; "
        "torch 2.13 here, 2.12 there"
    )
    assert event.error.hint.startswith("install the same versions on all machines")


def test_a_machine_without_the_package() -> None:
    event = machines()._hello("worker-1", "node7", {}, "No module named 'bitloss'")
    assert event.error is not None
    assert event.error.message.startswith("bitloss cannot be imported on node7: No module")
    assert f"bitloss[ray]=={__version__}" in event.error.hint


def test_one_card_of_several_cannot_be_chosen() -> None:
    spec = RunSpec(reference="m", executor="ray", device="cuda:1")
    with pytest.raises(UsageError, match="got `cuda:1`") as found:
        RayMachines.of(spec, [], "")
    assert found.value.hint.startswith("use --device cuda")
