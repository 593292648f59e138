"""Workers in threads of this process, which can be lost: stands in for a cluster."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bitloss.runner.executors.parts import Action
from bitloss.runner.executors.pool import Event, Needs
from bitloss.runner.executors.worker import Worker

__all__ = ["ThreadMachines"]

# One computes at a time: torch's own settings are the process's.
_TURN = threading.Lock()


class ThreadMachines:
    """Satisfies `bitloss.runner.executors.pool.Machines`.

    Args:
        size: workers.
        fate: called with a worker, the action and its number, before the action is carried out;
            returns "lost" for a worker that dies with it, "inputs" for states that are gone.
    """

    def __init__(self, size: int, fate: Callable[[str, Action, int], str] = lambda *_: "") -> None:
        self.size = size
        self.needs = Needs()
        self.start_seconds = 2.0
        self.started: list[str] = []
        self.actions: list[Action] = []
        self.closed = False
        self._fate = fate
        self._events: queue.Queue[Event] = queue.Queue()
        self._workers: dict[str, Worker] = {}

    def start(self) -> str:
        name = f"worker-{len(self.started)}"
        self.started.append(name)
        self._workers[name] = Worker(name)
        self._events.put(Event(name, "started"))
        return name

    def submit(self, worker: str, action: Action, inputs: Sequence[Any]) -> None:
        assert all(isinstance(states, dict) for states in inputs), "states that nobody has"
        self.actions.append(action)
        what = self._fate(worker, action, len(self.actions))
        if what:
            lost = tuple(range(min(1, len(inputs)))) if what == "inputs" else ()
            self._events.put(Event(worker, what, inputs=lost, reason="the test's own"))
            return
        threading.Thread(target=self._carry_out, args=(worker, action, inputs)).start()

    def _carry_out(self, worker: str, action: Action, inputs: Sequence[Mapping[str, Any]]) -> None:
        with _TURN:
            outcome, states = self._workers[worker].run(action, inputs)
        self._events.put(Event(worker, "done", outcome=outcome, states=states))

    def put(self, states: Mapping[str, Any]) -> Any:
        return dict(states)

    def poll(self, seconds: float) -> list[Event]:
        try:
            return [self._events.get(timeout=seconds)]
        except queue.Empty:
            return []

    def close(self) -> None:
        self.closed = True
