"""Whether a variant is acceptable, and whether that is what its format leads to expect.

docs/verdicts.md says how each of these is decided, and why so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bitloss.expectations import Expectations
from bitloss.results.comparison import CorpusComparison, VariantResult
from bitloss.results.tasks import CapabilityResult
from bitloss.results.values import Estimate
from bitloss.results.verdicts import (
    CapabilityVerdict,
    Expected,
    Standing,
    Verdict,
)

__all__ = ["judge", "judge_loss", "loss_of", "recommend", "standing_of"]


def judge(variant: VariantResult, expectations: Expectations) -> Verdict | None:
    """The verdict on a variant; None for one that failed or was asked nothing.

    Args:
        variant: with its figures.
        expectations: levels, margins and what formats lose as a rule.
    """
    if variant.status == "failed" or not (variant.corpora or variant.capabilities):
        return None
    row = expectations.expected(variant.format, variant.bits)
    expected = None if row is None else Expected(**row.model_dump(exclude={"names"}))
    capabilities = {
        name: judge_loss(loss_of(result), expectations.margin(name))
        for name, result in (variant.capabilities or {}).items()
    }
    if not variant.corpora:
        return Verdict(level=None, expected=expected, capabilities=capabilities)
    corpus = _worst(variant.corpora)
    found = variant.corpora[corpus].relative_perplexity
    level = None if _unknown(found.high) else expectations.level(_number(found.high))
    return Verdict(
        level=level,
        corpus=corpus,
        relative_perplexity=found,
        settled=level is not None
        and not _unknown(found.low)
        and expectations.level(_number(found.low)) == level,
        expected=expected,
        standing=None if expected is None else standing_of(found, expected),
        capabilities=capabilities,
    )


def _worst(corpora: Mapping[str, CorpusComparison]) -> str:
    """The corpus with the highest upper limit; one without a limit may be anything, so it comes
    first."""

    def upper(name: str) -> float:
        high = corpora[name].relative_perplexity.high
        return math.inf if _unknown(high) else _number(high)

    return max(corpora, key=upper)


def standing_of(found: Estimate, expected: Expected) -> Standing | None:
    """A relative perplexity beside the range that is expected, none of its interval in it.

    Args:
        found: measured; None is returned where it has no limits.
        expected: of its format.
    """
    if _unknown(found.low) or _unknown(found.high):
        return None
    if _number(found.high) < expected.low:
        return "better"
    if expected.high is not None and _number(found.low) > expected.high:
        return "worse than expected"
    return "as expected"


def loss_of(capability: CapabilityResult) -> Estimate:
    """The share of its score that a capability lost: the difference with the other sign."""
    return capability.difference.negated()


def judge_loss(loss: Estimate, margin: float) -> CapabilityVerdict:
    """Non-inferiority: a loss is within the margin if all of its interval is.

    Args:
        loss: share of the score, reference minus variant.
        margin: the largest that is acceptable.
    """
    if not _unknown(loss.high) and _number(loss.high) <= margin:
        return CapabilityVerdict(loss=loss, margin=margin, outcome="within")
    if not _unknown(loss.low) and _number(loss.low) > margin:
        return CapabilityVerdict(loss=loss, margin=margin, outcome="exceeds")
    return CapabilityVerdict(loss=loss, margin=margin, outcome="undecided")


def recommend(variants: tuple[VariantResult, ...]) -> VariantResult | None:
    """The smallest variant that is acceptable in everything that was measured.

    Its level is ``yes`` or ``usually`` and no capability exceeds its margin. Where no corpus was
    scored nothing but the capabilities vouches for it, and all of them must be within.
    """
    acceptable = [one for one in variants if one.verdict is not None and _acceptable(one.verdict)]
    return min(acceptable, key=_size, default=None)


def _acceptable(verdict: Verdict) -> bool:
    outcomes = {one.outcome for one in verdict.capabilities.values()}
    if verdict.corpus is None:
        return outcomes == {"within"}
    return verdict.level in ("yes", "usually") and "exceeds" not in outcomes


def _size(variant: VariantResult) -> tuple[float, float]:
    stored, bits = variant.file_bytes, variant.bits_per_weight
    return (math.inf if stored is None else stored, math.inf if bits is None else bits)


def _unknown(limit: float | None) -> bool:
    return limit is None or math.isnan(limit)


def _number(limit: float | None) -> float:
    assert limit is not None
    return limit
