"""The end of a process that bitloss has started, with everything that it started itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

__all__ = ["end_process"]


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group of its own, and wait for it.

    Args:
        process: started with ``start_new_session`` and ``stdin=PIPE``; ended ones are left.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
