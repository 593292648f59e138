"""Workers that tests fork from a process with the libraries (`peers.forked_python`).

Oracles: what the system says of a process, and a worker that was started as users start it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitloss import api
from peers.forked_python import Forked, fresh
from peers.tiny import save_tiny

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
WORKER = "bitloss.quantizers._llama_cpp_worker"


def test_it_is_the_process_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    with (
        (tmp_path / "log").open("r+") as log,
        Forked(
            [sys.executable, "-P", "-m", WORKER], stdin=subprocess.PIPE, stdout=log, stderr=log,
            env=dict(os.environ), cwd=tmp_path, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        place = Path(f"/proc/{process.pid}")
        command = (place / "cmdline").read_bytes().decode()
        parent = (place / "stat").read_text().rpartition(") ")[2].split()[1]
        assert "forked_python" in command, "it was started from scratch"
        assert int(parent) == os.getpid()
        assert os.getsid(process.pid) == process.pid
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.write(b"nothing that a worker reads\n")
        process.stdin.close()
        assert process.wait() == 1
        assert Path.cwd() != tmp_path
    assert "JSONDecodeError" in (tmp_path / "log").read_text()


def test_it_is_killed_like_any_other(tmp_path: Path) -> None:
    with Forked(
        [sys.executable, "-P", "-m", WORKER], stdin=subprocess.PIPE, env=dict(os.environ),
        cwd=tmp_path, start_new_session=True,
    ) as process:  # fmt: skip
        process.kill()
        assert process.wait() == -9


def test_it_works_where_this_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that forks was started elsewhere: relative paths would not be found."""
    monkeypatch.chdir(tmp_path)
    with Forked(
        [sys.executable, "-P", "-m", WORKER], stdin=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert Path(f"/proc/{process.pid}/cwd").resolve() == tmp_path.resolve()
        process.kill()


def test_other_programs_are_started_as_usual() -> None:
    with Forked([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0] == "1\n"


def test_the_bytes_are_those_of_a_worker_that_is_started_fresh(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    save_tiny(tmp_path / "model", "llama")
    forked = api.quantize(tmp_path / "model", tmp_path / "a.gguf", recipe="gguf-q4_0")
    with fresh():
        other = api.quantize(tmp_path / "model", tmp_path / "b.gguf", recipe="gguf-q4_0")
    assert forked.read_bytes() == other.read_bytes()
