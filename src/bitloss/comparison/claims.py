"""Three common claims about what quantization hurts, each with a definition that can be tested.

All three are about the *standardized loss*: how many times as far a variant diverges from the
reference on the right answers of a capability as on the baseline (text completion; the first corpus
where that was not asked). A claim is supported if all of the 95 % interval is on its side of the
line, contradicted if all of it is on the other, else undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from bitloss.comparison import format as fmt
from bitloss.comparison.values import Estimate
from bitloss.comparison.verdict_result import Claim, RankedCapability

__all__ = [
    "SEVERE",
    "check_claims",
    "instruction_following_loses_more",
    "logic_holds_up",
    "math_suffers_severely",
]

SEVERE = 2.0
"""How many times the baseline's divergence is severe."""

Ranking = Sequence[RankedCapability]


def check_claims(
    ranking: Ranking, baseline: str, *, silent: Sequence[str] = ()
) -> tuple[Claim, ...]:
    """The claims about capabilities that were asked.

    Args:
        ranking: a variant's, or that of several together.
        baseline: what its losses were divided by.
        silent: capabilities whose divergence is within the noise floor.
    """
    asked = {one.capability for one in ranking}
    return tuple(
        claim(ranking, baseline, silent)
        for capability, claim in _CLAIMS.items()
        if capability in asked
    )


def instruction_following_loses_more(
    ranking: Ranking, baseline: str, silent: Sequence[str]
) -> Claim:
    """Instruction following loses more: its standardized loss is above 1."""
    return _claim(
        f"instruction following loses more than {baseline}",
        "instruction following", 1.0, ranking, baseline, silent,
    )  # fmt: skip


def math_suffers_severely(ranking: Ranking, baseline: str, silent: Sequence[str]) -> Claim:
    """Math suffers severely: its standardized loss is above `SEVERE`."""
    return _claim("math suffers severely", "math", SEVERE, ranking, baseline, silent)


def logic_holds_up(ranking: Ranking, baseline: str, silent: Sequence[str]) -> Claim:
    """Logic holds up: its standardized loss is below 1."""
    return _claim("logic holds up", "logic", 1.0, ranking, baseline, silent, below=True)


_CLAIMS: dict[str, Callable[[Ranking, str, Sequence[str]], Claim]] = {
    "instruction following": instruction_following_loses_more,
    "math": math_suffers_severely,
    "logic": logic_holds_up,
}


def _claim(
    text: str,
    capability: str,
    line: float,
    ranking: Ranking,
    baseline: str,
    silent: Sequence[str],
    *,
    below: bool = False,
) -> Claim:
    found = next(one for one in ranking if one.capability == capability).standardized_loss
    if capability in silent:
        reason = f"{capability}: the divergence is within the noise floor"
        return Claim(text=text, outcome="undecided", reason=reason)
    if found.value is None or found.low is None or found.high is None:
        reason = (
            f"nothing to divide by: {baseline} was not asked, or its divergence is within the "
            "noise floor"
            if found.value is None
            else f"{capability} or {baseline}: too few items for an interval"
        )
        return Claim(text=text, outcome="undecided", reason=reason)
    return Claim(
        text=text,
        outcome=_outcome(found, line, below=below),
        measured=found,
        reason=f"{fmt.times_interval(found.value, found.low, found.high)} times the divergence of "
        f"{baseline}; the claim is {'below' if below else 'above'} {line:g}",
    )


def _outcome(
    found: Estimate, line: float, *, below: bool
) -> Literal["supported", "contradicted", "undecided"]:
    assert found.low is not None
    assert found.high is not None
    if found.low > line:
        return "contradicted" if below else "supported"
    if found.high < line:
        return "supported" if below else "contradicted"
    return "undecided"
