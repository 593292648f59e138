"""What jobs take, estimated by the engine that does them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from bitloss.engines.base import Engine
from bitloss.engines.values import Cost, Work
from bitloss.formats.base import ModelIdentity
from bitloss.runner.jobs import Resources

__all__ = ["ENTRY_BYTES", "PROCESS_BYTES", "Ask", "Costs", "pieces_in"]

Ask = Callable[[str, Work, ModelIdentity, str, str], Cost]
"""Estimates some work of an engine (its name) on a model in an arithmetic and on a device."""

PROCESS_BYTES, ENTRY_BYTES = 400 << 20, 1500
"""A process with a library for models imported, before any weight; an entry of a tokenizer."""


# Tokens that engines read in one piece, about.
_PIECE_TOKENS = 16_384


def pieces_in(tokens: int) -> int:
    """Pieces that so many tokens are read in, about."""
    return max(1, -(-tokens // _PIECE_TOKENS))


@dataclass(frozen=True, slots=True)
class Costs:
    """Turns work into resources.

    Attributes:
        model: the reference; a variant is as large as it once it is decoded.
        device: a torch device.
        memory: bytes that a model may take; None is what the device has free.
        measure: spend a moment on measuring the machine, for times.
        ask: estimates in place of the engine on this machine: who else does the work.
    """

    model: ModelIdentity
    device: str
    measure: bool
    memory: int | None = None
    ask: Ask | None = None

    def of(self, work: Work, engine: Engine, arithmetic: str, parts: int = 1) -> Resources:
        """What some work of one model takes in an engine, in so many pieces."""
        work = replace(work, memory=self.memory)
        if self.ask is not None:
            cost = self.ask(engine.name, work, self.model, arithmetic, self.device)
        else:
            cost = engine.cost(
                work, self.model, arithmetic=arithmetic, device=self.device, measure=self.measure
            )
        return Resources(
            seconds=cost.seconds,
            memory_bytes=cost.memory_bytes,
            disk_bytes=cost.disk_bytes,
            tokens=work.read + work.written,
            device=self.device,
            by_layers=cost.by_layers,
            parts=parts,
        )

    def one_by_one(self, works: Iterable[tuple[Work, Engine, str]], pieces: int = 1) -> Resources:
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
            parts=pieces,
        )
