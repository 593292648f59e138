"""What processes use, and their ends."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import select
import signal
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bitloss.sandbox.base import Limits

__all__ = ["Usage", "greeting", "is_runnable", "kill", "resource_limits", "usage", "wait_readable"]

_COUNTS_OWN_PROCESSES = (5, 14)  # the kernel from which RLIMIT_NPROC is counted per namespace


def resource_limits(limits: Limits, *, namespaces: bool) -> dict[str, int]:
    """Limits that the kernel keeps, by their names in `resource`."""
    kernel = {
        "RLIMIT_AS": limits.memory_bytes,
        # Whole seconds only: this is for when nobody watches any more.
        "RLIMIT_CPU": int(limits.cpu_seconds) + 2,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if namespaces and release and tuple(map(int, release.groups())) >= _COUNTS_OWN_PROCESSES:
        kernel["RLIMIT_NPROC"] = limits.processes + 1  # and bubblewrap's init
    return kernel


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used.

    Attributes:
        cpu: seconds of processor time, of all its threads.
        busy: seconds that it ran or could have run, had a processor been free.
        threads: it has now.
    """

    cpu: float = 0.0
    busy: float = 0.0
    threads: int = 1


def usage(process: int) -> Usage:
    """Of a process by its id; zeros where it is gone or the kernel does not say."""
    folder = Path("/proc", str(process))
    try:
        # After the name, which may hold anything, field 3 and on: proc(5).
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        threads = [thread.name for thread in (folder / "task").iterdir()]
    except (OSError, IndexError):
        return Usage()
    ran = waited = 0
    for thread in threads:
        with contextlib.suppress(OSError, ValueError):
            on, queued, _ = (folder / "task" / thread / "schedstat").read_text().split()
            ran, waited = ran + int(on), waited + int(queued)
    cpu = max(cpu, ran / 1e9)
    return Usage(cpu, cpu + waited / 1e9, len(threads))


def is_runnable(process: int) -> bool:
    """Whether a thread of the process runs now, or would if a processor were free."""
    with contextlib.suppress(OSError):
        for thread in Path("/proc", str(process), "task").iterdir():
            with contextlib.suppress(OSError):
                if (thread / "stat").read_text(errors="replace").rpartition(")")[2][1:2] == "R":
                    return True
    return False


def greeting(listening: socket.socket) -> tuple[bytes, int]:
    """A message and the id, in our namespace, of the process that sent it.

    `SO_PASSCRED` must have been set before it was sent.

    Returns:
        Nothing and -1 where the socket was closed.
    """
    size = socket.CMSG_SPACE(12)
    data, ancillary, _, _ = listening.recvmsg(1, size)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and data:
            return data, struct.unpack("iII", content[:12])[0]
    return b"", -1


def kill(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """End a candidate and all that it started; returns its exit status and CPU seconds.

    The namespace's init dies with bubblewrap and takes everything along; without namespaces, what
    can be found is the process group.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


def wait_readable(descriptors: list[int], seconds: float) -> list[int]:
    """Those that can be read without waiting, after at most so many seconds."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(seconds * 1000)]
