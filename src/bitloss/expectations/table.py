"""The tables that verdicts are made with."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

__all__ = ["Expectations", "FormatRow", "Level", "Levels", "Published"]

Level = Literal["yes", "usually", "marginal", "problematic"]
"""Whether a loss is acceptable, the best first."""

_Positive = Annotated[FiniteFloat, Field(gt=0)]
_Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Levels(_Frozen):
    """The highest relative perplexity of each level; what is above all of them is problematic."""

    yes: _Positive
    usually: _Positive
    marginal: _Positive

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.yes < self.usually < self.marginal:
            raise ValueError(
                f"expected yes < usually < marginal, got {self.yes}, {self.usually}, "
                f"{self.marginal}"
            )
        return self


class FormatRow(_Frozen):
    """What variants of a format lose as a rule.

    Attributes:
        format: its name for people.
        names: values of `bitloss.types.ModelInfo.format` that are meant; none is `format` in lower
            case with hyphens for spaces.
        bits: nominal.
        low: of the relative perplexity.
        high: None where there is no upper end.
        level: whether that is acceptable.
        source: where the row comes from.
    """

    format: str = Field(min_length=1)
    names: tuple[str, ...] = ()
    bits: _Positive
    low: _Positive
    high: _Positive | None = None
    level: Level
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.high is not None and self.high < self.low:
            raise ValueError(f"expected low <= high, got {self.low} and {self.high}")
        return self

    def matches(self, format_name: str | None, bits: float | None) -> bool:
        """Whether a variant is of this format.

        Args:
            format_name: as in `bitloss.types.ModelInfo.format`.
            bits: nominal bits of a weight.
        """
        names = self.names or (self.format.lower().replace(" ", "-"),)
        return format_name in names and bits == self.bits


class Published(_Frozen):
    """One published measurement.

    Attributes:
        model: which was quantized.
        format: how.
        bits: nominal.
        reference_perplexity: of the unquantized model.
        perplexity: of the variant, under the same protocol.
        kl_divergence: nats a token, where it was published.
        top1_agreement: share of positions, where it was published.
        source: where, and how it was measured.
    """

    model: str
    format: str
    bits: _Positive
    reference_perplexity: _Positive
    perplexity: _Positive
    kl_divergence: FiniteFloat | None = None
    top1_agreement: _Share | None = None
    source: str = Field(min_length=1)

    @property
    def relative_perplexity(self) -> float:
        """Variant over reference; best value 1."""
        return self.perplexity / self.reference_perplexity


class Expectations(_Frozen):
    """All of them, and where they were read.

    Attributes:
        thresholds: of the levels.
        margins: share of the score that a capability may lose, by its name.
        formats: no two rows of one format and bits.
        published: other people's measurements; they decide nothing.
        source: ``built-in``, or the path of the user's file.
        digest: sha256 (hex) of that file.
    """

    thresholds: Levels
    margins: dict[str, _Share]
    formats: tuple[FormatRow, ...] = ()
    published: tuple[Published, ...] = ()
    source: str = "built-in"
    digest: str = ""

    @property
    def levels(self) -> tuple[tuple[float, Level], ...]:
        """The levels, the best first, each with the highest relative perplexity that it allows."""
        limits = self.thresholds
        return (
            (limits.yes, "yes"),
            (limits.usually, "usually"),
            (limits.marginal, "marginal"),
            (math.inf, "problematic"),
        )

    def level(self, relative_perplexity: float) -> Level:
        """The level of a relative perplexity, which must be a number (it may be infinite)."""
        return next(level for limit, level in self.levels if relative_perplexity <= limit)

    def margin(self, capability: str) -> float:
        """What a capability may lose of its score, 0 to 1; for one that is not named, the least."""
        return self.margins.get(capability, min(self.margins.values(), default=0.0))

    def expected(self, format_name: str | None, bits: float | None) -> FormatRow | None:
        """The row of a variant's format; None where there is none: nothing is guessed."""
        return next((row for row in self.formats if row.matches(format_name, bits)), None)
