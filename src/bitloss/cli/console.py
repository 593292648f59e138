"""Where the command line writes: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from bitloss.types import Progress, SilentProgress

__all__ = [
    "BarProgress",
    "LineProgress",
    "leave_stdout",
    "make_progress",
    "print_error",
    "print_json",
    "print_status",
    "shown_together",
]

_QUIET_SECONDS = 30.0
_MOMENT = 1.0  # seconds from which on it is said how long something took
# Texts are generated side by side and end at about the same time: how many have ended says little
# about the time left.
_TOGETHER = "texts"
_STEPS = "steps"


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_status(text: str) -> None:
    """Print a line about progress or output files, on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


def shown_together() -> bool:
    """Whether stdout and stderr are read together, so that one says what the other need not."""
    if sys.stdout.isatty():
        return True
    try:
        out, error = (os.fstat(stream.fileno()) for stream in (sys.stdout, sys.stderr))
    except (OSError, ValueError):  # a stream without a file, as in a notebook
        return False
    return os.path.samestat(out, error)


def print_error(message: str, hint: str = "") -> None:
    """Print the two lines of an error, on stderr; color on a terminal without NO_COLOR only."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), message))
    if hint:
        console.print(Text.assemble(("hint: ", "bold"), hint))


def leave_stdout() -> None:
    """Let what is still to be written to stdout go nowhere: Python would fail with it at exit."""
    try:
        descriptor = sys.stdout.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
    except (OSError, ValueError, AttributeError):  # no real stdout
        return


def make_progress(*, quiet: bool, stream: TextIO | None = None) -> Progress:
    """Bars on a terminal, occasional lines elsewhere, nothing if quiet."""
    stream = stream or sys.stderr
    if quiet:
        return SilentProgress()
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)


class LineProgress:
    """A line when work begins, one every half minute, and one when it is done if that took a
    moment: for log files. Each says how far the whole run is.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._step = ""

    @contextmanager
    def steps(
        self, total: int, *, at_most: bool = False
    ) -> Iterator[Callable[[int, float | None], None]]:
        """See `bitloss.runner.remaining.Steps.steps`."""

        def show(done: int, left: float | None) -> None:
            about = "" if left is None else f", {_roughly(left, at_most)} left"
            self._step = f"[{min(done + 1, total):,}/{total:,}{about}] "

        show(0, None)
        try:
            yield show
        finally:
            self._step = ""

    @contextmanager
    def task(
        self, label: str, total: int | None, unit: str = "tokens"
    ) -> Iterator[Callable[[int], None]]:
        """See `bitloss.types.Progress.task`."""
        begin = printed = self._clock()
        done = 0

        def advance(n: int) -> None:
            nonlocal done, printed
            done += n
            now = self._clock()
            if now - printed >= _QUIET_SECONDS:
                printed = now
                left = ""
                if total and done and unit != _TOGETHER:
                    left = f", {_span((now - begin) / done * (total - done))} left"
                self._print(f"{label}: {_amount(done, total, unit)}{left}")

        self._print(f"{label} ...")
        yield advance
        took = self._clock() - begin
        if took >= _MOMENT:
            self._print(f"{label}: done in {_span(took)}")

    def _print(self, line: str) -> None:
        print(f"{self._step}{line}", file=self._stream, flush=True)


class BarProgress:
    """One bar a task with the time left; bars vanish when their task ends."""

    def __init__(self, stream: TextIO) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            _AmountColumn(),
            _TimeLeft(),
            console=Console(file=stream),
            transient=True,
        )
        self._open = 0
        self._lock = threading.Lock()  # recipes are carried out side by side

    @contextmanager
    def steps(
        self, total: int, *, at_most: bool = False
    ) -> Iterator[Callable[[int, float | None], None]]:
        """See `bitloss.runner.remaining.Steps.steps`."""
        with self._bar("whole run", total, _STEPS, left="") as bar:

            def show(done: int, left: float | None) -> None:
                about = "" if left is None else _roughly(left, at_most)
                self._bars.update(bar, completed=done, left=about)

            yield show

    @contextmanager
    def task(
        self, label: str, total: int | None, unit: str = "tokens"
    ) -> Iterator[Callable[[int], None]]:
        """See `bitloss.types.Progress.task`."""
        with self._bar(label, total, unit) as bar:
            yield lambda n: self._bars.advance(bar, n)

    @contextmanager
    def _bar(self, label: str, total: int | None, unit: str, **more: Any) -> Iterator[TaskID]:
        with self._lock:
            if self._open == 0:
                self._bars.start()
            self._open += 1
        bar = self._bars.add_task(label, total=total, unit=unit, **more)
        try:
            yield bar
        finally:
            self._bars.remove_task(bar)
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    self._bars.stop()


class _TimeLeft(TimeRemainingColumn):
    """The time left, where what is done says something about it."""

    def render(self, task: Task) -> Text:
        """See `rich.progress.ProgressColumn.render`."""
        if (left := task.fields.get("left")) is not None:  # from one who knows better
            return Text(left)
        return Text("") if task.fields["unit"] == _TOGETHER else super().render(task)


class _AmountColumn(ProgressColumn):
    """``1,024 of 4,096 tokens``, or megabytes."""

    def render(self, task: Task) -> Text:
        """See `rich.progress.ProgressColumn.render`."""
        total = None if task.total is None else int(task.total)
        return Text(_amount(int(task.completed), total, task.fields["unit"]))


def _amount(done: int, total: int | None, unit: str) -> str:
    if unit == "bytes":
        so_far, all_of_it, unit = f"{done / 1e6:,.1f}", f"{(total or 0) / 1e6:,.1f}", "MB"
    else:
        so_far, all_of_it = f"{done:,}", f"{total or 0:,}"
    return f"{so_far} {unit}" if total is None else f"{so_far} of {all_of_it} {unit}"


def _roughly(seconds: float, at_most: bool) -> str:
    return f"{'at most' if at_most else 'about'} {_span(seconds)}"


def _span(seconds: float) -> str:
    if seconds < 99.5:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
