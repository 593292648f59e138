"""How llama.cpp computes: what of it is the user's choice, and what is fixed."""

from __future__ import annotations

from dataclasses import dataclass

from bitloss.errors import UnsupportedModel
from bitloss.spec.serving import Serving

__all__ = ["CACHE_TYPES", "Settings", "cache_settings"]

# enum ggml_type of ggml.h.
CACHE_TYPES = {
    "f32": 0, "f16": 1, "bf16": 30, "q8_0": 8, "q5_1": 7, "q5_0": 6, "q4_1": 3, "q4_0": 2,
    "iq4_nl": 20,
}  # fmt: skip
_QUANTIZED = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
OWN_CACHE = "f32"


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a context of llama.cpp.

    Attributes:
        keys: type of cached keys.
        values: type of cached values.
        flash_attention: whether the fused kernel computes attention. It rounds otherwise, and is
            used only where there is no other way: llama.cpp reads quantized values with it alone.
        threads: of a forward; they change no number.
        chunk: tokens in one forward, at most.
        nudged: whether every layer's output moves by about its last bit.
    """

    keys: str
    values: str
    flash_attention: bool
    threads: int
    chunk: int
    nudged: bool = False


def cache_settings(serving: Serving, name: str) -> tuple[str, str, bool]:
    """Types of cached keys and values, and whether they need flash attention.

    Raises:
        UnsupportedModel: a type that llama.cpp does not have.
    """
    keys, values = serving.keys or OWN_CACHE, serving.values or OWN_CACHE
    for kind in (keys, values):
        if kind not in CACHE_TYPES:
            raise UnsupportedModel(
                f"{name}: llama.cpp has no {kind} cache, expected one of {', '.join(CACHE_TYPES)}",
                hint="choose another --cache-type, or --engine dense",
            )
    return keys, values, values in _QUANTIZED
