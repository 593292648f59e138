"""What jobs take, estimated by the engine that does them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bitloss.engines.base import Engine
from bitloss.engines.values import Work
from bitloss.formats.base import ModelIdentity
from bitloss.runner.jobs import Resources

__all__ = ["ENTRY_BYTES", "PROCESS_BYTES", "Costs"]

PROCESS_BYTES, ENTRY_BYTES = 400 << 20, 1500
"""A process with a library for models imported, before any weight; an entry of a tokenizer."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Turns work into resources.

    Attributes:
        model: the reference; a variant is as large as it once it is decoded.
        device: a torch device.
        memory: bytes that a model may take; None is what the device has free.
        measure: spend a moment on measuring the machine, for times.
    """

    model: ModelIdentity
    device: str
    measure: bool
    memory: int | None = None

    def of(self, work: Work, engine: Engine, arithmetic: str) -> Resources:
        """What some work of one model takes in an engine."""
        cost = engine.cost(
            replace(work, memory=self.memory),
            self.model,
            arithmetic=arithmetic,
            device=self.device,
            measure=self.measure,
        )
        return Resources(
            seconds=cost.seconds,
            memory_bytes=cost.memory_bytes,
            disk_bytes=cost.disk_bytes,
            tokens=work.read + work.written,
            device=self.device,
            by_layers=cost.by_layers,
        )

    def one_by_one(self, works: Iterable[tuple[Work, Engine, str]]) -> Resources:
        """What work of several engines takes, one after the other: their time together, and the
        memory of the largest.
        """
        parts = [self.of(*work) for work in works]
        seconds = [part.seconds for part in parts if part.seconds is not None]
        return Resources(
            seconds=sum(seconds) if len(seconds) == len(parts) else None,
            memory_bytes=max((part.memory_bytes for part in parts), default=0),
            disk_bytes=sum(part.disk_bytes for part in parts),
            tokens=sum(part.tokens for part in parts),
            device=self.device,
            by_layers=any(part.by_layers for part in parts),
        )
