"""Oracle: a stand-in worker (tests/peers/workers.py) that ends the way its spec says."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bitloss.cli.console import LineProgress
from bitloss.errors import QuantizationError, StorageError
from bitloss.quantizers.workers import Workers
from bitloss.types import SilentProgress

TESTS = Path(__file__).resolve().parents[1]
PATHS = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])


class Recorder:
    def __init__(self) -> None:
        self.opened: list[tuple[str, int | None, str]] = []
        self.advanced: list[int] = []

    @contextmanager
    def task(
        self, label: str, total: int | None, unit: str = "tokens"
    ) -> Iterator[Callable[[int], None]]:
        self.opened.append((label, total, unit))
        yield self.advanced.append


def run(
    spec: dict[str, Any], progress: Any = None, workers: Workers | None = None, **env: str
) -> dict[str, Any]:
    return (workers or Workers()).run(
        "peers.workers",
        spec,
        label="a test",
        progress=progress or SilentProgress(),
        env={"PYTHONPATH": PATHS, **env},
        signal_hints={"SIGILL": "rebuild it"},
    )


def test_the_result_comes_back_whatever_is_printed() -> None:
    echo = {"ids": list(range(50_000)), "text": "größer\n"}
    assert run({"echo": echo}, BITLOSS_TEST="x") == {"env": "x", "echo": echo}


def test_progress_opens_one_bar_and_moves_it_on() -> None:
    recorder = Recorder()
    run({"steps": 3}, recorder)
    assert recorder.opened == [("a test", 3, "layers")]
    assert recorder.advanced == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "hint"), [("SIGILL", "rebuild it"), ("SIGKILL", "memory"), ("SIGABRT", "recipe")]
)
def test_a_worker_killed_by_a_signal_is_an_error_that_names_it(name: str, hint: str) -> None:
    with pytest.raises(QuantizationError, match=f"a test: .* killed by {name}") as caught:
        run({"signal": name})
    assert hint in caught.value.hint
    assert "about to die" in caught.value.message


def test_a_killed_workers_progress_is_not_reported_as_done() -> None:
    stream = io.StringIO()
    with pytest.raises(QuantizationError, match="killed by SIGKILL"):
        run({"steps": 2, "signal": "SIGKILL"}, LineProgress(stream))
    assert stream.getvalue() == "a test ...\n"


def test_an_early_end_quotes_the_end_of_stderr_only() -> None:
    with pytest.raises(QuantizationError, match="exit status 7") as caught:
        run({"exit": 7})
    assert caught.value.message.count("giving up") == 8


def test_a_module_that_cannot_start_is_an_error() -> None:
    with pytest.raises(QuantizationError, match="No module named"):
        Workers().run("bitloss.no_such_worker", {}, label="x", progress=SilentProgress())


def test_an_error_keeps_its_message_and_hint() -> None:
    with pytest.raises(QuantizationError, match="a test: sizes do not fit") as caught:
        run({"unfit": "sizes do not fit"})
    assert caught.value.hint == "take another"


def test_a_library_fault_is_named_with_its_type() -> None:
    with pytest.raises(QuantizationError, match="ValueError: bad shape"):
        run({"fault": "bad shape"})


def test_a_full_disk_is_a_storage_error_whatever_the_library_calls_it() -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        run({"fault": "Error while serializing: No space left on device (os error 28)"})


def test_what_outlives_the_worker_may_go_on_writing_to_its_stderr() -> None:
    # An exception in the draining thread fails the test: pytest turns it into a warning.
    before = set(threading.enumerate())
    run({"straggler": True})
    (drain,) = set(threading.enumerate()) - before
    drain.join(20)
    assert not drain.is_alive()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except FileNotFoundError:
        return True


def wait_for(condition: Callable[[], bool]) -> bool:
    for _ in range(400):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_the_end_of_one_runs_workers_leaves_anothers_alone(tmp_path: Path) -> None:
    ended, other = Workers(), Workers()
    pids = {workers: tmp_path / name for workers, name in ((ended, "ended"), (other, "other"))}
    with ThreadPoolExecutor(2) as pool:
        futures = {
            workers: pool.submit(run, {"sleep": 1, "pids": str(path)}, workers=workers)
            for workers, path in pids.items()
        }
        assert wait_for(lambda: all(p.exists() and p.read_text() for p in pids.values()))
        worker, _ = map(int, pids[other].read_text().split())
        ended.end()
        with pytest.raises(QuantizationError, match="SIGKILL"):
            futures[ended].result(20)
        assert not gone(worker)
        assert not futures[other].done()
        other.end()
        with pytest.raises(QuantizationError, match="SIGKILL"):
            futures[other].result(20)


def test_a_workers_environment_is_its_own() -> None:
    with ThreadPoolExecutor(2) as pool:
        values = list(pool.map(lambda value: run({}, BITLOSS_TEST=value)["env"], "ab"))
    assert values == ["a", "b"]
    assert "BITLOSS_TEST" not in os.environ


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_the_worker_ends_with_its_parent(tmp_path: Path, how: str) -> None:
    pids = tmp_path / "pids"
    program = (
        "from bitloss.quantizers.workers import Workers\n"
        "from bitloss.types import SilentProgress\n"
        f"Workers().run('peers.workers', {{'sleep': 1, 'pids': {str(pids)!r}}}, label='x',"
        f" progress=SilentProgress(), env={{'PYTHONPATH': {PATHS!r}}})\n"
    )
    # Whoever runs the tests in the background may have told them to ignore the signal.
    listening = ["env", "--default-signal=INT", sys.executable]
    with subprocess.Popen([*listening, "-c", program], stderr=subprocess.DEVNULL) as parent:
        assert wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        worker, grandchild = map(int, pids.read_text().split())
        parent.send_signal(getattr(signal, how))
        parent.wait(20)
        assert wait_for(lambda: gone(worker))
        if how == "SIGINT":  # Ctrl-C cleans up the whole group
            assert wait_for(lambda: gone(grandchild))
        else:
            os.kill(grandchild, signal.SIGKILL)
