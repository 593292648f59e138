"""What a runtime does besides running a model's weights: caches and activations of few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitloss.errors import UsageError

__all__ = ["AS_COMPUTED", "CACHE_TYPES", "Serving", "parse_serving"]

CACHE_TYPES = ("f32", "f16", "bf16", "fp8", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""Types of cached keys and values: llama.cpp's, and fp8 (e4m3, one scale for a token's head)."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How the state of a model is stored while it runs. Everything empty is: as computed.

    Attributes:
        keys: type of cached keys, of `CACHE_TYPES`; "" is the engine's own.
        values: type of cached values.
        activations: what enters a matrix product; "" is not quantized.
    """

    keys: str = ""
    values: str = ""
    activations: str = ""

    def __bool__(self) -> bool:
        """Whether anything is stored otherwise than the engine computes it."""
        return bool(self.keys or self.values or self.activations)

    @property
    def label(self) -> str:
        """For people: ``cache q8_0/q4_0, activations int8``."""
        cache = self.keys if self.keys == self.values else f"{self.keys}/{self.values}"
        parts = {"cache": cache, "activations": self.activations}
        return ", ".join(f"{name} {value}" for name, value in parts.items() if value)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for fingerprints; only what is set."""
        parts = {"keys": self.keys, "values": self.values, "activations": self.activations}
        return {name: value for name, value in parts.items() if value}

    @property
    def fields(self) -> frozenset[str]:
        """Names of what is set: what an engine has to offer."""
        return frozenset(self.to_dict())


AS_COMPUTED = Serving()


def parse_serving(cache_type: str = "", activations: str = "") -> Serving:
    """What the two options mean.

    Args:
        cache_type: ``TYPE``, or ``KEYS/VALUES``.
        activations: a type of activations.

    Raises:
        UsageError: a type that is not known.
    """
    keys, slash, values = cache_type.lower().partition("/")
    for name in filter(None, (keys, values)):
        if name not in CACHE_TYPES:
            raise UsageError(
                f"cache type: expected one of {', '.join(CACHE_TYPES)}, got `{name}`",
                hint="write one type, or two as KEYS/VALUES",
            )
    if slash and not (keys and values):
        raise UsageError(
            f"cache type: expected KEYS/VALUES, got `{cache_type}`", hint="name both types"
        )
    return Serving(keys, values or keys, activations.lower())
