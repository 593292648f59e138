"""The small values that results are made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "DeltaP",
    "Estimate",
    "Frozen",
    "KLDivergence",
    "Limits",
    "NoiseFloor",
    "ProtocolUsed",
    "Rescored",
    "Stopped",
]

Stopped = Literal["decided", "precision", "end"]
"""Why no more was scored in random order: the verdict was settled, the interval narrow enough, or
nothing was left."""


class Frozen(BaseModel):
    """Values that cannot be changed, and no field that nobody declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(Frozen):
    """The 95 % confidence limits of a number that stands beside them."""

    low: float | None
    high: float | None


class Estimate(Frozen):
    """A number with its 95 % confidence limits (`bitloss.metrics.intervals`)."""

    value: float | None
    low: float | None
    high: float | None

    def negated(self) -> Estimate:
        """With the other sign, a gain as a loss; never a negative zero."""
        value, low, high = (
            None if x is None else 0.0 - x for x in (self.value, self.high, self.low)
        )
        return Estimate(value=value, low=low, high=high)


class KLDivergence(Frozen):
    """KL(reference || variant) in nats a token: the mean with its limits, percentiles, maximum."""

    mean: float | None
    low: float | None
    high: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    max: float | None


class DeltaP(Frozen):
    """Change of the true token's probability: mean and root mean square, with limits."""

    mean: float | None
    low: float | None
    high: float | None
    rms: float | None
    rms_low: float | None
    rms_high: float | None


class ProtocolUsed(Frozen):
    """A perplexity protocol's name and parameters."""

    name: str
    parameters: dict[str, Any]


class NoiseFloor(Frozen):
    """Mean divergence that the measuring itself makes when nothing was quantized."""

    kl_divergence: float | None
    dtype: str
    n_scored: int


class Rescored(Frozen):
    """Where everything but the perplexities comes from, if not from the row's own `dtype`.

    A variant near the noise floor is scored again in exact arithmetic on the first windows.
    """

    dtype: str
    n_scored: int
    n_windows: int
