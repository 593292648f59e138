"""Commands in forked processes with bounds on time and memory, and what was wrong with each.

The process that forks has imported what commands need and has started no thread, so that a command
costs what it does and nothing besides.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = [
    "Bounds",
    "Outcome",
    "Trial",
    "anything",
    "fault_of",
    "import_all",
    "run_forked",
    "run_trials",
    "succeeds",
]

# What costs seconds; none of them starts a thread on import.
_HEAVY = (
    "bitloss.cli.main", "bitloss.runner", "bitloss.analysis.collect", "bitloss.reports.terminal",
    "bitloss.formats.safetensors.dense", "bitloss.formats.gguf.checkpoint", "gguf",
    "bitloss.protocols.strided", "pyarrow.parquet", "safetensors.torch", "bitloss.checks",
    "bitloss.suites.find", "bitloss.tasks.custom.files", "bitloss.expectations.load",
    "transformers.models.llama.modeling_llama", "transformers.models.auto.tokenization_auto",
    "transformers.tokenization_utils_tokenizers", "bitloss.reports.card_file", "yaml",
    "bitloss.engines.dense.plug", "bitloss.formats.tokenizers.loading", "bitloss.api",
)  # fmt: skip
_LEFTOVER = re.compile(r"(^|/)\.(tmp-|making-|dense|out\.)")
# Words of a command that ended in a way nobody meant.
_BUGS = ("Traceback", "internal error", "Segmentation fault", "core dump")
_LONGEST_LINE = 1200


def anything(status: int, folder: Path) -> str:
    """For a command that may succeed or fail."""
    return ""


@dataclass(frozen=True)
class Trial:
    """One input.

    Attributes:
        name: the reader, a colon, and what is wrong with its input.
        prepare: makes the input in an empty folder and returns the command's words. It gets the
            folder and one of valid files, which it only reads.
        limit: of what a process may write to one file, in bytes; None for no limit.
        disk: bytes of a file system that is mounted as ``disk`` in the folder; None for none.
        addresses: bytes of address space; None for no limit.
        stdout: a device that is written to in place of a file.
        seconds: at most, for a command that loads a large library; None for the usual bound.
        after: what is wrong with the files that the command left, from its status and the folder.
    """

    name: str
    prepare: Callable[[Path, Path], list[str]]
    limit: int | None = None
    disk: int | None = None
    addresses: int | None = None
    stdout: str = ""
    seconds: float | None = None
    after: Callable[[int, Path], str] = anything

    @property
    def kind(self) -> str:
        """What stands before the colon."""
        return self.name.partition(":")[0]


@dataclass(frozen=True)
class Bounds:
    """What a command may take, or is ended: seconds, and bytes of memory beyond its parent's."""

    seconds: float = 60.0
    memory: int = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its status (negative is a signal), and what it took and wrote."""

    status: int
    seconds: float
    memory: int
    out: str
    err: str
    leftovers: tuple[str, ...] = ()


def import_all() -> None:
    """Import what commands need."""
    for name in _HEAVY:
        importlib.import_module(name)


def run_forked(work: Callable[[], int], folder: Path, bounds: Bounds) -> Outcome:
    """Call a function in a child process, whose output goes to files beside the folder."""
    outputs = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    before = _resident()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _in_child(work, outputs)
    status, usage = _wait(child, began + bounds.seconds, before + bounds.memory)
    took = time.monotonic() - began
    out, err = (path.read_bytes().decode("utf-8", "replace") for path in outputs)
    leftovers = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if _LEFTOVER.search(str(path))
    )
    return Outcome(status, took, usage - before, out, err, tuple(leftovers))


def _in_child(work: Callable[[], int], outputs: list[Path]) -> None:
    status = 99
    try:
        os.setsid()
        for target, path in enumerate(outputs, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), target)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        status = work()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _wait(child: int, until: float, most: int) -> tuple[int, int]:
    """Exit status, and the most bytes that were resident."""
    while time.monotonic() < until and _resident(child) <= most:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):  # what it started and left
                os.killpg(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss << 10
        time.sleep(0.02)
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss << 10


def _resident(process: int | str = "self") -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        text = Path(f"/proc/{process}/statm").read_text()
        return int(text.split()[1]) * resource.getpagesize()
    return 0


def succeeds(status: int, folder: Path) -> str:
    """For a command on valid input; a gate may be undecided."""
    return f"exit status {status}" if status not in (0, 3) else ""


def run_trials(
    trials: Iterable[Trial], seeds: Path, scratch: Path, bounds: Bounds, *, verbose: bool = False
) -> list[str]:
    """Run all of them; returns what was wrong, by line."""
    faults = []
    for number, trial in enumerate(trials):
        folder = scratch / f"trial{number}"
        folder.mkdir(parents=True)
        with _mounted(folder / "disk", trial.disk):
            own = replace(bounds, seconds=trial.seconds or bounds.seconds)
            outcome = run_forked(_work(trial, folder, seeds), folder, own)
            fault = fault_of(outcome, own) or trial.after(outcome.status, folder)
        if fault:
            faults.append(f"{trial.name}: {fault}")
        if verbose:
            last = outcome.err.strip().splitlines()[-2:]
            print(
                f"{trial.name} [{outcome.status}, {outcome.seconds:.1f} s] {fault} {last}",
                flush=True,
            )
        shutil.rmtree(folder, ignore_errors=True)
    return faults


@contextlib.contextmanager
def _mounted(place: Path, size: int | None) -> Iterator[None]:
    if size is None:
        yield
        return
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _work(trial: Trial, folder: Path, seeds: Path) -> Callable[[], int]:
    def work() -> int:
        words = trial.prepare(folder, seeds)
        os.chdir(folder)
        if trial.stdout:
            os.dup2(os.open(trial.stdout, os.O_WRONLY), 1)
        if trial.limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (trial.limit, trial.limit))
        if trial.addresses is not None:
            resource.setrlimit(resource.RLIMIT_AS, (trial.addresses, trial.addresses))
        main: Callable[[list[str]], int] = importlib.import_module("bitloss.cli.main").main
        return main(words)

    return work


def fault_of(outcome: Outcome, bounds: Bounds) -> str:
    """What is wrong with how a command ended; nothing where nothing is."""
    text = outcome.err
    found = next((word for word in _BUGS if word in outcome.out + text), "")
    if found:
        line = next((line for line in text.splitlines() if found in line), found)
        tail = text.strip().splitlines()[-1:] if found == "Traceback" else []
        return f"{line[:300]} {' '.join(tail)[:200]}"
    if outcome.memory > bounds.memory:
        return f"took {outcome.memory >> 20} MB"
    if outcome.seconds >= bounds.seconds:
        return f"took {outcome.seconds:.0f} s"
    # 3 is a gate that is undecided.
    if outcome.status not in (0, 1, 2, 3):
        return f"exit status {outcome.status}: {text[-200:]}"
    if outcome.leftovers:
        return f"left {', '.join(outcome.leftovers[:3])}"
    longest = max(map(len, text.splitlines()), default=0)
    if longest > _LONGEST_LINE or len(text) > 20 * _LONGEST_LINE:
        return f"an error of {longest} characters in a line, {len(text)} in all"
    if outcome.status in (1, 2):
        return _form_of(text, outcome.out)
    return ""


def _form_of(text: str, out: str) -> str:
    """Whether an error is said as errors are: what is wrong, and what to do."""
    lines = text.splitlines()
    errors = [n for n, line in enumerate(lines) if line.startswith("error: ")]
    if not errors:
        # A gate that fails says so in its table.
        return "" if "fail" in out else f"no line `error: `, but {text[-200:]!r}"
    if not any(line.startswith("hint: ") for line in lines[errors[-1] :]):
        return f"no hint: {lines[errors[-1]][:200]}"
    return ""
