"""Common claims. Oracle: losses to either side of the lines that the claims draw."""

from __future__ import annotations

import pytest

from bitloss.analysis.claims import BASELINE, check_claims, excess
from bitloss.results import Claim, Estimate

CLAIMS = {
    "instruction following": f"instruction following loses more than {BASELINE}",
    "math": "math suffers severely",
    "logic": "logic holds up",
}


def loss(points: float, half: float = 1.0) -> Estimate:
    return Estimate(value=points / 100, low=(points - half) / 100, high=(points + half) / 100)


def claims(**losses: Estimate) -> tuple[Claim, ...]:
    named = {name.replace("_", " "): one for name, one in losses.items()}
    return check_claims(named, lambda _: 0.02)


@pytest.mark.parametrize(
    ("name", "base", "points", "outcome"),
    [
        # Half widths of 1 and 1 make 1.41 beside the baseline, and 2.24 beside twice of it.
        ("instruction following", 3, 5, "supported"),
        ("instruction following", 3, 1, "contradicted"),
        ("instruction following", 3, 4, "undecided"),
        ("logic", 3, 1, "supported"),
        ("logic", 3, 5, "contradicted"),
        ("logic", 3, 2, "undecided"),
        ("math", 3, 9, "supported"),  # above 2, and 3 more than twice 3
        ("math", 3, 8, "undecided"),
        ("math", 3, 3, "contradicted"),  # 3 less than twice 3
        ("math", 3, 3.5, "undecided"),  # 2.5 less: it has two parts to be contradicted in
        ("math", 0, 0.5, "contradicted"),  # within the margin of 2 points
        ("math", -2, 2.5, "undecided"),  # more than twice -2, and perhaps within the margin
        ("math", 0, 4, "supported"),
    ],
)
def test_claims(name: str, base: float, points: float, outcome: str) -> None:
    (claim,) = claims(**{"text_completion": loss(base), name.replace(" ", "_"): loss(points)})
    assert (claim.text, claim.outcome) == (CLAIMS[name], outcome)


def test_the_reason_has_the_numbers() -> None:
    # 9 - 3 points; half width sqrt(3^2 + 1^2) = 3.16. 9 - 2 * 3; sqrt(3^2 + 2^2) = 3.61.
    base, other = loss(3), loss(9, 3)
    instructions, math = claims(text_completion=base, instruction_following=other, math=other)
    assert instructions.reason == (
        "6.0 [2.8, 9.2] points more than on text completion; the claim is above 0"
    )
    assert math.reason == (
        "9.0 [6.0, 12.0] points; the claim is more than 2, and 3.0 [-0.6, 6.6] more than 2 times "
        "the loss on text completion"
    )
    assert instructions.measured is not None
    assert instructions.measured.value == pytest.approx(0.06)
    assert math.measured == other


def test_limits_that_are_not_alike_go_to_their_own_sides() -> None:
    one = Estimate(value=0.5, low=0.47, high=0.51)
    other = Estimate(value=0.1, low=0.09, high=0.14)
    found = excess(one, other)
    # Below: the loss's own 0.03 and the other's upper 0.04; above 0.01 and 0.01.
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.35, 0.41414), abs=1e-5)


def test_nothing_to_hold_a_claim_against() -> None:
    (claim,) = claims(logic=loss(1))
    assert (claim.outcome, claim.measured) == ("undecided", None)
    assert claim.reason.startswith("text completion was not evaluated")
    unknown = Estimate(value=0.1, low=None, high=None)
    (claim,) = claims(text_completion=unknown, logic=loss(1))
    assert (claim.outcome, claim.reason) == ("undecided", "too few items for an interval")


def test_a_claim_that_nothing_was_asked_about_is_not_made() -> None:
    assert claims(text_completion=loss(1), code=loss(9)) == ()
