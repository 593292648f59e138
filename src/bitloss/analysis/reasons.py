"""Why a verdict has its level, in plain words: the axis that decided, and what it measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from bitloss import wording as fmt
from bitloss.expectations import ACCEPTABLE, AXES, LEVELS
from bitloss.results.values import Estimate
from bitloss.results.verdicts import CapabilityVerdict, Verdict

__all__ = [
    "acceptable",
    "hidden_by_perplexity",
    "measurable",
    "perplexity_on",
    "perplexity_text",
    "reason",
    "short_reason",
    "verdict_word",
    "why",
]


def acceptable(verdict: Verdict) -> Literal["kept", "lost", "not shown"]:
    """``kept`` if the variant is shown to be acceptable in all that was measured, ``lost`` if it is
    shown not to be.
    """
    if verdict.corpus is not None and verdict.level is not None:
        if verdict.level not in ACCEPTABLE:
            return "lost" if verdict.settled else "not shown"
        return verdict.outcome or "kept"
    if verdict.corpus is not None:
        return "lost" if verdict.outcome == "lost" else "not shown"
    return verdict.outcome or "lost"


def measurable(verdict: Verdict) -> Mapping[str, CapabilityVerdict]:
    """The capabilities that a loss can be measured of."""
    return {n: one for n, one in verdict.capabilities.items() if one.outcome != "not measurable"}


def verdict_word(verdict: Verdict) -> str:
    """Whether it is acceptable, for a table: its level, unless a capability denies or doubts it."""
    if verdict.level is not None and verdict.level not in ACCEPTABLE:
        return verdict.level if verdict.settled else f"{verdict.level}?"
    if verdict.outcome == "lost":
        return "no"
    if verdict.corpus is not None and verdict.level is None:
        return fmt.MISSING
    if verdict.outcome == "not shown":
        return "not shown"
    if verdict.level is None:
        return "yes" if verdict.outcome == "kept" else fmt.MISSING
    return verdict.level if verdict.settled else f"{verdict.level}?"


def reason(verdict: Verdict) -> str:
    """What the axis that decided has measured, and on which corpus; a clause about the variant.

    Args:
        verdict: with a level.
    """
    assert verdict.decided_by is not None
    found = verdict.axes[verdict.decided_by]
    if verdict.decided_by == "relative_perplexity":
        return perplexity_text(verdict)
    if verdict.decided_by == "kl_divergence":
        shown = fmt.divergence_interval(found.estimate)
        if found.near_floor:
            shown = fmt.near_floor(shown)
        amount = shown.in_unit("nats per token")
        return f"it diverges from the reference by {amount} on {found.corpus}"
    changed = fmt.share_interval(_rest(found.estimate))
    if verdict.decided_by == "top1_agreement":
        return f"its most likely token differs at {changed} of positions on {found.corpus}"
    return f"{changed} of its next-token probability differs from the reference's on {found.corpus}"


def why(verdict: Verdict) -> str:
    """The reason, and what the perplexity alone would have said if that is better."""
    text = reason(verdict)
    alone = verdict.axes["relative_perplexity"].level
    if alone is None or verdict.level is None or LEVELS.index(alone) >= LEVELS.index(verdict.level):
        return text
    if alone == "yes":
        return f"{text}, although its perplexity hardly moved"
    return f"{text}, although its perplexity alone would be `{alone}`"


def hidden_by_perplexity(verdict: Verdict) -> bool:
    """Whether it is not acceptable, although its perplexity is."""
    if verdict.level is None or verdict.level in ACCEPTABLE:
        return False
    return verdict.axes["relative_perplexity"].level in ACCEPTABLE


def perplexity_text(verdict: Verdict) -> str:
    """The relative perplexity, on the corpus where it is the worst, as a clause."""
    found = verdict.axes["relative_perplexity"]
    return perplexity_on(found.estimate, found.corpus)


def perplexity_on(relative: Estimate, corpus: str) -> str:
    """The relative perplexity on a corpus as a clause."""
    if relative.value == relative.low == relative.high == 1:
        return f"its perplexity is exactly the reference's on {corpus}"
    times = fmt.ratio_interval(relative).in_unit("times")
    return f"its perplexity is {times} the reference's on {corpus}"


def short_reason(verdict: Verdict) -> str:
    """What decided, for a table: the axis, or the capability that lost most."""
    word = verdict_word(verdict)
    if word in ("no", "not shown"):
        outcome = "lost" if word == "no" else "not shown"
        ones = {n: one for n, one in verdict.capabilities.items() if one.outcome == outcome}
        return max(ones, key=lambda name: _excess(ones[name]))
    return fmt.MISSING if verdict.decided_by is None else AXES[verdict.decided_by].short


def _excess(one: CapabilityVerdict) -> float:
    """How far the upper limit of a loss is beyond the margin."""
    return math.inf if one.loss.high is None else one.loss.high - one.margin


def _rest(found: Estimate) -> Estimate:
    """What is left to a whole: the share that differs."""
    value, low, high = (
        None if x is None else 1.0 - x for x in (found.value, found.high, found.low)
    )
    return Estimate(value=value, low=low, high=high)
