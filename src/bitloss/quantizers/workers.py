"""Run a worker in a process of its own, so that a crash of native code is an error.

The parent calls `Workers.run`; the worker's module ends in ``serve(run_job)`` under
``if __name__ == "__main__"``. Between them: one line of JSON (the spec) on stdin, then lines of
JSON (events) on stdout:

    {"event": "progress", "done": 2, "total": 8}
    {"event": "done", "result": {...}}
    {"event": "error", "message": "...", "hint": "..."}

stdin stays open while the parent lives: the worker ends when it closes, however the parent went.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import IO, Any

from bitloss.errors import BitlossError, QuantizationError, StorageError
from bitloss.files import scratch_folder
from bitloss.processes import end_process
from bitloss.system_errors import explain
from bitloss.types import Progress

__all__ = ["Workers", "machine_cores", "serve", "thread_environment"]

_TAIL_BYTES = 16 * 1024
_TAIL_LINES = 8

_REASON = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Interrupt): .+)$", re.MULTILINE)

_SIGNAL_HINTS = {
    "SIGKILL": "use fewer or shorter calibration samples, or a machine with more memory: the "
    "system kills what takes too much",
}


class _Tail:
    """Drains a pipe from a thread and keeps the end of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        # A descriptor of the thread's own: where something that outlives the worker holds the
        # pipe, the thread does too, and a number closed elsewhere may by then name another file.
        self._pipe = os.dup(pipe.fileno())
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        try:
            while chunk := os.read(self._pipe, 8192):
                self._kept += chunk
                del self._kept[:-_TAIL_BYTES]
        finally:
            os.close(self._pipe)

    def text(self) -> str:
        """The last lines that are not blank, once the writer has closed the pipe."""
        # A grandchild that holds the pipe open must not hold us.
        self._thread.join(timeout=5)
        lines = self._kept.decode(errors="replace").replace("\r", "\n").splitlines()
        return "\n".join([line.rstrip() for line in lines if line.strip()][-_TAIL_LINES:])


def machine_cores() -> int:
    """Cores of the machine, whichever of them are free or open to this process.

    The order of a sum depends on the number of threads, so a worker whose bytes must be the same
    again starts as many as these.
    """
    return os.cpu_count() or 1


def thread_environment(threads: int) -> dict[str, str]:
    """Variables with which a worker's libraries start just so many threads, and wait politely.

    OpenMP's and MKL's dynamic modes would count the cores that the process may use.
    """
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_DYNAMIC": "FALSE",
        "MKL_DYNAMIC": "FALSE",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


class _NoResult(Exception):  # noqa: N818 - caught here; the exit status says more
    """A worker ended without a result."""


class Workers:
    """The workers of one run: interrupted, it ends all of its own and no other run's."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(
        self,
        module: str,
        spec: Mapping[str, Any],
        *,
        label: str,
        progress: Progress,
        env: Mapping[str, str] | None = None,
        unit: str = "layers",
        signal_hints: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Run ``python -m module`` on the spec and return the result of its ``done`` event.

        Whatever ends this call (an error, Ctrl-C, `end`) ends the worker and its children too.
        The worker's working directory is a temporary one, for libraries that leave logs where
        they run. May be called by several threads at once.

        Args:
            module: import path of a module that calls `serve`.
            spec: plain values, sent as JSON; paths in it are absolute.
            label: what is done, for the progress bar and messages (``"gptq-4 of scribe-4m"``).
            progress: gets one bar, opened with the total of the first progress event.
            env: added to this worker's environment.
            unit: of the progress events.
            signal_hints: what to do about a worker killed by a signal, by the signal's name.

        Raises:
            QuantizationError: the worker reported an error, ended early or was killed by a
                signal, which the message names; the end of its stderr is quoted.
            StorageError: the worker reported that the disk is full.
        """
        # -P keeps the working directory off the worker's path: a user's torch.py is not torch.
        with (
            scratch_folder() as folder,
            subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(env or {})},
                cwd=folder,
                start_new_session=True,
            ) as worker,
        ):
            assert worker.stdin is not None
            assert worker.stdout is not None
            assert worker.stderr is not None
            tail = _Tail(worker.stderr)
            self._running.add(worker)
            result: dict[str, Any] | None = None
            try:
                # A worker that is gone already is reported below, with its exit status.
                with contextlib.suppress(BrokenPipeError):
                    worker.stdin.write(json.dumps(spec).encode() + b"\n")
                    worker.stdin.flush()
                with contextlib.suppress(_NoResult):
                    result = _follow(_events(worker.stdout), label, progress, unit)
                status = worker.wait()
            finally:
                self._running.discard(worker)
                end_process(worker)
            if result is None or status != 0:
                raise _early_end(label, status, tail.text(), signal_hints)
            return result

    def end(self) -> None:
        """End all that run, in whichever thread: each `run` then raises."""
        for worker in list(self._running):
            end_process(worker)


def _events(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    for line in stream:
        # A line cut off by the worker's death is no event; the exit status tells the story.
        if line.endswith(b"\n"):
            yield json.loads(line)


def _follow(
    events: Iterator[dict[str, Any]], label: str, progress: Progress, unit: str
) -> dict[str, Any]:
    seen = 0
    advance: Callable[[int], None] | None = None
    with contextlib.ExitStack() as bars:
        for event in events:
            if event["event"] == "progress":
                if advance is None:
                    advance = bars.enter_context(progress.task(label, event["total"], unit))
                advance(event["done"] - seen)
                seen = event["done"]
            elif event["event"] == "error":
                raise _reported(label, event)
            elif event["event"] == "done":
                return dict(event["result"])
        raise _NoResult  # within the bar, which is then not reported as done


def _reported(label: str, event: dict[str, Any]) -> BitlossError:
    message = f"{label}: {event['message']}"
    if event.get("kind") == "system":
        return StorageError(message, hint=event["hint"])
    # Libraries in C++ and Rust have types of their own for it; the system's words are the same.
    if os.strerror(errno.ENOSPC) in message:
        return StorageError(message, hint="free some room, or choose another place for the result")
    return QuantizationError(message, hint=event["hint"])


def _early_end(
    label: str, status: int, tail: str, signal_hints: Mapping[str, str]
) -> QuantizationError:
    quoted = f"; its last words:\n{tail}" if tail else ""
    if status < 0:
        name = signal.Signals(-status).name
        return QuantizationError(
            f"{label}: the worker was killed by {name}{quoted}",
            hint={**_SIGNAL_HINTS, **signal_hints}.get(
                name, "try another recipe: the library's native code crashed"
            ),
        )
    # A library that ends its process by itself has printed why, below a traceback.
    reasons = _REASON.findall(tail)
    if reasons:
        return QuantizationError(
            f"{label}: the library failed: {reasons[-1]}",
            hint="choose another recipe, for example `gguf-q4_k_m`: the library cannot quantize "
            "this model this way",
        )
    return QuantizationError(f"{label}: the worker ended with exit status {status}{quoted}")


def serve(main: Callable[[dict[str, Any], Callable[[int, int], None]], dict[str, Any]]) -> None:
    """The worker's side: read the spec, run ``main(spec, report)``, send its result, exit.

    ``report(done, total)`` sends a progress event. Everything that `main` and the libraries
    below it print, to stdout too, goes to stderr. Does not return.
    """
    inbox, outbox = os.dup(0), os.dup(1)
    with open(os.devnull, "rb") as null:  # noqa: PTH123 - a file descriptor is wanted
        os.dup2(null.fileno(), 0)
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(event: dict[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        with lock:
            while line:
                line = line[os.write(outbox, line) :]

    spec = json.loads(_read_line(inbox))
    threading.Thread(target=_die_with_parent, args=(inbox,), daemon=True).start()
    try:
        result = main(
            spec, lambda done, total: send({"event": "progress", "done": done, "total": total})
        )
        send({"event": "done", "result": result})
        status = 0
    except BitlossError as error:
        send({"event": "error", "message": error.message, "hint": error.hint})
        status = 1
    except Exception as error:
        traceback.print_exc()
        known = explain(error)
        event = {"event": "error", "message": f"{type(error).__name__}: {error}", "hint": ""}
        if known is not None:
            event |= {"message": known.message, "hint": known.hint, "kind": "system"}
        send(event)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the libraries' threads and their teardown decide nothing any more.
    os._exit(status)


def _read_line(descriptor: int) -> bytes:
    read = bytearray()
    while not read.endswith(b"\n"):
        chunk = os.read(descriptor, 1 << 20)
        if not chunk:
            os._exit(1)
        read += chunk
    return bytes(read)


def _die_with_parent(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os._exit(1)
