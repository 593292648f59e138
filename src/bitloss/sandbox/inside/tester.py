"""The process of the trusted tests: a server that forks one process for each program.

The data set's code runs here, against a function that asks the solution's process over pipes. The
verdict leaves through a socket that only this side has. Everything a solution can send is an
answer to a call: a value, an exception, silence or an end.

The server is started once, so that numpy is imported once. It ends when its control socket is
closed, and with it everything that it started.
"""

from __future__ import annotations

import array
import gc
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from .asking import Conversation
from .pipes import Pipes

__all__ = ["main"]

_TESTS = "<tests>"
_DETAIL = 500


def main(control: int, memory: int) -> None:
    """Fork a process for each message of the control socket: three descriptors and a flag.

    Args:
        control: descriptor of a socket of whole packets. A packet is ``b"n"`` where the tests
            want numpy, else ``b"-"``, with the descriptors to write calls to, to read replies
            from, and of the socket to the host.
        memory: bytes of address space of each process.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    server = socket.socket(fileno=control)
    size = socket.CMSG_SPACE(3 * array.array("i").itemsize)
    while True:
        packet, ancillary, _, _ = server.recvmsg(1, size)
        if not packet:
            os.killpg(0, signal.SIGKILL)  # this process leads a session of its own
        calls, replies, host = array.array("i", ancillary[0][2])
        if packet == b"n" and "numpy" not in sys.modules:
            import numpy  # noqa: F401  # the tests' import then finds it loaded
        gc.freeze()
        if os.fork() == 0:
            server.close()
            _work(calls, replies, host, memory)
        for descriptor in (calls, replies, host):
            os.close(descriptor)


def _work(calls: int, replies: int, host: int, memory: int) -> NoReturn:
    import resource

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    os.write(host, b"\n")  # with it the host learns this process's id
    stream = socket.socket(fileno=host).makefile("rb")
    CheckRun(Pipes(replies, calls), host, json.loads(stream.readline())).run()


class CheckRun:
    """One program's tests; satisfies `inside.asking.Listener`."""

    def __init__(self, pipes: Pipes, host: int, job: dict[str, str]) -> None:
        self._host = host
        self._job = job
        self._solution = Conversation(pipes, self)

    def run(self) -> NoReturn:
        """Load the solution, run the tests, tell the host; never returns."""
        name = self._job["entry_point"]
        function = self._solution.load(name, self._job["solution"])
        namespace: dict[str, Any] = {"__name__": "tests"}
        try:
            exec(compile(self._job["support"], "<support>", "exec"), namespace)
            tests = compile(self._job["tests"], _TESTS, "exec")
        except BaseException as error:
            self.end("broken", f"the tests themselves: {_describe(error, '')}")
        namespace[name] = function
        try:
            exec(tests, namespace)
        except BaseException as error:
            self.failed(error)
        self._passed()

    def _passed(self) -> NoReturn:
        if not self._solution.called:
            name = self._job["entry_point"]
            self.end("broken", f"the tests end without a call of `{name}`: any program passes")
        self._solution.check_raised()
        self.end("passed", "")

    def answered(self) -> None:
        """See `Listener`."""
        self._send({"outcome": "answered"})

    def failed(self, error: BaseException) -> NoReturn:
        """See `Listener`."""
        detail = _describe(error, self._job["tests"])
        if not self._solution.called:
            self.end("broken", f"the tests themselves, before they called anything: {detail}")
        if isinstance(error, SystemExit) and error.code in (None, 0):
            self._passed()
        if isinstance(error, MemoryError):
            self.end("memory", detail)
        if self._solution.compared:
            detail += (
                f" (the solution returned an object of type {self._solution.compared}, which is "
                "never equal to a value of the tests')"
            )
        ours = isinstance(error, AssertionError | SystemExit)
        self.end("wrong" if ours and not hasattr(error, "from_solution") else "error", detail)

    def end(self, outcome: str, detail: str) -> NoReturn:
        """See `Listener`."""
        self._send({"outcome": outcome, "detail": _line(detail)})
        os._exit(0)

    def _send(self, message: dict[str, str]) -> None:
        os.write(self._host, json.dumps(message).encode() + b"\n")


def _describe(error: BaseException, tests: str) -> str:
    """The last line of the traceback; for a bare assertion the line of the tests too."""
    try:
        text = traceback.format_exception_only(error)[-1].strip()
    except Exception:  # an integer with more digits than Python writes, as the message
        return type(error).__name__
    name = getattr(error, "from_solution", None)
    if name is not None:
        return _line(f"{name}: {error}" if str(error) else name)
    if isinstance(error, AssertionError) and error.args == ():
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename == _TESTS and frame.lineno]  # fmt: skip
        if lines:
            text += ": " + tests.splitlines()[lines[-1] - 1].strip()
    return _line(text)


def _line(text: str) -> str:
    """One printable line: the text may be the solution's."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * _DETAIL])
    return shown[:_DETAIL]
