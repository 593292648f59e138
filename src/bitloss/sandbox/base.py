"""What is run in a sandbox, and what is learned of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from bitloss.errors import SandboxError

__all__ = ["BrokenTests", "Limits", "Program", "Reason", "Sandbox", "Verdict"]

Reason = Literal[
    "passed", "wrong", "error", "syntax", "cpu time", "wall time", "memory", "output", "killed"
]


class BrokenTests(SandboxError):  # noqa: N818
    """Tests that cannot run, whatever the solution, or that never call it: the data's fault."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    Attributes:
        cpu_seconds: of processor time: a loaded machine does not turn right answers wrong.
        wall_seconds: of real time, for programs that only wait.
        memory_bytes: address space.
        processes: threads and processes of its own.
        file_bytes: size of a file in its temporary directory.
        open_files: at once.
        output_bytes: on stdout and stderr together.
    """

    cpu_seconds: float = 10.0
    wall_seconds: float = 60.0
    memory_bytes: int = 1 << 30
    processes: int = 16
    file_bytes: int = 16 << 20
    open_files: int = 64
    output_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """Untrusted code and trusted tests of it.

    Attributes:
        solution: what the model wrote, whole: it defines `entry_point`. Untrusted.
        entry_point: name of the function that the tests call.
        tests: the data set's own code; calls `entry_point` by name, and raises if it is wrong.
        support: the data set's own code that the tests need besides (helpers that stand in the
            prompt); it may define `entry_point` too, the solution's is used.
        limits: see there.
    """

    solution: str
    entry_point: str
    tests: str
    support: str = ""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a program.

    Attributes:
        passed: all tests ran to their end, and none raised.
        reason: why it did not pass.
        detail: the last line of the traceback, for people.
        cpu_seconds: used.
    """

    passed: bool
    reason: Reason
    detail: str = ""
    cpu_seconds: float = 0.0


class Sandbox(Protocol):
    """Runs programs; safe to call from several threads at once."""

    def run(self, program: Program) -> Verdict:
        """Run a program to its end or its limits.

        Raises:
            BrokenTests: they say nothing of the program.
            SandboxError: the sandbox itself failed; nothing is known of the program.
        """
