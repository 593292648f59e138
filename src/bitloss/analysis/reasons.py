"""Why a verdict has its level, in plain words: the axis that decided, and what it measured."""

from __future__ import annotations

from bitloss import wording as fmt
from bitloss.expectations import AXES, LEVELS
from bitloss.results.values import Estimate
from bitloss.results.verdicts import Verdict

__all__ = ["hidden_by_perplexity", "perplexity_text", "reason", "short_reason", "why"]


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
        shown = fmt.divergence_interval(found.estimate).in_unit("nats per token")
        return f"it diverges from the reference by {shown} on {found.corpus}"
    changed = fmt.share_interval(_rest(found.estimate))
    if verdict.decided_by == "top1_agreement":
        return f"its most likely token differs at {changed} of positions on {found.corpus}"
    return f"with the same luck, {changed} of tokens come out differently on {found.corpus}"


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
    acceptable = ("yes", "usually")
    if verdict.level is None or verdict.level in acceptable:
        return False
    return verdict.axes["relative_perplexity"].level in acceptable


def perplexity_text(verdict: Verdict) -> str:
    """The relative perplexity as a clause."""
    found = verdict.axes["relative_perplexity"]
    relative = found.estimate
    if relative.value == relative.low == relative.high == 1:
        return f"its perplexity is exactly the reference's on {found.corpus}"
    times = fmt.ratio_interval(relative).in_unit("times")
    return f"its perplexity is {times} the reference's on {found.corpus}"


def short_reason(verdict: Verdict) -> str:
    """The axis that decided, for a table."""
    return fmt.MISSING if verdict.decided_by is None else AXES[verdict.decided_by].short


def _rest(found: Estimate) -> Estimate:
    """What is left to a whole: the share that differs."""
    value, low, high = (
        None if x is None else 1.0 - x for x in (found.value, found.high, found.low)
    )
    return Estimate(value=value, low=low, high=high)
