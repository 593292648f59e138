"""Processes on several devices; oracle: the bytes of the same run in this process.

The devices are all the CPU, under two names.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

import bitloss
from bitloss.engines.dense import placement
from bitloss.engines.dense.scoring import scorer
from bitloss.errors import UsageError
from bitloss.runner.executors.choose import connect_machines
from bitloss.runner.executors.device_workers import DeviceWorkers
from bitloss.runner.executors.pool import Needs
from bitloss.runner.jobs import Job, Resources
from bitloss.runner.plan_checks import require_devices
from bitloss.spec.run import RunSpec
from peers.tiny_model import write_tiny_model

TWO = "cpu:0,cpu:1"


def spec(**more: Any) -> RunSpec:
    return RunSpec(reference="m", device=TWO, **more)


def job(memory: int, kind: Any = "states") -> Job:
    return Job("j", kind, lambda: None, resources=Resources(memory_bytes=memory))


def test_devices_of_a_run() -> None:
    assert spec().devices == ("cpu:0", "cpu:1")
    assert RunSpec(reference="m", device="cuda:0, cuda:1").main_device == "cuda:0"
    assert RunSpec(reference="m", device="cuda:0,cuda:1").tokens_in_forward == 16384


def test_models_that_fit_have_a_device_each() -> None:
    limited = spec(memory="3GB")
    workers = connect_machines(limited, [job(2 * 10**9), job(9 * 10**9, "make-variant")])
    assert isinstance(workers, DeviceWorkers)
    assert (workers.size, workers.needs.gpus) == (2, 0)
    assert connect_machines(limited, [job(4 * 10**9)]) is None  # layers go over both
    alone = RunSpec(reference="m", device="cpu", memory="3GB")
    assert connect_machines(alone, [job(1)]) is None
    assert connect_machines(spec(memory="3GB", speed=True), [job(1)]) is None
    assert connect_machines(spec(memory="3GB", engine=("server=http://x",)), [job(1)]) is None
    limited = spec(memory="3GB", workers=1)
    assert connect_machines(limited, [job(1)]).size == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        (["cpu:0", "cuda:7"], "cannot compute on device `cuda:7`", "omit --device"),
        (["cpu:0", "tpu"], "cannot compute on device `tpu`", "omit --device"),
        (["cpu:0", ""], "cannot compute on device ``", "omit --device"),
        (["cpu:1", "cpu:1"], "expected different devices, got cpu:1, cpu:1", "name each"),
        (["cpu", "meta"], "devices of one kind, which round alike, got others", "use --device"),
    ],
)
def test_devices_that_cannot_share_work(names: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as found:
        require_devices(names)
    assert found.value.hint.startswith(hint)


def test_quantizing_takes_one_device(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one device to quantize on, got `cpu:0,cpu:1`"):
        bitloss.quantize("pocket", tmp_path / "x", recipe="gguf-q8_0", device=TWO)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_tiny_model(folder / "tiny", layers=6)
    write_tiny_model(folder / "noisy", noise=0.02, layers=6)
    (folder / "text.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(400)))
    return folder


def results(place: Path, out: Path, **more: Any) -> dict[str, bytes]:
    bitloss.compare(
        place / "tiny", [place / "noisy"], corpora=[place / "text.txt"], out=out, **more
    )
    kept = [out / "comparison.json", *(out / "records").iterdir()]
    return {path.name: path.read_bytes() for path in kept}


def test_a_run_on_two_devices_has_the_bytes_of_one(place: Path, tmp_path: Path) -> None:
    shared = results(place, tmp_path / "shared", device=TWO)
    alone = results(place, tmp_path / "alone", device="cpu:0")
    assert shared == alone
    assert not children()


def test_layers_over_two_devices_have_the_bytes_of_one(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither has room for all of the model: it is neither refused nor read a layer at a time."""
    weights = (place / "tiny" / "model.safetensors").stat().st_size
    placed = []
    real = placement.place_layers

    def counted(*sizes: Any) -> Any:
        placed.append(real(*sizes))
        return placed[-1]

    monkeypatch.setattr(placement, "place_layers", counted)
    monkeypatch.setattr(scorer, "read_by_layers", lambda *_, **__: pytest.fail("read by layers"))
    spread = results(place, tmp_path / "spread", device=TWO, memory=str(weights * 3 // 4))
    assert placed
    assert all(set(devices) == {0, 1} for devices in placed)
    assert spread == results(place, tmp_path / "alone", device="cpu:0")


def test_a_process_that_dies_is_lost_and_its_device_is_free() -> None:
    workers = DeviceWorkers(["cpu:0"])
    try:
        name = workers.start()
        assert name == "worker-1 on cpu:0"
        assert [event.kind for event in workers.poll(60)] == ["started"]
        assert workers.start_seconds > 0
        (process,) = children()
        os.kill(process.pid, signal.SIGKILL)
        (event,) = workers.poll(10)
        assert (event.worker, event.kind) == (name, "lost")
        assert event.reason == "it was killed by SIGKILL"
        assert workers.start() == "worker-2 on cpu:0"
    finally:
        workers.close()
    assert not children()
    assert workers.needs == Needs(workers.needs.cpus)


def children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [one for one in found if "device_workers" in " ".join(one.cmdline())]
