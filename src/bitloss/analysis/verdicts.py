"""Whether a variant is acceptable, and whether its loss is usual for its format.

docs/verdicts.md says how each of these is decided, and why so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from bitloss.analysis.axes import judge_axes
from bitloss.analysis.score_losses import as_interval
from bitloss.expectations import LEVELS, Expectations, Level
from bitloss.metrics.paired import mean_interval
from bitloss.results.models import VariantResult
from bitloss.results.tasks import Ability, CapabilityResult, VariantTask
from bitloss.results.values import Estimate, existing
from bitloss.results.verdicts import (
    CapabilityOutcome,
    CapabilityVerdict,
    Expected,
    ScoreKind,
    Standing,
    Verdict,
)

__all__ = [
    "compare_with_expected",
    "decided_on",
    "deciding_loss",
    "is_contradicted",
    "judge",
    "judge_loss",
    "loss_of",
    "pool",
    "without_ability",
]


def judge(
    variant: VariantResult, expectations: Expectations, unmeasurable: Collection[str] = ()
) -> Verdict | None:
    """The verdict on a variant; None if it failed or has no results.

    Args:
        variant: with its results.
        expectations: levels, margins and what formats lose as a rule.
        unmeasurable: capabilities that the reference does not have (`without_ability`).
    """
    if variant.status == "failed" or not (variant.corpora or variant.capabilities):
        return None
    corpora = {name: one for name, one in variant.corpora.items() if not one.out_of_domain}
    row = None
    if not _is_simulated(variant):
        row = expectations.expected(variant.format, variant.bits)
    expected = None if row is None else Expected(**row.model_dump(exclude={"names"}))
    capabilities = {
        name: judge_loss(result, expectations.margin(name), measurable=name not in unmeasurable)
        for name, result in (variant.capabilities or {}).items()
    }
    verdict = Verdict(
        level=None,
        expected=expected,
        capabilities=capabilities,
        outcome=_together(capabilities),
        pooled=pool(capabilities),
    )
    if not corpora:
        return verdict
    found = judge_axes(corpora, expectations)
    level = found.levels.worst
    return verdict.model_copy(
        update={
            "level": level,
            "decided_by": None if level is None else found.decided_by,
            "corpus": found.axes[found.decided_by].corpus,
            "settled": found.levels.settled,
            "axes": found.axes,
            "standing": _standing(found.axes["relative_perplexity"].estimate, level, expected),
        }
    )


def _is_simulated(variant: VariantResult) -> bool:
    """Whether a recipe stored quantized values as plain floats.

    The format of the file then says nothing about how the values were made.
    """
    return variant.recipe is not None and (variant.format or "").startswith("safetensors-")


def _standing(
    relative: Estimate, level: Level | None, expected: Expected | None
) -> Standing | None:
    """How the perplexity compares with what is expected; no praise for what is less acceptable."""
    if expected is None:
        return None
    standing = compare_with_expected(relative, expected)
    worse = level is None or LEVELS.index(level) > LEVELS.index(expected.level)
    return None if standing == "better" and worse else standing


def compare_with_expected(relative: Estimate, expected: Expected) -> Standing | None:
    """Whether a relative perplexity is outside the expected range, with all of its interval.

    Args:
        relative: measured; without bounds the answer is None.
        expected: of its format.
    """
    low, high = existing(relative.low), existing(relative.high)
    if low is None or high is None:
        return None
    if high < expected.low:
        return "better"
    if expected.high is not None and low > expected.high:
        return "worse than expected"
    return "as expected"


def loss_of(result: CapabilityResult | VariantTask) -> Estimate:
    """The share of its score that was lost: the difference with the other sign."""
    return result.difference.negated()


def deciding_loss(result: CapabilityResult | VariantTask) -> Estimate:
    """The loss that decides: of the expected score, where that stands for the score."""
    expected = result.expected_difference
    return loss_of(result) if expected is None else expected.negated()


def decided_on(result: CapabilityResult | VariantTask) -> ScoreKind:
    """Which of the two the deciding loss is of."""
    return "score" if result.expected_difference is None else "expected score"


def is_contradicted(result: CapabilityResult | VariantTask, margin: float) -> bool:
    """Whether score and expected score are on opposite sides of a margin: a flatter distribution
    loses expected score and no item. Then neither is believed.
    """
    sides = {_side(deciding_loss(result), margin), _side(loss_of(result), margin)}
    return sides == {"kept", "lost"}


def without_ability(
    abilities: Mapping[str, Ability], expectations: Expectations
) -> tuple[str, ...]:
    """The capabilities in which no loss can be measured.

    The reference is not shown to do better than guessing, or by no more than the margin: then
    every variant would be found to be within it.

    Args:
        abilities: the reference's, by capability.
        expectations: with the margins.
    """
    return tuple(
        name
        for name, one in abilities.items()
        if not one.measurable or one.score - one.chance <= expectations.margin(name)
    )


def judge_loss(
    capability: CapabilityResult, margin: float, *, measurable: bool = True
) -> CapabilityVerdict:
    """Non-inferiority: a capability is kept if all of its loss's interval is within the margin.

    Args:
        capability: what was lost.
        margin: the largest loss that is acceptable.
        measurable: whether the reference had something to lose.
    """
    loss = deciding_loss(capability)
    outcome: CapabilityOutcome = _side(loss, margin)
    contradicted = measurable and is_contradicted(capability, margin)
    if not measurable:
        outcome = "not measurable"
    return CapabilityVerdict(
        loss=loss,
        decided_on=decided_on(capability),
        margin=margin,
        outcome="not shown" if contradicted else outcome,
        contradicted=contradicted or None,
        n_scored=capability.n_scored,
    )


def _side(loss: Estimate, margin: float) -> Literal["kept", "lost", "not shown"]:
    low, high = existing(loss.low), existing(loss.high)
    if high is not None and high <= margin:
        return "kept"
    return "lost" if low is not None and low > margin else "not shown"


def _together(
    capabilities: Mapping[str, CapabilityVerdict],
) -> Literal["kept", "lost", "not shown"] | None:
    outcomes = {one.outcome for one in capabilities.values()} - {"not measurable"}
    if not outcomes:
        return None
    if "lost" in outcomes:
        return "lost"
    return "kept" if outcomes == {"kept"} else "not shown"


def pool(capabilities: Mapping[str, CapabilityVerdict]) -> CapabilityVerdict | None:
    """The mean loss of the measurable capabilities against the mean of their margins."""
    ones = [one for one in capabilities.values() if one.outcome != "not measurable"]
    if not ones:
        return None
    loss = Estimate.of(mean_interval([as_interval(one.loss) for one in ones]))
    margin = sum(one.margin for one in ones) / len(ones)
    expected = any(one.decided_on == "expected score" for one in ones)
    return CapabilityVerdict(
        loss=loss,
        decided_on="expected score" if expected else "score",
        margin=margin,
        outcome=_side(loss, margin),
        n_scored=sum(one.n_scored for one in ones),
    )
