"""The small values that results are made of."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from bitloss.types import Bounded

__all__ = [
    "OMIT_NULL",
    "ChatSettings",
    "DeltaP",
    "Estimate",
    "Failure",
    "Frozen",
    "KLDivergence",
    "Limits",
    "NoiseFloor",
    "OmitNull",
    "ProtocolUsed",
    "Rescored",
    "Stopped",
    "existing",
]

Stopped = Literal["decided", "precision", "not needed", "end"]
"""Why no more was scored in random order: the verdict was settled, the interval narrow enough, the
recommendation does not depend on it, or nothing was left."""


def existing(bound: float | None) -> float | None:
    """A bound as it stands in a result: null if there is none (NaN)."""
    return None if bound is None or math.isnan(bound) else bound


class OmitNull:
    """Marks a field that a document leaves out where it is null."""


OMIT_NULL: Final = OmitNull()
"""In a field's annotation: ``Annotated[float | None, OMIT_NULL]``.

For what exists under one protocol only, happens rarely or was not requested. Other fields are
written as null, so that a reader sees that the value is missing.
"""


class Frozen(BaseModel):
    """Values that cannot be changed, and no field that nobody declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(Frozen):
    """Why a variant has no results, and what can be done."""

    message: str
    hint: str = ""


class Limits(Frozen):
    """The bounds of the 95% confidence interval of a number that stands beside them."""

    low: float | None
    high: float | None


class Estimate(Frozen):
    """A number with the bounds of its 95% confidence interval (`bitloss.metrics.intervals`)."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, interval: Bounded) -> Estimate:
        """An interval as it stands in a result: bounds that do not exist (NaN) are null."""
        return cls(value=interval.value, low=existing(interval.low), high=existing(interval.high))

    def negated(self) -> Estimate:
        """With the other sign, a gain as a loss; never a negative zero."""
        value, low, high = (
            None if x is None else 0.0 - x for x in (self.value, self.high, self.low)
        )
        return Estimate(value=value, low=low, high=high)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists and does not include 0: the change is significant."""
        return self.low is not None and self.high is not None and self.low * self.high > 0

    @property
    def is_nothing(self) -> bool:
        """Whether it is zero exactly, as between a model and its copy."""
        return self.value == self.low == self.high == 0


class KLDivergence(Frozen):
    """KL(reference || variant), nats per token: mean with bounds, percentiles, maximum."""

    mean: float | None
    low: float | None
    high: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    max: float | None

    @property
    def estimate(self) -> Estimate:
        """The mean with its bounds."""
        return Estimate(value=self.mean, low=self.low, high=self.high)


class DeltaP(Frozen):
    """Change of the true token's probability: mean and root mean square, with bounds."""

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

    def __str__(self) -> str:
        """``strided (max_length 1024, stride 512)``."""
        parameters = ", ".join(f"{key} {value}" for key, value in self.parameters.items())
        return f"{self.name} ({parameters})" if parameters else self.name


class NoiseFloor(Frozen):
    """Mean divergence that the measurement itself makes when nothing was quantized.

    Attributes:
        kl_divergence: nats per token.
        dtype: the arithmetic it belongs to.
        n_scored: tokens it was measured on.
        answer_change: likewise of gold answers (`VariantTask`); absent for a corpus.
    """

    kl_divergence: float | None
    dtype: str
    n_scored: int
    answer_change: Annotated[float | None, OMIT_NULL] = None


class Rescored(Frozen):
    """Where everything but the perplexities comes from, if not from the row's own `dtype`.

    A variant near the noise floor is scored again in exact arithmetic, on as many windows as its
    interval needs, drawn at random.
    """

    dtype: str
    n_scored: int
    n_windows: int


class ChatSettings(Frozen):
    """How the chat template was applied.

    Attributes:
        template_args: arguments that it was given.
        thinking_budget: tokens of thinking; null where they were taken from the answer's.
        thinking_markers: what thinking begins and ends with.
    """

    template_args: dict[str, Any] = Field(default_factory=dict)
    thinking_budget: int | None = None
    thinking_markers: tuple[str, str]
