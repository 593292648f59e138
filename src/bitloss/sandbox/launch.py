"""Starting the two kinds of process, in namespaces or without."""

from __future__ import annotations

import compileall
import contextlib
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO, Protocol

from bitloss.errors import SandboxError
from bitloss.files import scratch_folder
from bitloss.sandbox.base import Limits
from bitloss.sandbox.image import CODE, LIBRARIES, PACKAGES, PYTHON, Image, numpy_folders
from bitloss.sandbox.seccomp import filter_program

__all__ = ["Launcher", "Namespaces", "Plain"]

# No `-I`: it would ignore the hash seed, and the order of a set decide what passes.
_PYTHON_OPTIONS = ("-S", "-s", "-P", "-B", "-X", "utf8")
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "MALLOC_ARENA_MAX": "1",  # an arena for each thread would be taken for the solution's memory
    "OPENBLAS_NUM_THREADS": "1",  # a process with threads cannot fork
}
# Files in a temporary directory share this many times one file's limit.
_FILES = 4


_CODE = Path(__file__).resolve().parent


class Launcher(Protocol):
    """Starts Python in the module `bitloss.sandbox.inside`."""

    def candidate(
        self, program: str, limits: Limits, descriptors: tuple[int, ...], output: int
    ) -> subprocess.Popen[bytes]:
        """A process for untrusted code.

        Args:
            program: Python, run with ``inside`` importable.
            limits: see there; those of the process itself are set by `program`.
            descriptors: that it inherits, under the same numbers.
            output: descriptor for what it prints.
        """

    def tester(
        self, program: str, descriptors: tuple[int, ...], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """The process that forks those of the trusted tests; arguments as above."""


class Namespaces:
    """Processes under bubblewrap.

    Args:
        bwrap: the program.
        image: what they see.
    """

    def __init__(self, bwrap: Path, image: Image) -> None:
        _precompile()
        self._bwrap = bwrap
        self._image = image
        self._sized = _offers(bwrap, "--size")
        self._candidate_filter = filter_program(processes=False)
        self._tester_filter = filter_program(processes=True)

    def candidate(
        self, program: str, limits: Limits, descriptors: tuple[int, ...], output: int
    ) -> subprocess.Popen[bytes]:
        """See `Launcher.candidate`."""
        size = ["--size", str(_FILES * limits.file_bytes)] if self._sized else []
        arguments = [
            *self._image.arguments(numpy=False), *size, "--tmpfs", "/tmp",
            "--dev-bind", "/dev/null", "/dev/null", "--die-with-parent",
        ]  # fmt: skip
        return self._start(arguments, self._candidate_filter, program, descriptors, output)

    def tester(
        self, program: str, descriptors: tuple[int, ...], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """See `Launcher.tester`.

        It does not die with its parent, which to the kernel is the thread that started it and may
        end before others need it; it ends when its control socket is closed.
        """
        program = f"import sys; sys.path.append({PACKAGES!r}); {program}"
        arguments = [*self._image.arguments(numpy=True), "--tmpfs", "/tmp"]
        return self._start(arguments, self._tester_filter, program, descriptors, output)

    def _start(
        self,
        arguments: list[str],
        filter_bytes: bytes | None,
        program: str,
        descriptors: tuple[int, ...],
        output: int | IO[bytes],
    ) -> subprocess.Popen[bytes]:
        command = [
            str(self._bwrap), "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net",
            "--unshare-uts", "--unshare-cgroup-try", "--uid", "65534", "--gid", "65534",
            "--hostname", "sandbox", "--cap-drop", "ALL", "--new-session",
            *arguments, "--remount-ro", "/", "--chdir", "/tmp",
        ]  # fmt: skip
        reading = None
        if filter_bytes is not None:
            reading, writing = os.pipe()
            os.write(writing, filter_bytes)  # less than a pipe holds
            os.close(writing)
            descriptors = (*descriptors, reading)
            command += ["--seccomp", str(reading)]
        environment = {**_ENVIRONMENT, "LD_LIBRARY_PATH": LIBRARIES}
        try:
            return _popen(
                [*command, PYTHON, *_PYTHON_OPTIONS, "-c", _with_path(program, CODE)],
                environment, descriptors, output, None,
            )  # fmt: skip
        finally:
            if reading is not None:
                os.close(reading)


class Plain:
    """Processes of the host, with its files, network and other processes in reach."""

    def __init__(self) -> None:
        _precompile()
        with contextlib.ExitStack() as stack:
            self._folder = stack.enter_context(scratch_folder())
            weakref.finalize(self, stack.pop_all().close)

    def candidate(
        self, program: str, limits: Limits, descriptors: tuple[int, ...], output: int
    ) -> subprocess.Popen[bytes]:
        """See `Launcher.candidate`."""
        return self._start(program, descriptors, output)

    def tester(
        self, program: str, descriptors: tuple[int, ...], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """See `Launcher.tester`."""
        sites = sorted({str(folder.parent) for folder in numpy_folders().values()})
        return self._start(
            f"import sys; sys.path.extend({sites!r}); {program}", descriptors, output
        )

    def _start(
        self, program: str, descriptors: tuple[int, ...], output: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        # The interpreter itself, not a virtual environment's.
        python = str(Path(sys.executable).resolve())
        folder = tempfile.mkdtemp(dir=self._folder)
        environment = {**_ENVIRONMENT, "HOME": folder, "TMPDIR": folder}
        program = _with_path(program, str(_CODE))
        command = [python, *_PYTHON_OPTIONS, "-c", program]
        return _popen(command, environment, descriptors, output, folder)


def _popen(
    command: list[str],
    environment: dict[str, str],
    descriptors: tuple[int, ...],
    output: int | IO[bytes],
    folder: str | None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, env=environment, pass_fds=descriptors, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, cwd=folder, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise SandboxError(f"{command[0]} cannot be started: {error}") from None


def _precompile() -> None:
    """Inside nothing can be written: without this every process compiles its modules again."""
    compileall.compile_dir(_CODE / "inside", quiet=2)


def _with_path(program: str, code: str) -> str:
    return f"import sys; sys.path.insert(0, {code!r}); {program}"


def _offers(bwrap: Path, option: str) -> bool:
    try:
        done = subprocess.run([bwrap, "--help"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"{bwrap} cannot be started: {error}") from None
    return option in done.stdout + done.stderr
