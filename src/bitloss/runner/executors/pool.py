"""Workers kept busy: parts go out by the schedule, results come home to one writer.

One thread does all of it: it gives parts to free workers, takes what comes back, writes records,
and starts another worker for one that is lost. `Machines` is where workers are: Ray's actors, or
threads in a test. What a worker was doing when it was lost is done again by another one, a bounded
number of times. An error of the work itself is nobody's loss and is not tried again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from bitloss.errors import BitlossError, DataError
from bitloss.runner.executors.parts import Action, Columns, Outcome
from bitloss.runner.executors.schedule import LostTooOften, Schedule, Task

__all__ = ["Event", "Given", "Machines", "Needs", "Part", "Pool", "require_whole"]

_PATIENCE = 0.2  # seconds between two looks at whether the user interrupts
_START = 180.0  # seconds in which the first worker has to be there, or another one after a loss


@dataclass(frozen=True, slots=True)
class Event:
    """What became of a worker or of its part.

    Attributes:
        worker: whose.
        kind: ``started``: it waits for parts. ``done``: its part came to an end. ``inputs``: its
            part could not begin, since states that it takes were lost. ``lost``: it is gone;
            ``machine``: with its machine.
            ``refused``: it cannot work beside the others, whoever restarts it.
        outcome: of the part.
        states: a handle of the states that the part gives, wherever they are.
        inputs: of a part that could not begin, which of the states were lost, by number; empty is
            any of them.
        error: why it was refused.
        reason: why it is gone, for people.
    """

    worker: str
    kind: str
    outcome: Outcome | None = None
    states: Any = None
    inputs: tuple[int, ...] = ()
    error: BitlossError | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker takes of its machine.

    Attributes:
        cpus: threads.
        gpus: cards.
        memory_bytes: 0 where a card's memory counts and not the machine's.
    """

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int = 0


class Machines(Protocol):
    """Where workers are. Called from one thread, `put` and `close` from any."""

    @property
    def size(self) -> int:
        """How many workers there are to be."""

    @property
    def needs(self) -> Needs:
        """What each takes."""

    @property
    def start_seconds(self) -> float:
        """How long workers took to start, on average; 0 before the first one has."""

    def start(self) -> str:
        """Begin to start a worker; its name."""

    def submit(self, worker: str, action: Action, inputs: Sequence[Any]) -> None:
        """Give a worker a part, with handles of the states that it takes."""

    def put(self, states: Mapping[str, Any]) -> Any:
        """A handle of states that are in this process."""

    def poll(self, seconds: float) -> list[Event]:
        """What has happened; waits for it, so long at most."""

    def close(self) -> None:
        """End all workers."""


@dataclass(slots=True, eq=False)
class Part:
    """A part that was handed to the pool.

    Attributes:
        task: as the schedule sees it.
        build: makes the action once the parts that it needs are done, from their outcomes; None
            where they leave nothing to do.
        needs: parts whose states it takes.
        done: what it came to.
    """

    task: Task
    build: Callable[[], tuple[Action, Sequence[Part]] | None]
    needs: tuple[Part, ...] = ()
    done: Future[Outcome] = field(default_factory=Future)
    states: Any = None


@dataclass(slots=True, eq=False)
class Given(Part):
    """States that are at hand: nothing is to be done for them."""


class Pool:
    """Carries parts out.

    Args:
        machines: where workers are.
        write: writes a record that came home, unless it is there: called from one thread.
        report: takes a line for people.
    """

    def __init__(
        self,
        machines: Machines,
        write: Callable[[str, Columns], None],
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._machines = machines
        self._write = write
        self._report = report
        self._schedule = Schedule()
        self._parts: dict[str, Part] = {}
        self._new: list[Part] = []
        self._dropped: list[str] = []
        self._busy: dict[str, tuple[Part, Sequence[Part]]] = {}
        self._free: list[str] = []
        self._starting: set[str] = set()
        self._since = 0.0
        self._fatal: BaseException | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.numbers = count(1)  # of those who hand in parts, for their names

    @property
    def size(self) -> int:
        """How many workers there are to be."""
        return self._machines.size

    def put(self, states: Mapping[str, Any]) -> Any:
        """A handle of states that are in this process."""
        return self._machines.put(states)

    def add(self, *parts: Part) -> None:
        """Take on parts, each after all that it needs; workers begin at once."""
        with self._lock:
            self._new += parts
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="pool", daemon=True)
                self._thread.start()
        if self._stopped.is_set():
            self._give_up(self._fatal or CancelledError())
        self._wake.set()

    def wait(self, parts: Sequence[Part], advance: Callable[[Part], None] | None = None) -> None:
        """Wait until parts have come to an end; an interruption is heard meanwhile.

        Args:
            parts: handed in before.
            advance: called for each as it ends.

        Raises:
            BitlossError: the pool itself cannot go on; errors of the work are in the outcomes.
        """
        waiting = {part.done: part for part in parts}
        while waiting:
            ended = wait(waiting, timeout=_PATIENCE, return_when="FIRST_COMPLETED").done
            for future in ended:
                part = waiting.pop(future)
                if future.cancelled():
                    raise CancelledError
                outcome = future.result()
                if outcome.crash:
                    raise RuntimeError(f"internal error in a worker:\n{outcome.crash}")
                if advance is not None:
                    advance(part)

    def drop(self, parts: Sequence[Part]) -> None:
        """Let go of the states of parts, which nobody is going to take any more."""
        with self._lock:
            self._dropped += [part.task.key for part in parts]
        self._wake.set()

    def close(self) -> None:
        """End all workers; whoever waits gets an error."""
        self._stopped.set()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._machines.close()

    # The thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._since = time.monotonic()
            while not self._stopped.is_set():
                self._take_in()
                self._keep_workers()
                self._hand_out()
                if not (self._busy or self._starting):
                    self._wake.wait(_PATIENCE)
                    self._wake.clear()
                    continue
                for event in self._machines.poll(_PATIENCE):
                    self._handle(event)
        except BaseException as error:  # whoever waits for a part has to hear of it
            self._fatal = error
        self._stopped.set()
        self._give_up(self._fatal or CancelledError())

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            waiting = [*self._parts.values(), *self._new]
            self._new = []
        for part in waiting:
            if not part.done.done():
                part.done.set_exception(error)

    def _take_in(self) -> None:
        with self._lock:
            new, self._new = self._new, []
            dropped, self._dropped = self._dropped, []
        for part in new:
            if isinstance(part, Given):
                continue
            if part.task.key in self._parts:
                raise ValueError(f"two parts have the key `{part.task.key}`")
            self._parts[part.task.key] = part
            self._schedule.add([part.task])
        for key in dropped:
            if key in self._parts:
                self._parts.pop(key).states = None
                self._schedule.forget([key])

    def _keep_workers(self) -> None:
        """As many as there are to be, and as there is work for."""
        there = len(self._busy) + len(self._free) + len(self._starting)
        for _ in range(min(self._machines.size, self._schedule.unfinished) - there):
            self._starting.add(self._machines.start())
        if self._busy or self._free:
            self._since = time.monotonic()
        elif self._starting and time.monotonic() - self._since > _START:
            raise DataError(
                f"expected a worker within {_START:.0f} s, got none",
                hint="look at `ray status` for what is missing, and rerun the same command",
            )

    def _hand_out(self) -> None:
        for worker in list(self._free):
            task = self._schedule.take(worker)
            if task is None:
                return
            part = self._parts[task.key]
            built = part.build()
            if built is None:
                self._schedule.done(worker)
                _settle(part, Outcome())
                continue
            action, inputs = built
            self._free.remove(worker)
            self._busy[worker] = part, inputs
            self._machines.submit(worker, action, [one.states for one in inputs])

    def _handle(self, event: Event) -> None:
        worker = event.worker
        if event.kind == "refused":
            assert event.error is not None, "a worker is refused for a reason"
            raise event.error
        if event.kind == "started":
            self._starting.discard(worker)
            self._schedule.join(worker)
            self._free.append(worker)
        elif event.kind == "done":
            part, _ = self._busy.pop(worker)
            self._free.append(worker)
            assert event.outcome is not None, "a part that is done came to something"
            self._bring_home(part, event.outcome, event.states)
            self._schedule.done(worker)
        elif event.kind == "inputs":
            _, inputs = self._busy.pop(worker)
            self._free.append(worker)
            which = event.inputs or range(len(inputs))
            keys = [inputs[number].task.key for number in which]
            self._again(lambda: self._schedule.lose(worker, keys), event)
        else:
            self._report(f"{worker} is lost, and replaced: {event.reason}")
            self._starting.discard(worker)
            self._busy.pop(worker, None)
            with contextlib.suppress(ValueError):
                self._free.remove(worker)
            with_machine = event.kind == "machine"
            self._again(lambda: self._schedule.leave(worker, with_machine=with_machine), event)

    def _again(self, repeat: Callable[[], object], event: Event) -> None:
        try:
            repeat()
        except LostTooOften as error:
            raise DataError(
                f"workers were repeatedly lost while they computed `{error.task.key}`: "
                f"{event.reason}",
                hint="give workers more memory (or --memory), and rerun the same command to resume",
            ) from None

    def _bring_home(self, part: Part, outcome: Outcome, states: Any) -> None:
        for fingerprint, columns in outcome.records.items():
            self._write(fingerprint, columns)
        outcome.records = {}
        part.states = states
        _settle(part, outcome)


def _settle(part: Part, outcome: Outcome) -> None:
    """A part whose states were lost is done a second time; it came to the same the first time."""
    if not part.done.done():
        part.done.set_result(outcome)


def require_whole(outcome: Outcome) -> None:
    """Raise the error that a part came to.

    Raises:
        BitlossError: that one.
    """
    if outcome.error is not None:
        raise outcome.error.raised()
