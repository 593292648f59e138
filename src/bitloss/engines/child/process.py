"""The parent's side of a child: starting it, messages, and what its death means."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from typing import Any
from weakref import finalize

from bitloss import errors
from bitloss.engines.child.memory import Layout, ReadSlots, anonymous_file
from bitloss.errors import BitlossError, CheckpointError
from bitloss.processes import end_process

__all__ = ["Child", "Died", "Start"]

_TAIL_BYTES = 16 * 1024
_REASON = re.compile(r"GGML_ASSERT|assert|error|fail|abort|terminate|cannot|Error|Exception")
_SIGNALS = {
    "SIGKILL": "free some memory and rerun the same command: the system kills what takes too much",
}


@dataclass(frozen=True, slots=True)
class Start:
    """What a child is started with.

    Attributes:
        load: function that loads the model in the child, as ``module:function``.
        values: its keyword arguments, which `pickle` has to be able to copy.
        name: the model's name, for messages.
        runtime: what runs in the child, for messages (``llama.cpp``).
        env: added to the child's environment.
        signal_hints: what to do about a child killed by a signal, by the signal's name.
        hint: what to do about one that ended in another way.
    """

    load: str
    values: Mapping[str, Any]
    name: str
    runtime: str
    env: Mapping[str, str] = field(default_factory=dict)
    signal_hints: Mapping[str, str] = field(default_factory=dict)
    hint: str = "use --engine dense for this model"


class Died(Exception):  # noqa: N818 - an event that is answered by a retry
    """The child ended without an answer.

    Attributes:
        error: as it is reported where there is no retry left.
    """

    def __init__(self, error: BitlossError) -> None:
        super().__init__(error.message)
        self.error = error


class Child:
    """A running child with a loaded model.

    Args:
        start: what it loads.

    Raises:
        Died: it ended while it was loading.
        BitlossError: the model cannot be loaded.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the child lives
        memory = anonymous_file()
        ours, theirs = Pipe()
        self._pipe = ours
        try:
            self._process = subprocess.Popen(
                # -P: a user's torch.py in the working directory is not torch.
                [sys.executable, "-P", "-m", "bitloss.engines.child.serve",
                 str(theirs.fileno()), str(memory.fileno())],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(), memory.fileno()),
                env={**os.environ, **start.env},
                # Ctrl-C is for the parent, which ends the child.
                start_new_session=True,
            )  # fmt: skip
        finally:
            theirs.close()
        self.end = finalize(self, _end, self._process, ours, self._log)
        try:
            self.send({"load": start.load, "values": dict(start.values)})
            facts = self.receive()
        except BaseException:
            self.end()
            memory.close()
            raise
        self.facts: Mapping[str, Any] = facts
        self.slots = ReadSlots(Layout(facts["vocabulary"]), memory.fileno())
        memory.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message.

        Raises:
            Died: there is nobody to read it.
        """
        try:
            self._pipe.send_bytes(pickle.dumps(dict(message)))
        except OSError as error:
            raise self._death() from error

    def receive(self) -> dict[str, Any]:
        """The next message.

        Raises:
            Died: the child ended.
            BitlossError: what the child raised; RuntimeError for anything unexpected.
        """
        try:
            # Native code reads files that nobody has checked: nothing that it sends is unpickled.
            message: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._death() from error
        if "error" in message:
            raise _told(message)
        return message

    def _death(self) -> Died:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        status, start = self._process.poll(), self._start
        last = _last_words(self._log)
        quoted = f": {last}" if last else ""
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            hint = {**_SIGNALS, **start.signal_hints}.get(name, start.hint)
            error = CheckpointError(
                f"{start.name}: {start.runtime} was killed by {name}{quoted}", hint=hint
            )
        else:
            error = CheckpointError(
                f"{start.name}: {start.runtime} ended with exit status {status}{quoted}",
                hint=start.hint,
            )
        self.end()
        return Died(error)


def _end(process: subprocess.Popen[bytes], pipe: Any, log: Any) -> None:
    end_process(process)
    pipe.close()
    log.close()


def _last_words(log: Any) -> str:
    """What a runtime said before it died, one line of it: the one that gives a reason."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _TAIL_BYTES))
    text: str = log.read().decode(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if _REASON.search(line)]
    return (reasons or lines or [""])[-1]


def _told(message: Mapping[str, Any]) -> Exception:
    if not message["error"]:  # no error that bitloss raises on purpose
        return RuntimeError(message["message"])
    kind: Callable[..., BitlossError] = getattr(errors, message["error"], BitlossError)
    if message["error"] in ("UnknownName", "MissingDependency"):  # built from other arguments
        kind = errors.UsageError
    return kind(message["message"], hint=message["hint"])
