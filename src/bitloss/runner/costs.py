"""What jobs take, estimated by the engine that does them."""

from __future__ import annotations

from dataclasses import dataclass

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
        measure: spend a moment on measuring the machine, for times.
    """

    model: ModelIdentity
    device: str
    measure: bool

    def of(self, work: Work, engine: Engine, arithmetic: str) -> Resources:
        """What some work of one model takes in an engine."""
        cost = engine.cost(
            work, self.model, arithmetic=arithmetic, device=self.device, measure=self.measure
        )
        return Resources(
            seconds=cost.seconds,
            memory_bytes=cost.memory_bytes,
            disk_bytes=cost.disk_bytes,
            tokens=work.read + work.written,
            device=self.device,
        )
