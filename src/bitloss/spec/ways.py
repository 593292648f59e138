"""How a variant is run: by which engine, and with which types of caches and activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitloss.spec.serving import AS_COMPUTED, Serving

__all__ = ["Adds", "Way"]

Adds = Literal["cache", "activations", "engine"]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run a variant.

    The first way of a run gives the variants' results. Each other way is held beside the one that
    differs from it in one thing, so that what that thing costs is the difference of the two.

    Attributes:
        engine: name in `bitloss.registry.ENGINES`.
        serving: types of caches and activations.
        adds: the one thing; None for the first way.
        beside: label of the way without it; "" for the first.
    """

    engine: str = "dense"
    serving: Serving = AS_COMPUTED
    adds: Adds | None = None
    beside: str = ""

    @property
    def label(self) -> str:
        """For people: ``dense, cache q8_0``."""
        return f"{self.engine}, {self.serving.label}" if self.serving else self.engine
