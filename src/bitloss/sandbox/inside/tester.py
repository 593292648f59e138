"""The process of the trusted tests: a server that forks one process for each program.

The data set's code runs here, against a function that asks the solution's process over pipes. The
verdict leaves through a socket that only this side has. Everything a solution can send is an
answer to a call: a value, an exception, silence or an end.

The server is started once, so that numpy is imported once. It ends when its control socket is
closed, and with it everything that it started.
"""

from __future__ import annotations

import array
import builtins
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from . import codec
from .pipes import Closed, Pipes

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
    """One program's tests."""

    def __init__(self, pipes: Pipes, host: int, job: dict[str, str]) -> None:
        self._pipes = pipes
        self._host = host
        self._job = job
        self._called = False

    def run(self) -> NoReturn:
        """Load the solution, run the tests, tell the host; never returns."""
        name = self._job["entry_point"]
        self._exchange(codec.encode((name, self._job["solution"])), self._loaded)
        namespace: dict[str, Any] = {"__name__": "tests"}
        try:
            exec(compile(self._job["support"], "<support>", "exec"), namespace)
            tests = compile(self._job["tests"], _TESTS, "exec")
        except BaseException as error:
            self._tell("broken", f"the tests themselves: {_describe(error, '')}")
        namespace[name] = self._proxy(name)
        try:
            exec(tests, namespace)
        except BaseException as error:
            self._judge(error)
        self._tell("passed", "")

    def _judge(self, error: BaseException) -> NoReturn:
        detail = _describe(error, self._job["tests"])
        if not self._called:
            self._tell("broken", f"the tests themselves, before they called anything: {detail}")
        if isinstance(error, MemoryError):
            self._tell("memory", detail)
        ours = isinstance(error, AssertionError) and not hasattr(error, "from_solution")
        self._tell("wrong" if ours else "error", detail)

    def _proxy(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            try:
                request = codec.encode((arguments, keywords))
            except codec.Unsupported as error:
                if not self._called:
                    self._tell("broken", f"the tests pass on {error}")
                raise  # they may have made it of something the solution returned
            return self._exchange(request, self._returned)

        call.__name__ = call.__qualname__ = name
        return call

    def _exchange(self, request: bytes, understand: Callable[[bytes], Any]) -> Any:
        """Send a request and take the reply apart.

        What is no reply at all ends this process here and now: tests that catch every exception
        must not go on, and pass, on the strength of one that no solution raised.
        """
        try:
            self._pipes.send(request)
            return understand(self._pipes.receive())
        except Closed:
            self._tell("gone", "the solution's process ended")
        except codec.Malformed as error:
            self._tell("error", f"the solution's process wrote what is no reply: {error}")

    def _loaded(self, reply: bytes) -> None:
        if reply == b"K":
            return
        if reply[:1] == b"Y":
            self._tell("syntax", _line(str(codec.decode(reply[1:]))))
        if reply[:1] != b"X":
            raise codec.Malformed(f"{reply[:1]!r} instead of K, X or Y")
        error = _exception(reply)
        self._tell("memory" if isinstance(error, MemoryError) else "error", _describe(error, ""))

    def _returned(self, reply: bytes) -> Any:
        if not self._called:
            self._called = True
            self._send({"outcome": "answered"})
        if reply[:1] == b"R":
            return codec.decode(reply[1:])
        if reply[:1] == b"U":
            error: Exception = TypeError(f"the solution returned {codec.decode(reply[1:])}")
            error.from_solution = "TypeError"  # type: ignore[attr-defined]
        elif reply[:1] == b"X":
            error = _exception(reply)
        else:
            raise codec.Malformed(f"{reply[:1]!r} instead of R, U or X")
        raise error

    def _tell(self, outcome: str, detail: str) -> NoReturn:
        self._send({"outcome": outcome, "detail": detail})
        os._exit(0)

    def _send(self, message: dict[str, str]) -> None:
        os.write(self._host, json.dumps(message).encode() + b"\n")


def _exception(reply: bytes) -> Exception:
    """An exception of the nearest builtin type; what would end a program becomes a plain one."""
    try:
        names, message = codec.decode(reply[1:])
        names, message = [str(name) for name in names], str(message)
    except (TypeError, ValueError) as error:
        raise codec.Malformed(f"an exception: {error}") from None
    failure = next(filter(None, map(_builtin, names)), None) or RuntimeError()
    if message:
        failure.args = (message,)
    failure.from_solution = names[0] if names else ""  # type: ignore[attr-defined]
    return failure


def _builtin(name: str) -> Exception | None:
    """An exception by its name; groups, which cannot be without members, are left out."""
    kind = getattr(builtins, name, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception):
        return None
    return None if issubclass(kind, BaseExceptionGroup) else kind.__new__(kind)


def _describe(error: BaseException, tests: str) -> str:
    """The last line of the traceback; for a bare assertion the line of the tests too."""
    text = traceback.format_exception_only(error)[-1].strip()
    name = getattr(error, "from_solution", None)
    if name is not None:
        return _line(f"{name}: {error}" if str(error) else name)
    if isinstance(error, AssertionError) and not str(error):
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename == _TESTS and frame.lineno]  # fmt: skip
        if lines:
            text += ": " + tests.splitlines()[lines[-1] - 1].strip()
    return _line(text)


def _line(text: str) -> str:
    """One printable line: the text may be the solution's."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * _DETAIL])
    return shown[:_DETAIL]
