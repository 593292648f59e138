"""What a variant's results mean: is the loss acceptable, and which capability suffers most."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bitloss.expectations import AxisName, Level
from bitloss.results.values import OMIT_NULL, Estimate, Frozen

__all__ = [
    "Answer",
    "AxisVerdict",
    "CapabilityOutcome",
    "CapabilityVerdict",
    "Claim",
    "Expected",
    "Level",
    "LossRanking",
    "RankedCapability",
    "ScoreKind",
    "Standing",
    "Verdict",
]

CapabilityOutcome = Literal["kept", "lost", "not shown", "not measurable"]
ScoreKind = Literal["score", "expected score"]
Standing = Literal["better", "as expected", "worse than expected"]


class Expected(Frozen):
    """What variants of a format lose as a rule.

    Attributes:
        format: as in the table of expectations.
        bits: nominal.
        low: of the relative perplexity.
        high: null if the table has no upper end.
        level: the verdict that the table gives the format.
        source: where the row comes from.
    """

    format: str
    bits: float
    low: float
    high: float | None
    level: Level
    source: str


class CapabilityVerdict(Frozen):
    """A capability's loss against the margin that was set for it.

    Attributes:
        loss: share of the score that was lost (reference minus variant, 0 to 1), with bounds: of
            the expected score where that stands for the score, else of the score.
        decided_on: which of the two.
        margin: loss that is still acceptable.
        outcome: ``kept`` if the upper bound is at most the margin (non-inferior), ``lost`` if the
            lower bound is above it and `p_value` is below 0.05, else ``not shown``; ``not
            measurable`` where the reference has no ability that exceeds the margin, so that nothing
            could be lost.
        p_value: that no more than the margin was lost, two-sided, adjusted for all variants and
            capabilities of the page (`bitloss.analysis.families`): ``lost`` needs less than 0.05.
            Absent where there is no such test: an exact copy, no interval, not measurable.
        contradicted: true where score and expected score say the opposite, which leaves the
            outcome ``not shown``; else absent.
        n_scored: items behind it.
    """

    loss: Estimate
    decided_on: ScoreKind = "score"
    margin: float
    outcome: CapabilityOutcome
    p_value: Annotated[float | None, OMIT_NULL] = None
    contradicted: Annotated[bool | None, OMIT_NULL] = None
    n_scored: int = Field(default=0, ge=0)


class AxisVerdict(Frozen):
    """One axis of a verdict, on the corpus where it is the worst.

    Attributes:
        estimate: the value there, with bounds.
        level: by the pessimistic bound, the upper one of perplexity and divergence, the lower one
            of agreement and overlap; null if a corpus has no interval.
        settled: whether the other bounds, on all corpora, give the same level.
        corpus: the one with the worst level.
        near_floor: true if its divergence is within ten noise floors: the floor is then not held
            against the variant; else absent.
    """

    estimate: Estimate
    level: Level | None
    settled: bool
    corpus: str
    near_floor: Annotated[bool | None, OMIT_NULL] = None


class Verdict(Frozen):
    """Whether a variant is acceptable.

    Attributes:
        level: of the worst axis; null if no corpus was scored, or one on so few windows that
            they have no interval.
        decided_by: the axis with that level, the first in the order of `axes`; null without a
            level.
        corpus: on which; without a level, one that has no interval.
        settled: whether the other bounds of the axes give the same level.
        axes: by name; empty if no corpus was scored.
        expected: what variants of its format lose as a rule; null if the table has no such row.
        standing: relative perplexity beside expected; null without either, and where it would be
            ``better`` although the level is worse than the one that is expected.
        standing_corpus: on which it is ``worse than expected``; else absent.
        standing_p_value: that the relative perplexity is within the range, two-sided, adjusted for
            all variants and corpora of the page; absent if it is as expected.
        capabilities: by name.
        outcome: of the measurable capabilities: ``lost`` if one is, ``kept`` if all are, else
            ``not shown``; null if there are none.
        pooled: their mean loss against the mean of their margins; null if there are none.
    """

    level: Level | None
    decided_by: AxisName | None = None
    corpus: str | None = None
    settled: bool = False
    axes: dict[AxisName, AxisVerdict] = Field(default_factory=dict)
    expected: Expected | None = None
    standing: Standing | None = None
    standing_corpus: Annotated[str | None, OMIT_NULL] = None
    standing_p_value: Annotated[float | None, OMIT_NULL] = None
    capabilities: dict[str, CapabilityVerdict] = Field(default_factory=dict)
    outcome: Literal["kept", "lost", "not shown"] | None = None
    pooled: CapabilityVerdict | None = None

    @property
    def relative_perplexity(self) -> Estimate | None:
        """On the corpus where it is the worst."""
        axis = self.axes.get("relative_perplexity")
        return None if axis is None else axis.estimate


class RankedCapability(Frozen):
    """A capability among those of a variant.

    Attributes:
        capability: its name.
        loss: share of the score that was lost, as in `CapabilityVerdict`.
        decided_on: likewise.
        excess: how much more that is than on text completion; null if that was not evaluated or
            cannot be measured, and for itself.
        probability_worst: that the score fell, and no other capability's fell more.
    """

    capability: str
    loss: Estimate
    decided_on: ScoreKind = "score"
    excess: Estimate | None = None
    probability_worst: float = Field(ge=0, le=1)


class Claim(Frozen):
    """A common claim, put to the test.

    Attributes:
        text: the claim, in a sentence.
        outcome: what the results say of it.
        measured: the number that decides, with bounds; null if it could not be measured.
        p_value: that it is on the line, two-sided, adjusted for the claims of the ranking: a claim
            that is decided needs less than 0.05. Absent if it could not be measured.
        reason: in words.
    """

    text: str
    outcome: Literal["supported", "contradicted", "undecided"]
    measured: Estimate | None = None
    p_value: Annotated[float | None, OMIT_NULL] = None
    reason: str = ""


class LossRanking(Frozen):
    """Which capability of a variant suffers most.

    Attributes:
        baseline: the capability that others are held against; null if it was not evaluated.
        ranking: by loss, the worst first.
        worst: the capability that truly lost most with 97.5% probability, so that of two that lost
            the same neither is named in 95% of runs; null if none is.
        claims: common claims, tested on this variant.
        text: what is significant, in a sentence or two.
    """

    baseline: str | None
    ranking: tuple[RankedCapability, ...]
    worst: str | None
    claims: tuple[Claim, ...] = ()
    text: str = ""


class Answer(Frozen):
    """The answer of the whole run.

    Attributes:
        paragraphs: in plain words, only what is significant; the recommendation first.
        recommended: the smallest variant that is shown to be acceptable in everything that was
            measured; null if there is none.
        least_risky: if none is recommended, the one with the least to prove; else absent.
        loss_ranking: over all variants that lost something; null if nothing was lost or no task
            was run.
        expectations: ``built-in``, or the path of the user's file, and its sha256 (hex).
    """

    paragraphs: tuple[str, ...]
    recommended: str | None = None
    least_risky: Annotated[str | None, OMIT_NULL] = None
    loss_ranking: Annotated[LossRanking | None, OMIT_NULL] = None
    expectations: tuple[str, str] = ("built-in", "")

    @property
    def text(self) -> str:
        """All paragraphs as one."""
        return " ".join(self.paragraphs)
