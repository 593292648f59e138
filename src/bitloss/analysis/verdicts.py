"""Whether a variant is acceptable, and whether its loss is usual for its format.

docs/verdicts.md says how each of these is decided, and why so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from bitloss.analysis.axes import judge_axes
from bitloss.expectations import LEVELS, Expectations, Level
from bitloss.results.models import VariantResult
from bitloss.results.tasks import Ability, CapabilityResult
from bitloss.results.values import Estimate, existing
from bitloss.results.verdicts import CapabilityVerdict, Expected, Standing, Verdict

__all__ = [
    "compare_with_expected",
    "judge",
    "judge_loss",
    "loss_of",
    "recommend",
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
        name: judge_loss(
            loss_of(result), expectations.margin(name), measurable=name not in unmeasurable
        )
        for name, result in (variant.capabilities or {}).items()
    }
    if not corpora:
        return Verdict(level=None, expected=expected, capabilities=capabilities)
    found = judge_axes(corpora, expectations)
    level = found.levels.worst
    return Verdict(
        level=level,
        decided_by=None if level is None else found.decided_by,
        corpus=found.axes[found.decided_by].corpus,
        settled=found.levels.settled,
        axes=found.axes,
        expected=expected,
        standing=_standing(found.axes["relative_perplexity"].estimate, level, expected),
        capabilities=capabilities,
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


def loss_of(capability: CapabilityResult) -> Estimate:
    """The share of its score that a capability lost: the difference with the other sign."""
    return capability.difference.negated()


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


def judge_loss(loss: Estimate, margin: float, *, measurable: bool = True) -> CapabilityVerdict:
    """Non-inferiority: a loss is within the margin if all of its interval is.

    Args:
        loss: share of the score, reference minus variant.
        margin: the largest that is acceptable.
        measurable: whether the reference had something to lose.
    """
    if not measurable:
        return CapabilityVerdict(loss=loss, margin=margin, outcome="not measurable")
    low, high = existing(loss.low), existing(loss.high)
    if high is not None and high <= margin:
        return CapabilityVerdict(loss=loss, margin=margin, outcome="within")
    if low is not None and low > margin:
        return CapabilityVerdict(loss=loss, margin=margin, outcome="exceeds")
    return CapabilityVerdict(loss=loss, margin=margin, outcome="undecided")


def recommend(variants: tuple[VariantResult, ...]) -> VariantResult | None:
    """The smallest variant that is acceptable in everything that was measured.

    Its level is ``yes`` or ``usually`` and no capability exceeds its margin. If no corpus was
    scored, all capabilities must be within their margins.
    """
    acceptable = [one for one in variants if one.verdict is not None and _acceptable(one.verdict)]
    return min(acceptable, key=_size, default=None)


def _acceptable(verdict: Verdict) -> bool:
    outcomes = {one.outcome for one in verdict.capabilities.values()} - {"not measurable"}
    if verdict.corpus is None:
        return outcomes == {"within"}
    return verdict.level in ("yes", "usually") and "exceeds" not in outcomes


def _size(variant: VariantResult) -> tuple[float, float]:
    stored, bits = variant.file_bytes, variant.bits_per_weight
    return (math.inf if stored is None else stored, math.inf if bits is None else bits)
