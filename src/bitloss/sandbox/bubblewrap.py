"""Untrusted programs in namespaces of their own, judged by tests that they cannot reach.

A program is two processes. The *candidate* holds the solution; the *tester* holds the data set's
tests, and calls the solution over two pipes. Arguments and results cross as plain data
(`inside.codec`), by value. The tester alone has the socket on which the verdict goes to the host.

What this stops (`tests/sandbox/test_attacks.py` tries it):

- **Forged verdicts**: success printed, exit status 0, patched builtins or assertions, results
  with an `__eq__` of their own, tests read from frames or memory, bytes written into any open
  descriptor, exceptions of any kind. Nothing in the candidate's process has a say in the verdict
  but the values that it returns.
- **Reach**: no network, no file of the host but a read-only Python without packages (and no word
  of where the host keeps it), no environment, no other process to see or to signal, no capability,
  no new privileges, no terminal. System calls that make namespaces, mounts, sockets or processes,
  trace, load into the kernel or take memory that no limit counts are refused (`seccomp`).
- **Excess**: processor time, address space, threads, output, files and their size, open files,
  and waiting (`Limits`). A candidate may start threads but no processes, so that limits of a
  process are limits of the program; everything ends with its namespace.

Time is measured so that a busy machine costs nobody a right answer: `cpu_seconds` is the
candidate's own processor time, interpreter's start included (some 0.02 s), and `wall_seconds`
counts only while neither process runs or is in the kernel's queue for a processor, which is time
that the candidate sleeps. The tests' own processor time has a limit of its own: `tests_seconds`,
and once the solution has answered no more than both of its limits together.
The seed of hashes is fixed: whether a solution passes that depends on a set's order does not
change from run to run.

- **Steering**: an exception that ends a loop of the tests (`StopIteration` and its kin become
  RuntimeError), or that their own code takes for an absence without a handler, fails the solution;
  an object of its own never sees what the tests compare it with. An assertion that fails in a
  function that the tests passed on is the verdict, whatever the solution makes of it.

What is as in one process: changes of arguments in place, seen when the call returns (lists, sets,
dicts, bytearrays, deques; two references to one list stay one list); iterators and generators,
which run as far as the tests draw; functions of the tests that the solution calls; functions and
objects of the solution's, which stay in its process and are called, read, changed and compared with
each other there; types of the standard library (`inside.kinds`); coroutines.

What differs: an object of the solution's equals no value of the tests' own, has no arithmetic with
one, and only `in` by its iteration; subclasses of builtin types arrive as what they are made of;
exceptions arrive as the nearest builtin type, without their attributes; an object of a class that
the tests define cannot be passed on; a context manager of the solution's cannot be entered; of the
solution's names the tests have the entry point's alone.

What this does not stop: a solution that recognises inputs and knows their answers; side channels
of the processor; faults of the kernel in what is left open. Memory in files (four times
`file_bytes`) and the kernel's own for it are not part of `memory_bytes`. A solution killed from
outside, as by a kernel out of memory, cannot be told from one that kills itself; it is run once
more. On processors other than x86-64 and aarch64 there is no filter of system calls, and
processes are bounded by the kernel's count. `Unsafe` stops forged verdicts that need no debugger,
and some excess.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bitloss.errors import SandboxError, UsageError
from bitloss.sandbox.base import Program, Verdict
from bitloss.sandbox.fork_server import ForkServer
from bitloss.sandbox.image import find_image
from bitloss.sandbox.judge import judge
from bitloss.sandbox.launch import Namespaces, Plain

__all__ = ["TESTS_SECONDS", "Bubblewrap", "Unsafe", "open_sandbox"]

TESTS_SECONDS = 60.0

_PROBE = Program("def one():\n    return 1\n", "one", "assert one() == 1\n")
_INSTEAD = "or run without protection: --unsafe-exec"
# Ways in which kernels forbid user namespaces: a file, its value, what that is called.
_FORBIDDEN = (
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns is 1",
    ),
)


class Bubblewrap:
    """Programs in namespaces; satisfies `bitloss.sandbox.base.Sandbox`.

    Args:
        bwrap: the program ``bwrap``.
        tests_seconds: processor time that the tests themselves may take.

    Raises:
        SandboxError: ``bwrap`` cannot be started, or the interpreter's libraries are not found.
    """

    def __init__(self, bwrap: Path, *, tests_seconds: float = TESTS_SECONDS) -> None:
        self._launcher = Namespaces(bwrap, find_image())
        self._fork_server = ForkServer(self._launcher)
        self._tests_seconds = tests_seconds

    def run(self, program: Program) -> Verdict:
        """See `bitloss.sandbox.base.Sandbox.run`."""
        return judge(
            self._launcher, self._fork_server, program,
            namespaces=True, tests_seconds=self._tests_seconds,
        )  # fmt: skip

    def close(self) -> None:
        """End the tests' server; it ends by itself with this object or process."""
        self._fork_server.close()


class Unsafe:
    """Programs as processes of the host's, for where there are no namespaces.

    The verdict is still that of another process, and limits are kept. But the solution has the
    user's rights: it can read and write files, use the network, and find and end other processes.

    Args:
        tests_seconds: processor time that the tests themselves may take.
    """

    def __init__(self, *, tests_seconds: float = TESTS_SECONDS) -> None:
        self._launcher = Plain()
        self._fork_server = ForkServer(self._launcher)
        self._tests_seconds = tests_seconds

    def run(self, program: Program) -> Verdict:
        """See `bitloss.sandbox.base.Sandbox.run`."""
        return judge(
            self._launcher, self._fork_server, program,
            namespaces=False, tests_seconds=self._tests_seconds,
        )  # fmt: skip

    def close(self) -> None:
        """End the tests' server; it ends by itself with this object or process."""
        self._fork_server.close()


def open_sandbox(*, unsafe: bool = False) -> Bubblewrap | Unsafe:
    """A sandbox in which a program has been run and judged; close it when it is not needed.

    Args:
        unsafe: `Unsafe`, asked for by name; nothing falls back to it.

    Raises:
        UsageError: bubblewrap is not installed or does not work here, or this is not Linux; says
            why.
    """
    if sys.platform != "linux":
        raise UsageError(
            f"running what a model wrote needs Linux, this is {sys.platform}",
            hint="leave out the tasks that run code, or use a virtual machine or container",
        )
    if unsafe:
        return Unsafe()
    found = shutil.which("bwrap")
    if found is None:
        raise UsageError(
            "running what a model wrote needs bubblewrap (Linux), and there is no bwrap on PATH",
            hint=f"apt install bubblewrap, {_INSTEAD}",
        )
    try:
        sandbox = Bubblewrap(Path(found))
        verdict = sandbox.run(_PROBE)
    except SandboxError as error:
        raise UsageError(
            f"bubblewrap ({found}) does not work here: {error.message}{_forbidden()}",
            hint=f"allow user namespaces (bubblewrap needs them), {_INSTEAD}",
        ) from error
    if not verdict.passed:
        raise UsageError(
            f"bubblewrap ({found}) does not work here: a right program was judged "
            f"{verdict.reason}: {verdict.detail}",
            hint=f"run `bitloss doctor` to diagnose it, {_INSTEAD}",
        )
    return sandbox


def _forbidden() -> str:
    for file, value, meaning in _FORBIDDEN:
        path = Path(file)
        if path.is_file() and path.read_text(errors="replace").strip() == value:
            return f" ({meaning}: user namespaces are forbidden)"
    return ""
