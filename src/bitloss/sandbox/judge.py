"""One program from its start to its verdict."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass

from bitloss.errors import SandboxError
from bitloss.sandbox.base import BrokenTests, Program, Reason, Verdict
from bitloss.sandbox.fork_server import START_SECONDS, ForkServer, Tests
from bitloss.sandbox.launch import Launcher
from bitloss.sandbox.watching import (
    Usage,
    greeting,
    is_runnable,
    kill,
    resource_limits,
    usage,
    wait_readable,
)

__all__ = ["judge"]

_ENDING_SECONDS = 5.0
_CHUNK = 1 << 16
_KEPT = 2000  # bytes of output, for the message where the sandbox does not start
_KILLED = (128 + signal.SIGKILL, -signal.SIGKILL)
_HINT = "run `bitloss doctor` to diagnose the sandbox"


def judge(
    launcher: Launcher,
    fork_server: ForkServer,
    program: Program,
    *,
    namespaces: bool,
    tests_seconds: float,
) -> Verdict:
    """Run a program, and once more where something killed it that may not be itself.

    Args:
        launcher: starts the solution's process.
        fork_server: starts the tests' process.
        program: see there.
        namespaces: the kernel counts the solution's threads apart from the user's.
        tests_seconds: processor time that the tests may take on what the solution returned.

    Raises:
        SandboxError: a process did not start, or the tests' ended without a word.
    """
    for again in (True, False):
        with ExitStack() as stack:
            run = _start(stack, launcher, fork_server, program, namespaces)
            verdict = run.verdict(tests_seconds)
        if not (again and verdict.reason == "killed" and run.ended_itself in _KILLED):
            break
    return verdict


def _start(
    stack: ExitStack,
    launcher: Launcher,
    fork_server: ForkServer,
    program: Program,
    namespaces: bool,
) -> _Run:
    def pipe() -> tuple[io.FileIO, io.FileIO]:
        reading, writing = os.pipe()
        return stack.enter_context(io.FileIO(reading, "r")), stack.enter_context(
            io.FileIO(writing, "w")
        )

    calls, ask = pipe()
    answers, replies = pipe()
    output, printing = pipe()
    hello, started = map(stack.enter_context, socket.socketpair())
    hello.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    tests = stack.enter_context(
        contextlib.closing(fork_server.start(program, ask.fileno(), answers.fileno()))
    )
    inherited = (calls.fileno(), replies.fileno(), started.fileno())
    limits = json.dumps(resource_limits(program.limits, namespaces=namespaces))
    process = launcher.candidate(
        f"from inside.candidate import main; main{(*inherited, json.loads(limits))}",
        program.limits,
        inherited,
        printing.fileno(),
    )
    run = _Run(program, tests, process, hello, output)
    stack.callback(run.kill)
    # Theirs alone from here on: an end is seen only when nobody else holds it open.
    for ours in (calls, ask, answers, replies, printing, started):
        ours.close()
    os.set_blocking(output.fileno(), False)
    return run


@dataclass(slots=True)
class _Waiting:
    """How long neither process has run or been queued for a processor.

    It is summed up over short stretches of time, of which none counts as busy for longer than it
    lasts: many threads that queue at once save no time up for one that sleeps later.

    Attributes:
        process: the solution's.
        clock: end of the last stretch.
        busy: what both had used by then.
        seconds: waited so far.
    """

    process: int
    clock: float
    busy: float
    seconds: float = 0.0

    def add(self, clock: float, busy: float, tests: int) -> float:
        """The seconds, with those of the stretch that ends here; `tests` is the other process."""
        waited = clock - self.clock - max(0.0, busy - self.busy)
        # Time in the queue is counted by the kernel only once it is over.
        if waited > 0 and not (is_runnable(self.process) or is_runnable(tests)):
            self.seconds += waited
        self.clock, self.busy = clock, busy
        return self.seconds


class _Run:
    """A program that runs."""

    def __init__(
        self,
        program: Program,
        tests: Tests,
        process: subprocess.Popen[bytes],
        hello: socket.socket,
        output: io.FileIO,
    ) -> None:
        self._limits = program.limits
        self._tests = tests
        self._process = process
        self._hello = hello
        self._output = output
        self._begin: _Waiting | None = None
        self._answered = False
        self._printed = 0
        self._printing = True
        self._kept = b""
        self._cpu = 0.0
        self.status: int | None = None
        self.ended_itself: int | None = None

    def verdict(self, tests_seconds: float) -> Verdict:
        """Wait for the tests' word or the first limit."""
        tick = min(0.1, max(0.01, min(self._limits.cpu_seconds, self._limits.wall_seconds) / 10))
        give_up = time.monotonic() + START_SECONDS
        while True:
            sources = [self._tests.socket.fileno()]
            if self._printing:
                sources.append(self._output.fileno())
            if self._begin is None:
                sources.append(self._hello.fileno())
            ready = wait_readable(sources, tick)
            if self._hello.fileno() in ready:
                self._greet()
            if self._output.fileno() in ready:
                self._read_output()
            if self._tests.socket.fileno() in ready:
                verdict = self._listen()
                if verdict is not None:
                    return verdict
            if self._begin is None:
                if time.monotonic() > give_up:
                    self._fail_to_start()
                continue
            over = self._over(self._begin, tests_seconds)
            if over is not None:
                self.kill()
                return Verdict(False, *over, cpu_seconds=self._cpu)

    def _greet(self) -> None:
        try:
            _, process = greeting(self._hello)
        except TimeoutError:
            process = -1
        if process < 0:
            self._fail_to_start()
        busy = usage(process).busy + usage(self._tests.process).busy
        self._begin = _Waiting(process, time.monotonic(), busy)

    def _fail_to_start(self) -> None:
        self.kill()
        self._read_output()
        said = self._kept.decode(errors="replace").strip().splitlines()
        raise SandboxError(
            "the sandbox did not start" + (f": {said[-1]}" if said else ""), hint=_HINT
        )

    def _read_output(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._output.fileno(), _CHUNK):
                self._kept += data[: _KEPT - len(self._kept)]
                self._printed += len(data)
                if self._printed > self._limits.output_bytes:
                    return
            self._printing = False  # an end is always readable

    def _listen(self) -> Verdict | None:
        messages = self._tests.messages()
        if messages is None:
            if not self._answered:
                raise BrokenTests(
                    "the tests' process ended without a verdict, and without a call", hint=_HINT
                )
            # Its memory, its stack: what was asked of it came of the solution's answers.
            self.kill()
            lost = "the tests' process ended on what the solution returned"
            return Verdict(False, "error", lost, self._cpu)
        for message in messages:
            outcome, detail = message["outcome"], message.get("detail", "")
            if outcome == "answered":
                self._answered = True
            elif outcome == "broken":
                raise BrokenTests(
                    detail, hint="omit the task, or correct its tests: they cannot run as they are"
                )
            elif outcome == "gone":
                return self._gone()
            else:
                return self._ended(outcome, detail)
        return None

    def _ended(self, outcome: str, detail: str) -> Verdict:
        self.kill()
        self._read_output()
        if self._printed > self._limits.output_bytes:
            return Verdict(False, *self._flood(), cpu_seconds=self._cpu)
        reasons: dict[str, Reason] = {
            "passed": "passed", "wrong": "wrong", "error": "error", "syntax": "syntax",
            "memory": "memory",
        }  # fmt: skip
        return Verdict(outcome == "passed", reasons[outcome], detail, self._cpu)

    def _gone(self) -> Verdict:
        """The solution's process ended, or hung up: of itself, or at a limit of the kernel's."""
        if self._begin is None:
            self._hello.settimeout(_ENDING_SECONDS)
            self._greet()
        ended = self._wait()
        self.kill()
        self.ended_itself = self.status if ended else None
        self._read_output()
        if self._printed > self._limits.output_bytes:
            reason, detail = self._flood()
        elif self._cpu > self._limits.cpu_seconds:
            reason, detail = self._slow()
        elif ended:
            reason, detail = "killed", f"the solution's process ended: status {self.status}"
        else:
            reason, detail = "killed", "the solution's process hung up on the tests"
        return Verdict(False, reason, detail, self._cpu)

    def _over(self, begin: _Waiting, tests_seconds: float) -> tuple[Reason, str] | None:
        """The limit that is exceeded, if one is."""
        if self._printed > self._limits.output_bytes:
            return self._flood()
        clock = time.monotonic()  # before usage: waiting is then never too long
        used, tests = self._used(begin.process), usage(self._tests.process)
        waited = begin.add(clock, used.busy + tests.busy, self._tests.process)
        if used.cpu > self._limits.cpu_seconds:
            return self._slow()
        if used.threads > self._limits.processes:
            return "killed", f"more than {self._limits.processes} threads"
        if waited > self._limits.wall_seconds:
            return "wall time", f"waited for more than {self._limits.wall_seconds:g} s"
        # On what a solution returned they get no longer than itself.
        own = self._limits.cpu_seconds + self._limits.wall_seconds
        if tests.cpu > (min(tests_seconds, own) if self._answered else tests_seconds):
            return self._endless(tests)
        return None

    def _used(self, process: int) -> Usage:
        used = usage(process)
        self._cpu = max(self._cpu, used.cpu)
        return used

    def _endless(self, tests: Usage) -> tuple[Reason, str]:
        if not self._answered:
            raise BrokenTests(
                f"the tests ran for {tests.cpu:.0f} s and called nothing",
                hint="omit the task, or have its tests call the solution sooner",
            )
        return "cpu time", f"the tests took {tests.cpu:.0f} s on what the solution returned"

    def _slow(self) -> tuple[Reason, str]:
        return "cpu time", f"more than {self._limits.cpu_seconds:g} s of processor time"

    def _flood(self) -> tuple[Reason, str]:
        return "output", f"more than {self._limits.output_bytes} bytes printed"

    def _wait(self) -> bool:
        """Whether the process ends by itself within a while: it may only have hung up."""
        end = time.monotonic() + min(_ENDING_SECONDS, max(0.5, self._limits.wall_seconds))
        while time.monotonic() < end:
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return True
            time.sleep(0.002)
        return False

    def kill(self) -> None:
        """End the solution's process; what it used is known from then on."""
        if self.status is None:
            # Bubblewrap is killed as well, and has then not waited for what is to be counted.
            if self._begin is not None:
                self._used(self._begin.process)
            self.status, cpu = kill(self._process)
            self._cpu = max(self._cpu, cpu)
