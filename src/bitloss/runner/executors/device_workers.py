"""Workers on the devices of this machine; satisfies `bitloss.runner.executors.pool.Machines`.

Each device has a process of its own, so that none waits for another's Python. States travel through
this process as bytes that it does not look into.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any
from weakref import finalize

import torch

from bitloss.engines.devices import is_cuda
from bitloss.processes import end_process
from bitloss.runner.executors.parts import Action
from bitloss.runner.executors.pool import Event, Needs

__all__ = ["DeviceWorkers", "serve"]

_GRACE = 10.0  # seconds in which a process whose pipe is closed has to end


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Process:
    """A worker's process, from this side."""

    device: str
    running: subprocess.Popen[bytes]
    pipe: Connection
    log: Any
    began: float


class DeviceWorkers:
    """A process for each of several devices.

    Args:
        devices: torch devices, which compute the same numbers.
        workers: at most so many of them are used; None is all.
    """

    def __init__(self, devices: Sequence[str], workers: int | None = None) -> None:
        self._devices = list(devices)[:workers]
        self._threads = torch.get_num_threads()
        self._known: dict[str, _Process] = {}
        self._took: list[float] = []
        self._count = 0
        self.size = len(self._devices)
        self.needs = Needs(self._threads, int(is_cuda(self._devices[0])))

    @property
    def start_seconds(self) -> float:
        """See `Machines.start_seconds`."""
        return sum(self._took) / max(1, len(self._took))

    def start(self) -> str:
        """See `Machines.start`."""
        taken = {process.device for process in self._known.values()}
        device = next(one for one in self._devices if one not in taken)
        self._count += 1
        name = f"worker-{self._count} on {device}"
        self._known[name] = _started(name, device, self._threads)
        return name

    def submit(self, worker: str, action: Action, inputs: Sequence[Any]) -> None:
        """See `Machines.submit`."""
        with contextlib.suppress(OSError):  # a process that has ended is noticed by `poll`
            pipe = self._known[worker].pipe
            pipe.send_bytes(pickle.dumps((action, len(inputs))))
            for states in inputs:
                pipe.send_bytes(states)

    def put(self, states: Mapping[str, Any]) -> bytes:
        """See `Machines.put`."""
        return pickle.dumps(dict(states))

    def poll(self, seconds: float) -> list[Event]:
        """See `Machines.poll`."""
        by_pipe = {process.pipe: name for name, process in self._known.items()}
        return [self._event(by_pipe[pipe]) for pipe in wait(list(by_pipe), seconds)]  # type: ignore[index]

    def close(self) -> None:
        """See `Machines.close`."""
        for process in list(self._known.values()):
            _end(process.running, process.pipe, process.log)

    def _event(self, name: str) -> Event:
        process = self._known[name]
        try:
            outcome = pickle.loads(process.pipe.recv_bytes())
            if outcome is None:
                self._took.append(time.monotonic() - process.began)
                return Event(name, "started")
            return Event(name, "done", outcome=outcome, states=process.pipe.recv_bytes())
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.running.wait(_GRACE)
            reason = _why(process)
            del self._known[name]
            _end(process.running, process.pipe, process.log)
            return Event(name, "lost", reason=reason)


def _started(name: str, device: str, threads: int) -> _Process:
    ours, theirs = Pipe()
    log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process lives
    try:
        running = subprocess.Popen(
            # -P: a user's torch.py in the working directory is not torch.
            [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), name, device,
             str(threads)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            # Ctrl-C is for the parent, which ends the process.
            start_new_session=True,
        )  # fmt: skip
    finally:
        theirs.close()
    process = _Process(device, running, ours, log, time.monotonic())
    finalize(process, _end, running, ours, log)
    return process


def _end(running: subprocess.Popen[bytes], pipe: Connection, log: Any) -> None:
    end_process(running)
    pipe.close()
    log.close()


def _why(process: _Process) -> str:
    """How a process ended, and the last line that it left."""
    status = process.running.poll()
    if status is not None and status < 0:
        how = f"it was killed by {signal.Signals(-status).name}"
    else:
        how = f"it ended with exit status {status}"
    process.log.seek(0)
    lines = process.log.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{how}: {last}"[:300] if last else how


def serve(pipe: Connection, name: str, device: str, threads: int) -> None:
    """The other side: carry out parts until the pipe is closed."""
    from bitloss.runner.executors.worker import Worker

    torch.set_num_threads(threads)
    if is_cuda(device):
        torch.cuda.set_device(device)  # for libraries that ask for no device
    worker = Worker(name, device)
    pipe.send_bytes(pickle.dumps(None))
    while True:
        action, count = pickle.loads(pipe.recv_bytes())
        outcome, states = worker.run(
            action, [pickle.loads(pipe.recv_bytes()) for _ in range(count)]
        )
        pipe.send_bytes(pickle.dumps(outcome))
        pipe.send_bytes(pickle.dumps(states))


def _main(number: str, name: str, device: str, threads: str) -> None:
    import threading

    def die_with_parent() -> None:
        while os.read(0, 1):  # the other end of stdin is the parent's alone
            pass
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        serve(Connection(int(number)), name, device, int(threads))
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
