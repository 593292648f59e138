"""The host's side of the server that forks the tests' processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import weakref
from typing import IO

from bitloss.errors import SandboxError
from bitloss.sandbox.base import Program
from bitloss.sandbox.launch import Launcher
from bitloss.sandbox.watching import greeting

__all__ = ["START_SECONDS", "ForkServer", "Tests"]

START_SECONDS = 60.0
_MEMORY = 2 << 30
_CHUNK = 1 << 16


class Tests:
    """One program's tests, running.

    Attributes:
        socket: readable when the tests' process has something to tell, or has ended.
        process: its id.
    """

    def __init__(self, connection: socket.socket, process: int) -> None:
        self.socket = connection
        self.process = process
        self._handle = os.pidfd_open(process)
        self._ahead = b""

    def messages(self) -> list[dict[str, str]] | None:
        """What it told since; None once it has ended."""
        try:
            data = self.socket.recv(_CHUNK)
        except ConnectionResetError:
            data = b""
        if not data:
            return None
        *lines, self._ahead = (self._ahead + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """End it if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        os.close(self._handle)
        self.socket.close()


class ForkServer:
    """Starts the server when it is first needed, and again should it end.

    Safe to use from several threads.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def start(self, program: Program, calls: int, replies: int) -> Tests:
        """Start a program's tests.

        Args:
            program: see there.
            calls: descriptor that they write calls to.
            replies: descriptor that they read replies from.

        Raises:
            SandboxError: their process does not start.
        """
        ours, theirs = socket.socketpair()
        try:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ours.settimeout(START_SECONDS)
            self._ask(program, [calls, replies, theirs.fileno()])
            theirs.close()
            _, process = greeting(ours)
            if process < 0:
                raise ConnectionResetError("it ended at once")
            job = {
                "solution": program.solution, "entry_point": program.entry_point,
                "support": program.support, "tests": program.tests,
            }  # fmt: skip
            ours.sendall(json.dumps(job).encode() + b"\n")
            return Tests(ours, process)
        except OSError as error:
            ours.close()
            raise self._fault(error) from None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def _ask(self, program: Program, descriptors: list[int]) -> None:
        numpy = b"n" if "numpy" in program.tests or "numpy" in program.support else b"-"
        with self._lock:
            if self._server is None or not self._server.alive():
                self.close()
                self._server = _Server(self._launcher)
            socket.send_fds(self._server.control, [numpy], descriptors)

    def _fault(self, error: OSError) -> SandboxError:
        with self._lock:
            said = self._server.said() if self._server else ""
            self.close()
        return SandboxError(
            f"the tests' process did not start: {said or error}",
            hint="run `bitloss doctor` to diagnose the sandbox",
        )

    def close(self) -> None:
        """End the server, if there is one."""
        if self._server is not None:
            self._server.close()
            self._server = None


class _Server:
    def __init__(self, launcher: Launcher) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_end`
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            program = f"from inside.tester import main; main({theirs.fileno()}, {_MEMORY})"
            self._process = launcher.tester(program, (theirs.fileno(),), self._errors)
        except BaseException:
            self.control.close()
            self._errors.close()
            raise
        finally:
            theirs.close()
        self.close = weakref.finalize(self, _end, self.control, self._process, self._errors)

    def alive(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        """The last line that it, or bubblewrap, wrote; waits a little for its end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def _end(control: socket.socket, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    control.close()  # the server ends by itself
    try:
        process.wait(5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    errors.close()
