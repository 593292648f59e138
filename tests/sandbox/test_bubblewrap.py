"""The sandbox as a whole: threads, time, ends, and machines on which it does not work.

Oracles: what the kernel lists as running, the clock, and a `bwrap` on PATH that is known not to
work."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bitloss.errors import SandboxError, UsageError
from bitloss.sandbox import Bubblewrap, Limits, Program, Unsafe, bubblewrap, judge, open_sandbox
from bitloss.sandbox.watching import usage, wait_readable

ONE = Program("def f(): return 1", "f", "assert f() == 1")


def test_waiting_for_a_processor_is_not_waiting(sandbox: Bubblewrap) -> None:
    """Four times as many programs as cores: each takes longer than its wall time, none sleeps. What
    a virtual machine's host takes away is neither running nor waiting, so half of it may be that.
    """
    solution = "import time\ndef f():\n  end = time.process_time() + 0.5\n"
    solution += "  while time.process_time() < end: pass\n  return 4"
    limits = Limits(cpu_seconds=5.0, wall_seconds=1.6)
    program = Program(solution, "f", "assert f() == 4", limits=limits)
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(sandbox.run, [program] * 8))
    assert [verdict.reason for verdict in verdicts] == ["passed"] * 8


def test_threads_share_a_sandbox(sandbox: Bubblewrap) -> None:
    def program(number: int) -> Program:
        wrong = number % 3 == 0
        return Program(
            f"def f(x): return x + {number + wrong}", "f", f"assert f(1) == {number + 1}"
        )

    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(sandbox.run, map(program, range(24))))
    assert [verdict.passed for verdict in verdicts] == [number % 3 != 0 for number in range(24)]


def test_the_thread_that_ran_first_may_end(bwrap: Path) -> None:
    """The kernel takes the thread that started a process for its parent."""
    fresh = Bubblewrap(bwrap)
    for _ in range(2):
        verdicts: list[bool] = []
        thread = threading.Thread(target=lambda to=verdicts: to.append(fresh.run(ONE).passed))
        thread.start()
        thread.join()
        assert verdicts == [True]
    fresh.close()


def test_a_server_that_ended_is_started_again(bwrap: Path) -> None:
    fresh = Bubblewrap(bwrap)
    assert fresh.run(ONE).passed
    server = fresh._fork_server._server
    assert server is not None
    server._process.kill()
    server._process.wait()
    assert fresh.run(ONE).passed
    fresh.close()


def test_the_order_of_a_set_is_the_same_every_time(sandbox: Bubblewrap) -> None:
    solution = "def f(): return ''.join(set('abcdefghijklmnop'))"
    details = {sandbox.run(Program(solution, "f", "assert not f(), f()")).detail for _ in range(3)}
    assert len(details) == 1


@pytest.mark.parametrize(
    ("solution", "tests"),
    [("def f():\n  while True: pass", "f()"), ("def f(): return 10**12", "sum(range(f()))")],
    ids=["the solution runs", "the tests run"],
)
def test_nothing_outlives_a_killed_host(sandbox: Bubblewrap, solution: str, tests: str) -> None:
    host = (
        "from bitloss.sandbox import *\n"
        "s = open_sandbox()\nprint('open', flush=True)\n"
        f"s.run(Program({solution!r}, 'f', {tests!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", host], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # One of them is at work; before it has begun, each ends when the other does.
        wait_for(lambda: [n for n in descendants(process.pid) if usage(n).cpu > 0.5], at_least=1)
        ours = descendants(process.pid)
        assert len(ours) >= 7
        process.send_signal(signal.SIGKILL)
    assert wait_for(lambda: [n for n in ours if not gone(n)], at_least=0, at_most=0) == []


def wait_for(look: Callable[[], list[int]], *, at_least: int, at_most: int = 99) -> list[int]:
    """What is seen when it is as many as expected, or after ten seconds."""
    end = time.monotonic() + 10
    while not at_least <= len(seen := look()) <= at_most and time.monotonic() < end:
        time.sleep(0.02)
    return seen


def gone(process: int) -> bool:
    """Ended; one that nobody has waited for yet is no process any more."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def descendants(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines()}
    found = [process]
    for number in found:
        found += [child for child, parent in parents.items() if parent == number]
    return found[1:]


def stub(folder: Path, script: str) -> Path:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_without_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no bwrap on PATH") as caught:
        open_sandbox()
    assert "apt install bubblewrap" in caught.value.hint
    assert "--unsafe-exec" in caught.value.hint


def test_where_user_namespaces_are_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "bwrap: No permissions to create new namespace"
    stub(tmp_path, f"echo {said!r} >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    setting = tmp_path / "max_user_namespaces"
    setting.write_text("0\n")
    names = ((str(setting), "0", "user.max_user_namespaces is 0"),)
    monkeypatch.setattr(bubblewrap, "_FORBIDDEN", names)
    with pytest.raises(UsageError, match="does not work here") as caught:
        open_sandbox()
    assert said in caught.value.message
    assert "user.max_user_namespaces is 0: user namespaces are forbidden" in caught.value.message


def test_a_bubblewrap_that_does_nothing(tmp_path: Path) -> None:
    broken = Bubblewrap(stub(tmp_path, "exit 0"))
    for _ in range(2):
        with pytest.raises(SandboxError, match="did not start"):
            broken.run(ONE)
    broken.close()


def test_a_bubblewrap_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="cannot be started"):
        Bubblewrap(tmp_path / "bwrap")


def test_a_bubblewrap_that_fails_for_the_solution(bwrap: Path, tmp_path: Path) -> None:
    """Only the solution's process is started with --die-with-parent."""
    script = 'case "$*" in *--die-with-parent*) echo "no room" >&2; exit 1;; esac\n'
    script += f'exec {bwrap} "$@"'
    broken = Bubblewrap(stub(tmp_path, script))
    with pytest.raises(SandboxError, match="did not start: no room"):
        broken.run(ONE)
    broken.close()


def test_one_that_was_sound_and_breaks(bwrap: Path, tmp_path: Path) -> None:
    path = stub(tmp_path, f'exec {bwrap} "$@"')
    sandbox = Bubblewrap(path)
    assert sandbox.run(ONE).passed
    stub(tmp_path, "exit 1")
    with pytest.raises(SandboxError):
        sandbox.run(ONE)
    path.unlink()
    with pytest.raises(SandboxError, match="cannot be started"):
        sandbox.run(ONE)
    sandbox.close()


def test_descriptors_are_closed(sandbox: Bubblewrap) -> None:
    programs = [
        ONE,
        Program("import os\nos._exit(1)", "f", "f()"),
        Program("def f(): return 1", "f", "assert g()"),
        Program("def f():\n  while 1: pass", "f", "f()", limits=Limits(cpu_seconds=0.2)),
    ]

    def run_all() -> int:
        for program in programs:
            with contextlib.suppress(SandboxError):
                sandbox.run(program)
        return len(list(Path("/proc/self/fd").iterdir()))

    assert run_all() == run_all()


def test_the_solution_inherits_two_pipes_and_no_more(sandbox: Bubblewrap) -> None:
    solution = (
        "import os\ndef f():\n  held = []\n  for number in range(3, 1000):\n"
        "    try: held.append(oct(os.fstat(number).st_mode & 0o170000))\n"
        "    except OSError: pass\n  return held"
    )
    assert sandbox.run(Program(solution, "f", "assert f() == ['0o10000'] * 2, f()")).passed


def test_a_closed_output_is_not_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bubblewrap, which holds it open too, its end is seen while the solution runs."""
    waits = []

    def counted(descriptors: list[int], seconds: float) -> list[int]:
        waits.append(seconds)
        return wait_readable(descriptors, seconds)

    monkeypatch.setattr(judge, "wait_readable", counted)
    unsafe = Unsafe()
    solution = "import os, time\nos.close(1)\nos.close(2)\ndef f(): time.sleep(0.5)"
    assert unsafe.run(Program(solution, "f", "assert f() is None")).passed
    assert len(waits) < 30
    unsafe.close()


def test_unsafe_judges_alike_and_keeps_limits() -> None:
    unsafe = open_sandbox(unsafe=True)
    assert isinstance(unsafe, Unsafe)
    short = Limits(cpu_seconds=0.4, wall_seconds=0.3, memory_bytes=128 << 20, output_bytes=1000)
    tests = "import numpy as np\nassert np.allclose(f(1), 1)"
    for solution, reason in {
        "def f(x): return x": "passed",
        "def f(x): return 2": "wrong",
        "def f(x) return 2": "syntax",
        "def f(x): return x.y": "error",
        "import os\nprint('passed')\nos._exit(0)": "killed",
        "def f(x):\n  while True: pass": "cpu time",
        "import time\ndef f(x): time.sleep(60)": "wall time",
        "def f(x): return bytes(10**10)": "memory",
        "def f(x): return print('x' * 20000)": "output",
    }.items():
        assert unsafe.run(Program(solution, "f", tests, limits=short)).reason == reason
    unsafe.close()


def test_the_host_is_in_reach_of_what_runs_unsafe(tmp_path: Path) -> None:
    """What `test_attacks` tries does work where nothing is in its way."""
    canary = tmp_path / "canary"
    canary.write_text("as it was")
    unsafe = Unsafe()
    for deed in (
        f"open({str(canary)!r}).read()",
        f"open({str(canary)!r}, 'w').write('x')",
        "open('/proc/1/status').read()",
        "__import__('socket').socket()",
        "__import__('subprocess').run(['/bin/sh', '-c', 'true']).returncode == 0",
    ):
        assert unsafe.run(Program(f"def f(): return bool({deed})", "f", "assert f()")).passed
    assert canary.read_text() == "x"
    unsafe.close()
