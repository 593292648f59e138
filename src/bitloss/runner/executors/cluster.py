"""Workers as actors of a Ray cluster; satisfies `bitloss.runner.executors.pool.Machines`.

Each actor is a process with as many threads as this one, on whatever machine has room for it. What
it reads with a model stays in the object store of its machine, and travels from there to the worker
that compares; records come here. Ray is not asked to try anything again: what is done again, and
how often, is the pool's to say.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from bitloss._version import __version__
from bitloss.engines.devices import is_cuda
from bitloss.errors import BitlossError, UsageError
from bitloss.runner.executors.parts import Action
from bitloss.runner.executors.pool import Event, Needs
from bitloss.runner.executors.worker import describe_machine
from bitloss.runner.jobs import Job
from bitloss.spec.run import RunSpec
from bitloss.wording import size

__all__ = ["RayMachines", "needs_of", "room_on"]

# A limit of memory is for weights: what else a process takes.
_BESIDE_WEIGHTS = 1 << 30
_HERE = frozenset({"grade", "collect", "ahead"})


def needs_of(spec: RunSpec, jobs: Sequence[Job]) -> Needs:
    """What a worker takes for the largest job that workers do."""
    held = [job.resources.memory_bytes for job in jobs if job.kind not in _HERE]
    memory = max(held, default=0)
    if spec.memory_bytes is not None:
        memory = min(memory, spec.memory_bytes + _BESIDE_WEIGHTS)
    cuda = is_cuda(spec.device)
    return Needs(torch.get_num_threads(), int(cuda), 0 if cuda else memory)


def room_on(machines: Sequence[Mapping[str, float]], needs: Needs) -> int:
    """How many workers machines have room for.

    Args:
        machines: resources of each, as `ray.nodes` has them.
        needs: of a worker.

    Raises:
        UsageError: none; names what the best machine lacks.
    """
    wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_bytes}
    wanted = {name: amount for name, amount in wanted.items() if amount}
    room = sum(
        min(int(machine.get(name, 0) // amount) for name, amount in wanted.items())
        for machine in machines
    )
    if room:
        return room
    best = {name: max((m.get(name, 0) for m in machines), default=0) for name in wanted}
    if best["CPU"] < needs.cpus:
        raise UsageError(
            f"a worker needs {needs.cpus} CPUs, the largest machine of the cluster has "
            f"{best['CPU']:g}",
            hint="set OMP_NUM_THREADS to the threads that a worker may have",
        )
    if best.get("GPU", 1) < needs.gpus:
        raise UsageError(
            "a worker needs a GPU, no machine of the cluster has one",
            hint="add machines with GPUs (`ray start --num-gpus`), or drop --device",
        )
    got = size(int(best.get("memory", 0)))
    raise UsageError(
        f"a worker needs {size(needs.memory_bytes)} of memory, the largest machine of the cluster "
        f"has {got}",
        hint="use larger machines, or --memory 8GB to read models a layer at a time",
    )


class RayMachines:
    """Actors of a Ray cluster.

    Args:
        size: how many workers.
        needs: what each takes.
        own: what is the same on all machines (`describe_machine`), as it is here.
        engines: that workers run.
        device: a torch device.
        leave: whether this object made the connection, and ends it.
    """

    def __init__(
        self,
        size: int,
        needs: Needs,
        *,
        own: Mapping[str, str],
        engines: Sequence[str],
        device: str,
        leave: bool,
    ) -> None:
        self.size = size
        self.needs = needs
        self._own = dict(own)
        self._engines = tuple(engines)
        self._device = device
        self._leave = leave
        self._actors: dict[str, Any] = {}
        self._asked: dict[Any, tuple[str, Any, Sequence[Any]]] = {}
        self._started: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._took: list[float] = []
        self.places: dict[str, str] = {}

    @classmethod
    def of(cls, spec: RunSpec, jobs: Sequence[Job], address: str) -> RayMachines:
        """Connect to a cluster, or, where there is none and none is named, start Ray here.

        Args:
            spec: the run.
            jobs: whose memory decides how large workers are.
            address: of the cluster; empty for the one that Ray finds.

        Raises:
            UsageError: it is not there, or has no room for a worker.
        """
        if ":" in spec.device or len(spec.devices) > 1:
            kind = spec.main_device.partition(":")[0]
            raise UsageError(
                f"expected a kind of device for workers, got `{spec.device}`",
                hint=f"use --device {kind}: Ray gives each worker a card",
            )
        engines = dict.fromkeys(("dense", *spec.engine))
        own = describe_machine(list(engines), spec.device, torch.get_num_threads())
        leave = _connect(address)
        try:
            import ray

            needs = needs_of(spec, jobs)
            machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            room = room_on(machines, needs)
        except BaseException:
            _disconnect(leave=leave)
            raise
        size = room if spec.workers is None else min(room, spec.workers)
        return cls(size, needs, own=own, engines=tuple(engines), device=spec.device, leave=leave)

    @property
    def start_seconds(self) -> float:
        """See `Machines.start_seconds`."""
        return sum(self._took) / max(1, len(self._took))

    # See `Machines` -------------------------------------------------------------------------------

    def start(self) -> str:
        """See `Machines.start`."""
        import ray

        needs = self.needs
        options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus}
        if needs.memory_bytes:
            options["memory"] = needs.memory_bytes
        name = f"worker-{len(self._started) + 1}"
        with _quiet():
            actor = ray.remote(_actor_class()).options(
                max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD", **options
            ).remote()  # fmt: skip
            hello = actor.hello.remote(self._engines, self._device, needs.cpus)
        with self._lock:
            self._actors[name] = actor
        self._started[name] = time.monotonic()
        self._asked[hello] = name, None, ()
        return name

    def submit(self, worker: str, action: Action, inputs: Sequence[Any]) -> None:
        """See `Machines.submit`."""
        outcome, states = self._actors[worker].run.options(num_returns=2).remote(action, *inputs)
        self._asked[outcome] = worker, states, inputs

    def put(self, states: Mapping[str, Any]) -> Any:
        """See `Machines.put`."""
        import ray

        return ray.put(dict(states))

    def poll(self, seconds: float) -> list[Event]:
        """See `Machines.poll`."""
        import ray

        with _quiet():
            ready, _ = ray.wait(list(self._asked), num_returns=1, timeout=seconds)
            return [self._event(ref) for ref in ready]

    def close(self) -> None:
        """See `Machines.close`."""
        import ray

        with self._lock:
            if self._closed:
                return
            self._closed = True
            actors = list(self._actors.values())
        for actor in actors:
            with contextlib.suppress(Exception):  # the cluster itself may be gone
                ray.kill(actor)
        self._asked.clear()
        _disconnect(leave=self._leave)

    # What came back -------------------------------------------------------------------------------

    def _event(self, ref: Any) -> Event:
        import ray
        from ray.exceptions import ObjectLostError, RayError, RayTaskError

        worker, states, inputs = self._asked.pop(ref)
        try:
            answer = ray.get(ref)
        except ObjectLostError as error:
            # The answer itself went with its machine, or something that the part takes.
            lost = _lost_inputs(error, inputs)
            if lost or inputs:
                return Event(worker, "inputs", inputs=lost, reason=_words(error))
            return self._gone(worker, error)
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, ObjectLostError) and inputs:
                lost = _lost_inputs(cause, inputs)
                return Event(worker, "inputs", inputs=lost, reason=_words(cause))
            return self._gone(worker, cause)
        except RayError as error:
            return self._gone(worker, error)
        if states is None:
            return self._hello(worker, *answer)
        return Event(worker, "done", outcome=answer, states=states)

    def _gone(self, worker: str, error: BaseException) -> Event:
        import ray

        with self._lock:
            actor = self._actors.pop(worker, None)
        if actor is not None:
            with contextlib.suppress(Exception):
                ray.kill(actor)
        # Ray has one class for both.
        kind = "machine" if "node has died" in str(error) else "lost"
        return Event(worker, kind, reason=_words(error))

    def _hello(self, worker: str, place: str, theirs: Mapping[str, str], problem: str) -> Event:
        self._took.append(time.monotonic() - self._started[worker])
        self.places[worker] = place
        if problem:
            error: BitlossError = UsageError(
                f"bitloss cannot be imported on {place}: {problem}",
                hint=f'install it there, too: pip install "bitloss[ray]=={__version__}"',
            )
            return Event(worker, "refused", error=error)
        differing = [
            f"{name} {self._own.get(name) or 'none'} here, {theirs.get(name) or 'none'} there"
            for name in sorted({*self._own, *theirs})
            if self._own.get(name) != theirs.get(name)
        ]
        if differing:
            error = UsageError(
                f"{place} would compute different numbers than here: {'; '.join(differing)}",
                hint="install the same versions on all machines, and use machines of one kind",
            )
            return Event(worker, "refused", error=error)
        return Event(worker, "started")


def _actor_class() -> type:
    """The actor. It is made here so that it travels as code: where bitloss is not installed it can
    say so. Nothing of this module is used in it.
    """

    class BitlossWorker:
        def __init__(self) -> None:
            self._worker: Any = None

        def hello(
            self, engines: Sequence[str], device: str, threads: int
        ) -> tuple[str, dict[str, str], str]:
            import socket

            place = socket.gethostname()
            try:
                from bitloss.runner.executors.worker import Worker, describe_machine

                own = describe_machine(engines, device, threads)
            except ImportError as error:
                return place, {}, str(error)
            self._worker = Worker(place)
            return place, own, ""

        def run(self, action: Any, *inputs: Any) -> Any:
            return self._worker.run(action, inputs)

    return BitlossWorker


def _connect(address: str) -> bool:
    """Connect; whether there was no connection before.

    Raises:
        UsageError: there is no cluster, or one of another version.
    """
    import ray

    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _quiet(), _own_signals():
        try:
            ray.init(address=address or "auto", **quiet)
        except ConnectionError as error:
            if address:
                raise _unreachable(address, error) from error
            # None is running: the workers share this machine.
            ray.init(include_dashboard=False, **quiet)
        except Exception as error:  # Ray raises RuntimeError, ValueError and its own
            raise _unreachable(address or "this machine's cluster", error) from error
    # What machines say when a node ends would go to stdout, into the results: `log_to_driver` is
    # only for what workers print.
    with contextlib.suppress(ImportError):
        import ray._private.worker as driver

        driver.print_to_stdstream = _say_nothing
    return True


def _say_nothing(*_: Any, **__: Any) -> None:
    """In place of Ray's own printing."""


def _unreachable(address: str, error: Exception) -> UsageError:
    return UsageError(
        f"cannot join the Ray cluster at {address}: {_words(error)}",
        hint="run bitloss on a machine of the cluster, with the Ray and Python that it runs",
    )


def _disconnect(*, leave: bool) -> None:
    import ray

    if leave:
        with contextlib.suppress(Exception):
            ray.shutdown()


def _lost_inputs(error: Any, inputs: Sequence[Any]) -> tuple[int, ...]:
    name = getattr(error, "object_ref_hex", None)
    return tuple(number for number, ref in enumerate(inputs) if ref.hex() == name)


def _words(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray's advice to its own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what signals do: Ray takes SIGTERM for itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
