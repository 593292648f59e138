"""Three common claims about what quantization hurts, each with a definition that can be tested.

All three are about the *standardized loss*: how many times as much the gold answers of a capability
change as those of text completion. A claim is supported if all of the 95% interval is on its side
of the line, contradicted if all of it is on the other, else undecided.

An answer may change and stay right, so the scores count too: if the capability's fell
significantly more than that of text completion (or less) and the answers say the opposite, the
claim is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from bitloss import wording as fmt
from bitloss.metrics.intervals import Interval
from bitloss.results.values import Estimate
from bitloss.results.verdicts import Claim, RankedCapability

__all__ = [
    "BASELINE",
    "SEVERE",
    "check_claims",
    "instruction_following_loses_more",
    "logic_holds_up",
    "math_suffers_severely",
]

BASELINE = "text completion"
"""The capability that others are compared with."""

SEVERE = 2.0
"""How many times the baseline's change is severe."""

Ranking = Sequence[RankedCapability]


def check_claims(ranking: Ranking, *, silent: Sequence[str] = ()) -> tuple[Claim, ...]:
    """The claims about capabilities that were evaluated.

    Args:
        ranking: a variant's, or that of several together.
        silent: capabilities whose answers change by no more than the noise floor.
    """
    ranked = {one.capability for one in ranking}
    return tuple(
        claim(ranking, silent) for capability, claim in _CLAIMS.items() if capability in ranked
    )


def instruction_following_loses_more(ranking: Ranking, silent: Sequence[str]) -> Claim:
    """Instruction following loses more: its standardized loss is above 1."""
    return _claim(
        f"instruction following loses more than {BASELINE}",
        "instruction following", 1.0, ranking, silent,
    )  # fmt: skip


def math_suffers_severely(ranking: Ranking, silent: Sequence[str]) -> Claim:
    """Math suffers severely: its standardized loss is above `SEVERE`."""
    return _claim("math suffers severely", "math", SEVERE, ranking, silent)


def logic_holds_up(ranking: Ranking, silent: Sequence[str]) -> Claim:
    """Logic holds up: its standardized loss is below 1."""
    return _claim("logic holds up", "logic", 1.0, ranking, silent, below=True)


_CLAIMS: dict[str, Callable[[Ranking, Sequence[str]], Claim]] = {
    "instruction following": instruction_following_loses_more,
    "math": math_suffers_severely,
    "logic": logic_holds_up,
}


def _claim(
    text: str,
    capability: str,
    line: float,
    ranking: Ranking,
    silent: Sequence[str],
    *,
    below: bool = False,
) -> Claim:
    loss = next(one for one in ranking if one.capability == capability).standardized_loss
    if capability in silent:
        reason = f"{capability}: the answers change by no more than the noise floor"
        return Claim(text=text, outcome="undecided", reason=reason)
    if loss.value is None or loss.low is None or loss.high is None:
        reason = (
            f"nothing to divide by: {BASELINE} was not evaluated, or its answers change by no more "
            "than the noise floor"
            if loss.value is None
            else f"{capability} or {BASELINE}: too few items for an interval"
        )
        return Claim(text=text, outcome="undecided", reason=reason)
    outcome = _outcome(loss.low, loss.high, line, below=below)
    reasons = [
        f"{fmt.times_interval(loss)} times the change on {BASELINE}; the claim is "
        f"{'below' if below else 'above'} {line:g}"
    ]
    says_more = outcome == ("contradicted" if below else "supported")
    if outcome != "undecided" and (opposite := _opposite(ranking, capability, says_more)):
        outcome = "undecided"
        reasons.append(f"but {opposite}")
    return Claim(text=text, outcome=outcome, measured=loss, reason=", ".join(reasons))


def _opposite(ranking: Ranking, capability: str, says_more: bool) -> str:
    """What the scores say, if it is the opposite of the answers' changes; else empty.

    Args:
        ranking: with what each lost.
        capability: that the claim is about.
        says_more: whether the answers say that the capability loses more.
    """
    losses = {one.capability: one.loss for one in ranking}
    excess = _difference(losses[capability], losses[BASELINE])
    if excess is None or (excess.high >= 0 if says_more else excess.low <= 0):
        return ""
    size = Interval(abs(excess.value), *sorted(map(abs, (excess.low, excess.high))))
    return (
        f"its score loses {fmt.unsigned_points_interval(size)} points "
        f"{'less' if says_more else 'more'} than that of {BASELINE}"
    )


def _difference(one: Estimate, other: Estimate) -> Interval | None:
    """Of two losses on different items, whose errors are independent; None without limits."""
    if one.value is None or one.low is None or one.high is None:
        return None
    if other.value is None or other.low is None or other.high is None:
        return None
    value = one.value - other.value
    half = math.hypot(one.high - one.low, other.high - other.low) / 2
    return Interval(value, value - half, value + half)


def _outcome(
    low: float, high: float, line: float, *, below: bool
) -> Literal["supported", "contradicted", "undecided"]:
    if low > line:
        return "contradicted" if below else "supported"
    if high < line:
        return "supported" if below else "contradicted"
    return "undecided"
