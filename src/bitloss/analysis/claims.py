"""Three common claims about what quantization hurts, each with a definition that can be tested.

All three are about losses of score (`bitloss.analysis.score_losses.deciding_loss`), two of them
beside the loss on text completion. A claim is supported if all of the 95% interval is on its side
of the line, contradicted if all of it is on the other, else undecided. It also has to be
significant among all of them, by Holm's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from bitloss import wording as fmt
from bitloss.analysis.score_losses import as_interval
from bitloss.metrics.intervals import Interval
from bitloss.metrics.multiple import SIGNIFICANT, PValue, adjust, beyond
from bitloss.results.values import Estimate
from bitloss.results.verdicts import Claim

__all__ = [
    "BASELINE",
    "SEVERE",
    "check_claims",
    "excess",
    "instruction_following_loses_more",
    "logic_holds_up",
    "math_suffers_severely",
]

BASELINE = "text completion"
"""The capability that others are compared with."""

SEVERE = 2.0
"""How many times the baseline's loss is severe."""

Losses = Mapping[str, Estimate]
Outcome = Literal["supported", "contradicted", "undecided"]


def check_claims(losses: Losses, margins: Callable[[str], float]) -> tuple[Claim, ...]:
    """The claims about capabilities that were evaluated.

    Args:
        losses: a variant's by capability, or those of several together; shares of the score.
        margins: how much of a capability may be lost.
    """
    claims: list[Claim] = []
    if "instruction following" in losses:
        claims.append(instruction_following_loses_more(losses))
    if "math" in losses:
        claims.append(math_suffers_severely(losses, margins("math")))
    if "logic" in losses:
        claims.append(logic_holds_up(losses))
    tests = {c.text: PValue(c.p_value) for c in claims if c.p_value is not None}
    adjusted = adjust(tests)
    return tuple(_among_all(claim, adjusted.get(claim.text)) for claim in claims)


def _among_all(claim: Claim, p_value: float | None) -> Claim:
    """With the adjusted p-value; undecided if that is no longer significant."""
    if claim.outcome == "undecided" or p_value is None or p_value < SIGNIFICANT:
        return claim.model_copy(update={"p_value": p_value})
    reason = f"{claim.reason}, but not significant among all claims (Holm's method)"
    return claim.model_copy(update={"p_value": p_value, "outcome": "undecided", "reason": reason})


def instruction_following_loses_more(losses: Losses) -> Claim:
    """Instruction following loses more points than text completion."""
    text = f"instruction following loses more than {BASELINE}"
    return _beside_baseline(text, losses["instruction following"], losses, below=False)


def logic_holds_up(losses: Losses) -> Claim:
    """Logic loses fewer points than text completion."""
    return _beside_baseline("logic holds up", losses["logic"], losses, below=True)


def math_suffers_severely(losses: Losses, margin: float) -> Claim:
    """Math loses more than its margin, and more than `SEVERE` times as much as text completion.

    Either alone says little: twice nothing is nothing, and a loss beyond the margin may be what
    everything loses.

    Args:
        losses: by capability.
        margin: of math.
    """
    text, loss = "math suffers severely", losses["math"]
    beyond_margin, p_values = _side(loss, margin), [_p_value(loss, margin)]
    reason = f"{fmt.unsigned_points_interval(loss)} points; the claim is more than {100 * margin:g}"
    if beyond_margin == "contradicted":
        return Claim(
            text=text, outcome="contradicted", measured=loss, p_value=_any(p_values), reason=reason
        )
    base = losses.get(BASELINE)
    if base is None:
        return Claim(text=text, outcome="undecided", reason=_NO_BASELINE)
    more = excess(loss, base, times=SEVERE)
    reason += (
        f", and {fmt.unsigned_points_interval(more)} more than {SEVERE:g} times the loss on "
        f"{BASELINE}"
    )
    outcomes = {beyond_margin, _side(more, 0.0)}
    p_values.append(_p_value(more, 0.0))
    outcome: Outcome = "undecided"
    if "contradicted" in outcomes:
        outcome = "contradicted"
        p_values = p_values[1:]
    elif outcomes == {"supported"}:
        outcome = "supported"
    p_value = _any(p_values) if outcome == "contradicted" else max(p_values)
    return Claim(text=text, outcome=outcome, measured=loss, p_value=p_value, reason=reason)


def _p_value(estimate: Estimate, line: float) -> float:
    """That a quantity is on a line, two-sided; 1 without an interval."""
    test = beyond(estimate, line)
    return 1.0 if test is None else test.p_value


def _any(p_values: Sequence[float]) -> float:
    """That neither of the claim's two parts is contradicted: either is enough, so each counts."""
    return min(1.0, 2 * min(p_values))


def excess(loss: Estimate, base: Estimate, *, times: float = 1.0) -> Estimate:
    """How much more is lost than so many times a baseline, on other items, which err
    independently; no bounds where one of the two has none.
    """
    one, other = as_interval(loss), as_interval(base)
    value = one.value - times * other.value
    if math.isnan(value):
        return Estimate(value=None, low=None, high=None)
    below = math.hypot(one.value - one.low, times * (other.high - other.value))
    above = math.hypot(one.high - one.value, times * (other.value - other.low))
    return Estimate.of(Interval(value, value - below, value + above))


_NO_BASELINE = f"{BASELINE} was not evaluated, or the reference is not shown to be able to do it"


def _beside_baseline(text: str, loss: Estimate, losses: Losses, *, below: bool) -> Claim:
    base = losses.get(BASELINE)
    if base is None:
        return Claim(text=text, outcome="undecided", reason=_NO_BASELINE)
    more = excess(loss, base)
    if more.low is None:
        return Claim(text=text, outcome="undecided", reason="too few items for an interval")
    reason = (
        f"{fmt.unsigned_points_interval(more)} points more than on {BASELINE}; the claim is "
        f"{'below' if below else 'above'} 0"
    )
    return Claim(
        text=text,
        outcome=_side(more, 0.0, below=below),
        measured=more,
        p_value=_p_value(more, 0.0),
        reason=reason,
    )


def _side(estimate: Estimate, line: float, *, below: bool = False) -> Outcome:
    if estimate.low is not None and estimate.low > line:
        return "contradicted" if below else "supported"
    if estimate.high is not None and estimate.high < line:
        return "supported" if below else "contradicted"
    return "undecided"
