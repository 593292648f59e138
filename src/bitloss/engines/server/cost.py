"""What work takes on a server: as long as requests took when it was asked what it offers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitloss.engines.server.client import Client
from bitloss.engines.server.probe import COMPLETIONS, NATIVE, Offers, forced
from bitloss.engines.values import Cost, Work
from bitloss.errors import ServerError
from bitloss.formats.base import ModelIdentity

__all__ = ["TIMING", "Rates", "measured_rates"]

_RECORD_BYTES = 34
_TEXT = "The quick brown fox jumps over the lazy dog. "
# Sentences and tokens of the requests that are timed.
_READ, _WRITTEN = 24, 16

TIMING = (
    "times on a server are from a request or two that were timed just now, one at a time; other "
    "users, and requests side by side, change them"
)


@dataclass(frozen=True, slots=True)
class Rates:
    """What requests of one client took.

    Attributes:
        read: seconds per token of a prompt with its log-probabilities; None if that is not had.
        position: seconds per scored position, where each is a request; None where none is.
        written: seconds per token that is written.
    """

    read: float | None
    position: float | None
    written: float | None

    def cost(
        self, work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
    ) -> Cost:
        """See `bitloss.engines.base.Engine.cost`. What the reference's engine compares is small
        beside it, and left out.
        """
        del model, arithmetic, device
        parts = (
            (work.scored, self.position) if self.position is not None else (work.read, self.read),
            (work.written, self.written),
        )
        known = all(rate is not None for amount, rate in parts if amount)
        seconds = sum(amount * (rate or 0.0) for amount, rate in parts)
        return Cost(
            seconds=seconds if measure and known else None,
            disk_bytes=work.scored * _RECORD_BYTES,
        )


def measured_rates(client: Client, offers: Offers) -> Rates:
    """Time a request of each kind; what fails has no rate."""
    common: dict[str, Any] = {"model": offers.model, "temperature": 0}
    prompt = _TEXT * _READ
    read = position = None
    if offers.scoring == "positions":
        ids: Sequence[int] = [40, 41, 42, 43]
        bodies = [
            {"model": offers.model, "prompt": list(ids[:n]), **forced(44, offers.top)}
            for n in (3, 4)
        ]
        _timed(client, NATIVE, bodies[0])
        took = _timed(client, NATIVE, bodies[1])
        position = None if took is None else took[0]
    elif offers.scoring:
        fields: Mapping[str, Any] = (
            {"prompt_logprobs": offers.top}
            if offers.scoring == "prompt_logprobs"
            else {"echo": True, "logprobs": offers.top}
        )
        took = _timed(client, COMPLETIONS, {**common, "prompt": prompt, "max_tokens": 1, **fields})
        tokens = None if took is None else (took[1].get("usage") or {}).get("prompt_tokens")
        read = took[0] / tokens if took is not None and tokens else None
    took = None
    if offers.completions:
        body = {**common, "prompt": _TEXT, "max_tokens": _WRITTEN}
        took = _timed(client, COMPLETIONS, body)
    used = None if took is None else (took[1].get("usage") or {}).get("completion_tokens")
    return Rates(read, position, took[0] / used if took is not None and used else None)


def _timed(
    client: Client, path: str, body: Mapping[str, Any]
) -> tuple[float, dict[str, Any]] | None:
    start = time.perf_counter()
    try:
        answer = client.post(path, body, attempts=1)
    except ServerError:
        return None
    return time.perf_counter() - start, answer
