"""Whether a variant is acceptable, and whether its loss is usual for its format.

docs/verdicts.md says how each of these is decided, and why so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from bitloss.expectations import Expectations
from bitloss.results.corpora import CorpusComparison
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
    corpus = _worst(corpora)
    relative = corpora[corpus].relative_perplexity
    low, high = existing(relative.low), existing(relative.high)
    level = None if high is None else expectations.level(high)
    return Verdict(
        level=level,
        corpus=corpus,
        relative_perplexity=relative,
        settled=level is not None and low is not None and expectations.level(low) == level,
        expected=expected,
        standing=None if expected is None else compare_with_expected(relative, expected),
        capabilities=capabilities,
    )


def _is_simulated(variant: VariantResult) -> bool:
    """Whether a recipe stored quantized values as plain floats.

    The format of the file then says nothing about how the values were made.
    """
    return variant.recipe is not None and (variant.format or "").startswith("safetensors-")


def _worst(corpora: Mapping[str, CorpusComparison]) -> str:
    """The corpus with the highest upper bound; one without a bound may be anything, so it comes
    first."""

    def upper(name: str) -> float:
        high = existing(corpora[name].relative_perplexity.high)
        return math.inf if high is None else high

    return max(corpora, key=upper)


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
