"""Oracle: the system's own table of processes."""

from __future__ import annotations

import subprocess
import sys

import psutil

from bitloss.processes import end_process

# A process that starts another one, and says which.
_CODE = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _CODE],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def test_what_a_process_started_ends_with_it() -> None:
    with _started() as process:
        assert process.stdout is not None
        other = psutil.Process(int(process.stdout.readline()))
        end_process(process)
        assert process.returncode == -9
        assert psutil.wait_procs([other], timeout=10)[1] == [] or other.status() == "zombie"


def test_one_that_has_ended_is_left() -> None:
    with _started() as process:
        process.kill()
        process.wait()
        end_process(process)
        assert process.returncode == -9
