"""The command line in processes that start at once, and kill themselves at a given moment.

Run as a script it imports what a comparison needs and then, for each line of JSON on stdin
(``{"folder": ..., "words": [...], "kill_at": n, "writing": true}``), forks, runs the command in
the child, and answers with one line: the exit status (negative for a signal), and the calls that
were made, in all and while files were written. A moment of 0 never comes; None does not count
calls either, which makes a run faster.

A moment is the n-th call of a Python or C function in the main thread since the run directory was
opened, or the n-th that any thread makes to write a file, so that a SIGKILL falls between any two
steps of the program and always on the same spot, or on one of its kind where threads write.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Cli", "serve"]

# What costs seconds; none of them starts a thread on import.
_HEAVY = (
    "bitloss.cli.main", "bitloss.runner", "bitloss.analysis.collect", "bitloss.reports.terminal",
    "bitloss.formats.safetensors.dense", "bitloss.formats.gguf", "bitloss.protocols.strided",
    "pyarrow.parquet", "safetensors.torch", "transformers.models.llama.modeling_llama",
    "transformers.models.auto.tokenization_auto", "transformers.tokenization_utils_tokenizers",
)  # fmt: skip


class Cli:
    """The parent's side."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        folder: Path,
        words: Sequence[str],
        *,
        kill_at: int | None = None,
        writing: bool = False,
    ) -> tuple[int, tuple[int, int]]:
        """Run a command in a folder; returns its exit status and the numbers of calls."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        spec = {"folder": str(folder), "words": list(words), "kill_at": kill_at}
        spec["writing"] = writing
        self._process.stdin.write(json.dumps(spec) + "\n")
        self._process.stdin.flush()
        status, calls = json.loads(self._process.stdout.readline())
        return status, tuple(calls)


@contextlib.contextmanager
def serve(log: Path) -> Iterator[Cli]:
    """Start the process that forks; what the commands print goes to the log."""
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            # -P: beside this file lie others that are named like libraries.
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as process,
    ):  # fmt: skip
        yield Cli(process)
        assert process.stdin is not None
        process.stdin.close()


def _child(spec: dict[str, Any], report: int) -> None:
    main = importlib.import_module("bitloss.cli.main").main
    files = importlib.import_module("bitloss.files")
    module = importlib.import_module("bitloss.runner.store")
    calls = [0, 0]
    own, writing = threading.local(), spec["writing"]
    own.main = True

    def count(frame: Any, event: str, argument: Any) -> None:
        if event.endswith("call"):
            counted = (hasattr(own, "main"), hasattr(own, "writes"))
            calls[0] += counted[0]
            calls[1] += counted[1]
            if counted[writing] and calls[writing] == spec["kill_at"]:
                os.kill(os.getpid(), signal.SIGKILL)

    @contextlib.contextmanager
    def replacing(*arguments: Any, **options: Any) -> Iterator[Path]:
        own.writes = True
        try:
            with original_replacing(*arguments, **options) as temporary:
                yield temporary
        finally:
            del own.writes

    original, original_replacing = module.RunStore.__init__, files.replacing

    def begin(self: Any, root: Path) -> None:
        if spec["kill_at"] is not None:
            threading.setprofile(count)
            sys.setprofile(count)
        original(self, root)

    module.RunStore.__init__ = begin
    files.replacing = module.replacing = replacing
    os.chdir(spec["folder"])
    os.dup2(2, 1)
    status = main(spec["words"])
    sys.setprofile(None)
    os.write(report, json.dumps(calls).encode())
    sys.stderr.flush()
    os._exit(status)


def _serve_forever() -> None:
    for name in _HEAVY:
        importlib.import_module(name)
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _child(json.loads(line), writer)
        os.close(writer)
        with os.fdopen(reader) as answer:
            calls = json.loads(answer.read() or "[0, 0]")
        _, status = os.waitpid(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), calls]), flush=True)


if __name__ == "__main__":
    _serve_forever()
