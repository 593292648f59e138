"""``--executor`` understood: ``local``, ``ray`` or ``ray://HOST:PORT``."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from bitloss.engines.devices import room_in
from bitloss.errors import MissingDependency, UsageError
from bitloss.runner.executors.pool import Machines
from bitloss.runner.jobs import Job
from bitloss.spec.model import names_pack
from bitloss.spec.run import RunSpec

__all__ = ["Connect", "check_executor", "connect_machines", "parse_executor"]

Connect = Callable[[RunSpec, Sequence[Job]], Machines | None]
"""Finds the workers that a run asks for; None if it asks for none."""

_PORT = 6379  # of `ray start --head`
_PATIENCE = 5.0
_ON_DEVICE = frozenset({"states", "pair", "floor", "texts"})


def parse_executor(text: str) -> str | None:
    """The address of a Ray cluster: empty for the one that Ray finds by itself; None for this
    machine.

    Raises:
        UsageError: it is no executor.
    """
    if text == "local":
        return None
    kind, there, address = text.partition("://")
    if kind != "ray" or (there and not address):
        raise UsageError(
            f"--executor: expected local, ray or ray://HOST:PORT, got `{text}`",
            hint="use ray for the cluster that this machine belongs to",
        )
    host, colon, port = address.partition(":")
    if colon and not port.isdigit():
        raise UsageError(
            f"--executor: expected a port's number, got `{port}`",
            hint=f"write ray://{host}:{_PORT}, the address that `ray start --head` prints",
        )
    return f"{host}:{port or _PORT}" if address else ""


def check_executor(spec: RunSpec) -> None:
    """Refuse what a cluster cannot do, or one that is not there, before anything is read.

    Raises:
        UsageError: the address is wrong, or nobody answers there; or an option that needs this
            machine.
        MissingDependency: Ray is not installed.
    """
    address = parse_executor(spec.executor)
    if address is None:
        return
    if find_spec("ray") is None:
        raise MissingDependency("ray", f"--executor {spec.executor}", extra="ray")
    if spec.speed:
        raise UsageError(
            "--speed times this machine, got workers on others",
            hint="drop --executor, or --speed",
        )
    if names_pack(spec.reference):
        raise UsageError(
            "expected a reference with weights for workers to read, got a pack",
            hint="drop --executor: a pack needs no reading",
        )
    if _served(spec):
        raise UsageError(
            "expected engines that workers run, got the address of a server",
            hint="drop --executor: the server does the work",
        )
    if address:
        _require_answer(address)


def _require_answer(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address}: {error}",
            hint="use the address that `ray start --head` printed, from a machine of the cluster",
        ) from error


def connect_machines(spec: RunSpec, jobs: Sequence[Job]) -> Machines | None:
    """The workers of a run.

    Args:
        spec: the run.
        jobs: whose memory decides how large workers are.

    Raises:
        UsageError: the cluster is not there, or has no machine for a worker.
    """
    address = parse_executor(spec.executor)
    if address is None:
        return _device_workers(spec, jobs)
    from bitloss.runner.executors.cluster import RayMachines

    return RayMachines.of(spec, jobs, address)


def _device_workers(spec: RunSpec, jobs: Sequence[Job]) -> Machines | None:
    """A worker for each device, if there are several and one has room for the largest job.

    Otherwise this process puts a model's layers over all of them. So it does where the work is not
    reading: a pack has been read, a server reads by itself, and speed is measured here.
    """
    if len(spec.devices) < 2 or spec.speed or names_pack(spec.reference) or _served(spec):
        return None
    held = [job.resources.memory_bytes for job in jobs if job.kind in _ON_DEVICE]
    if max(held, default=0) > min(room_in(spec.memory_bytes, one) for one in spec.devices):
        return None
    from bitloss.runner.executors.device_workers import DeviceWorkers

    return DeviceWorkers(spec.devices, spec.workers)


def _served(spec: RunSpec) -> bool:
    return any("=" in engine for engine in spec.engine)
