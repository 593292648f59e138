"""What a runtime does besides running a model's weights: caches and activations of few bits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bitloss.errors import UsageError
from bitloss.spec.activations import AS_DECLARED, parse_activations

__all__ = ["AS_COMPUTED", "CACHE_TYPES", "Serving", "cache_groups", "parse_serving"]

CACHE_TYPES = (
    "f32", "f16", "bf16", "fp8", "fp8-head", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl",
)  # fmt: skip
"""Types of cached keys and values: llama.cpp's, and E4M3, with a scale of 1 (``fp8``) or one for
each token's head (``fp8-head``). Besides, ``int8-gN`` and the like: see `cache_groups`."""

_GROUPS = re.compile(r"int([248])-g([1-9]\d{0,4})")


def cache_groups(name: str) -> tuple[int, int] | None:
    """Bits, and numbers that share a scale, of a type such as ``int4-g32``; None for others."""
    match = _GROUPS.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Serving:
    """How the state of a model is stored while it runs. Everything empty is: as computed.

    Attributes:
        keys: type of cached keys, of `CACHE_TYPES` or by group; "" is the engine's own.
        values: type of cached values.
        activations: what enters a matrix product, by the name of a
            `bitloss.spec.activations.ActivationType` or as the checkpoint declares
            (``checkpoint``); "" is not quantized.
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
        if name not in CACHE_TYPES and cache_groups(name) is None:
            known = ", ".join((*CACHE_TYPES, "int8-gN", "int4-gN", "int2-gN"))
            raise UsageError(
                f"cache type: expected one of {known}, got `{name}`",
                hint="write one type, or two as KEYS/VALUES",
            )
    if slash and not (keys and values):
        raise UsageError(
            f"cache type: expected KEYS/VALUES, got `{cache_type}`", hint="name both types"
        )
    inputs = activations.lower()
    if inputs and inputs != AS_DECLARED:
        inputs = parse_activations(inputs).name
    return Serving(keys, values or keys, inputs)
