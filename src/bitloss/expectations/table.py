"""The tables that verdicts are made with."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from bitloss.expectations.axes import AXES, LEVELS, AxisName, Level, LevelRange

__all__ = ["Expectations", "FormatRow", "Levels", "Published"]

_Positive = Annotated[FiniteFloat, Field(gt=0)]
_Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Levels(_Frozen):
    """What each level of an axis still allows; what is worse than all of them is problematic.

    Attributes:
        yes: the highest value, or the lowest where more is better (`bitloss.expectations.Axis`).
        usually: likewise.
        marginal: likewise.
        source: where the levels come from.
    """

    yes: FiniteFloat
    usually: FiniteFloat
    marginal: FiniteFloat
    source: str = ""

    @property
    def limits(self) -> tuple[float, float, float]:
        """The best level's first."""
        return self.yes, self.usually, self.marginal


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
        kl_divergence: nats per token, where it was published.
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
        thresholds: levels of every axis.
        margins: share of the score that a capability may lose, by its name.
        formats: no two rows of one format and bits.
        published: other people's measurements; they decide nothing.
        source: ``built-in``, or the path of the user's file.
        digest: sha256 (hex) of that file.
    """

    thresholds: dict[AxisName, Levels]
    margins: dict[str, _Share]
    formats: tuple[FormatRow, ...] = ()
    published: tuple[Published, ...] = ()
    source: str = "built-in"
    digest: str = ""

    @model_validator(mode="after")
    def _every_axis(self) -> Self:
        for name, axis in AXES.items():
            if name not in self.thresholds:
                raise ValueError(f"expected levels of `{name}`, got none")
            limits = self.thresholds[name].limits
            if wrong := axis.wrong(limits):
                raise ValueError(f"`{name}`: {wrong}, got {limits}")
        return self

    def level(self, axis: AxisName, value: float) -> Level:
        """The level of a value of an axis, which must be a number (it may be infinite)."""
        sign = 1 if AXES[axis].at_most else -1
        for level, limit in zip(LEVELS, self.thresholds[axis].limits, strict=False):
            if sign * value <= sign * limit:
                return level
        return LEVELS[-1]

    def level_range(self, axis: AxisName, low: float | None, high: float | None) -> LevelRange:
        """The levels of the two bounds of a value of an axis.

        Args:
            axis: of the value.
            low: lower bound; None or NaN if there is none.
            high: upper bound; likewise.
        """
        ends = (high, low) if AXES[axis].at_most else (low, high)
        worst, best = (
            None if end is None or math.isnan(end) else self.level(axis, end) for end in ends
        )
        return LevelRange(worst, best)

    def margin(self, capability: str) -> float:
        """What a capability may lose of its score, 0 to 1; for one that is not named, the least."""
        return self.margins.get(capability, min(self.margins.values(), default=0.0))

    def expected(self, format_name: str | None, bits: float | None) -> FormatRow | None:
        """The row of a variant's format; None where there is none: nothing is guessed."""
        return next((row for row in self.formats if row.matches(format_name, bits)), None)
