"""``python -P -m module`` without the seconds in which Python imports PyTorch and transformers.

Some hundred tests start a worker or a model's process, which imports for three to six seconds and
then works for less than one. `Forked` takes the place of `subprocess.Popen` where bitloss starts
them (`preloaded`): the process is a fork of one that has the libraries already. Everything else is
as it was asked for (arguments, environment, descriptors, directory, session), the module is run
under the name ``__main__``, and the process is a child of this one, to be waited for and killed.

What this cannot test, the start of Python itself, is tested wherever the whole program is started
and wherever a test says ``fresh``.

Run as a script it is the process that forks: it reads requests from a socket and answers with ids.
It ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from unittest import mock

__all__ = ["Forked", "fresh", "preloaded"]

# What is started so, and what starts it.
_MODULES = (
    "bitloss.quantizers._llama_cpp_worker",
    "bitloss.quantizers._gptqmodel_worker",
    "bitloss.engines.child.serve",
)
_STARTERS = ("bitloss.quantizers.workers", "bitloss.engines.child.process")
# None of them starts a thread when it is imported, as GPTQModel itself does.
_LIBRARIES = (
    "torch", "transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto", "transformers.tokenization_utils_tokenizers",
    "safetensors.torch", "bitloss.quantizers.gguf_source", "bitloss.quantizers.gguf_writer",
)  # fmt: skip
# What GPTQModel imports, in its two processes.
_MORE = ("torch._dynamo.convert_frame", "torch._inductor.compile_fx", "datasets", "accelerate",
         "torchao")  # fmt: skip
# Libraries read these when they are loaded: each set of them has a process of its own.
_READ_EARLY = (
    "OMP_",
    "MKL_",
    "CUDA_",
    "TORCH",
    "PYTORCH_",
    "GPTQMODEL_",
    "HF_",
    "MALLOC_",
    "PYTHON",
)
_MOST = 4  # processes that wait, of some hundred megabytes each
_PR_SET_CHILD_SUBREAPER = 36
_DESCRIPTORS = 16
_ABOVE = 512  # numbers that no request asks for
# Relative ones are meant from where the tests were started.
_PATHS = os.environ.get("PYTHONPATH", "")
_WHOLE_PATHS = os.pathsep.join(
    str(Path(path).resolve()) for path in _PATHS.split(os.pathsep) if path
)


class _Forker:
    """A process that has the libraries, and forks.

    Args:
        more: what it imports besides.
        environment: its own.
    """

    def __init__(self, more: tuple[str, ...], environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        environment = dict(environment)
        if environment.get("PYTHONPATH") == _PATHS:
            environment["PYTHONPATH"] = _WHOLE_PATHS
        with theirs:
            self._process = subprocess.Popen(
                # -P: beside this file lie others that are named like libraries.
                [sys.executable, "-P", __file__, str(theirs.fileno()), *more],
                env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._socket = ours

    def start(self, request: Mapping[str, Any], descriptors: list[int]) -> int:
        """Start a process with these descriptors; its id, that of a child of this process."""
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            message = json.dumps(request).encode()
            self._socket.sendall(len(message).to_bytes(8, "big"))
            socket.send_fds(self._socket, [message[:1]], descriptors)
            self._socket.sendall(message[1:])
            return int.from_bytes(_exactly(self._socket, 8), "big")
        finally:
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    @property
    def is_alive(self) -> bool:
        """Whether it can fork still."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


_forkers: dict[tuple[Any, ...], _Forker] = {}
_lock = threading.Lock()
_fresh = threading.Event()


def _known(args: Any, environment: Mapping[str, str]) -> bool:
    """Whether it is one of the modules, and one that is slow to start: llama.cpp's is not."""
    if list(args[:3]) != [sys.executable, "-P", "-m"] or args[3] not in _MODULES:
        return False
    return not args[3].endswith(".serve") or "GPTQMODEL_CPU_WORKERS" in environment


def _forker(environment: Mapping[str, str]) -> _Forker:
    early = {name: value for name, value in environment.items() if name.startswith(_READ_EARLY)}
    more = _MORE if "GPTQMODEL_CPU_WORKERS" in environment else ()
    key = (more, *sorted(early.items()))
    found = _forkers.pop(key, None)
    if found is None or not found.is_alive:  # a test may have killed all that this process started
        while len(_forkers) >= _MOST:
            _forkers.pop(next(iter(_forkers))).end()
        found = _Forker(more, environment)
    _forkers[key] = found  # the last one that was used is the last one
    return found


class Forked(subprocess.Popen[Any]):
    """A process of bitloss's own, forked; any other is started as usual."""

    def _execute_child(self, args: Any, *given: Any) -> None:
        executable, preexec, close, pass_fds, cwd, env, *_ = given
        usual = (executable, preexec, close) == (None, None, True) and env is not None
        if _fresh.is_set() or not usual or not _known(args, env):
            super()._execute_child(args, *given)  # type: ignore[misc]
            return
        read, to_child, from_child, write, from_error, error = given[9:15]
        streams = [own if own != -1 else number for number, own in enumerate((read, write, error))]
        request = {
            "module": args[3], "arguments": list(args[4:]), "cwd": str(cwd or Path.cwd()),
            "env": dict(env), "numbers": [0, 1, 2, *pass_fds], "session": given[20],
        }  # fmt: skip
        try:
            with _lock:
                self.pid = _forker(env).start(request, [*streams, *pass_fds])
            self._child_created = True
        finally:
            self._close_pipe_fds(  # type: ignore[attr-defined]
                read, to_child, from_child, write, from_error, error
            )


@contextlib.contextmanager
def preloaded() -> Iterator[None]:
    """Start bitloss's own processes so while the block runs."""
    own = ModuleType("subprocess")
    own.__dict__.update({**vars(subprocess), "Popen": Forked})
    with contextlib.ExitStack() as stack:
        for name in _STARTERS:
            stack.enter_context(mock.patch(f"{name}.subprocess", own))
        yield
    with _lock:
        while _forkers:
            _forkers.popitem()[1].end()


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """Start processes as users do while the block runs."""
    _fresh.set()
    try:
        yield
    finally:
        _fresh.clear()


# In the process that forks ----------------------------------------------------------------


def _exactly(connection: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        if not (part := connection.recv(count - len(read))):
            raise EOFError("the process at the other end is gone")
        read += part
    return read


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    length = int.from_bytes(_exactly(connection, 8), "big")
    first, descriptors, _, _ = socket.recv_fds(connection, 1, _DESCRIPTORS)
    return json.loads(first + _exactly(connection, length - 1)), descriptors


def _serve(connection: socket.socket) -> None:
    while True:
        request, descriptors = _receive(connection)
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            # The child of a process that has ended becomes that of whoever adopts such children.
            parent = os.getpid()
            if os.fork():
                os._exit(0)
            _become(request, descriptors, tell, parent)
        os.close(tell)
        os.waitpid(between, 0)
        connection.sendall(_told(told))
        for one in descriptors:
            os.close(one)


def _told(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as stream:
        return stream.read()


def _become(request: dict[str, Any], descriptors: list[int], tell: int, parent: int) -> NoReturn:
    """Be the process that was asked for."""
    status = 1
    try:
        if request["session"]:
            os.setsid()
        while os.getppid() == parent:
            time.sleep(0.0005)
        os.chdir(request["cwd"])
        os.write(tell, os.getpid().to_bytes(8, "big"))
        _take(descriptors, request["numbers"])
        os.environ.clear()
        os.environ.update(request["env"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = [request["module"], *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _take(descriptors: list[int], numbers: list[int]) -> None:
    """Give the descriptors these numbers, and close all others."""
    for place, one in enumerate(descriptors):
        os.dup2(one, _ABOVE + place)
    for place, number in enumerate(numbers):
        os.dup2(_ABOVE + place, number)
    kept = sorted(numbers)
    for low, high in zip(kept, [*kept[1:], _ABOVE + len(numbers)], strict=True):
        os.closerange(low + 1, high)


def _main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    for name in (*_LIBRARIES, *sys.argv[2:]):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    with contextlib.suppress(EOFError, OSError):
        _serve(connection)


if __name__ == "__main__":
    _main()
