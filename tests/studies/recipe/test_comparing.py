"""What a gain shows. Oracle: the definitions."""

from __future__ import annotations

import pytest

from bitloss.results import Estimate
from bitloss.studies.recipe.comparing import _family, verdict
from bitloss.studies.result import Step


def gain(value: float, half: float) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


@pytest.mark.parametrize(
    ("found", "p_value", "expected"),
    [
        (gain(2, 1), 0.001, "better"),
        (gain(-2, 1), 0.001, "worse"),
        (gain(2, 1), 0.06, "not shown"),
        (gain(2, 3), 0.2, "not shown"),
        (gain(2, 1), None, "not shown"),
        (Estimate(value=1.0, low=None, high=None), None, "not shown"),
    ],
)
def test_verdicts(found: Estimate, p_value: float | None, expected: str) -> None:
    assert verdict(found, p_value) == expected


def test_all_that_is_said_is_corrected_together() -> None:
    """One gain whose interval just excludes 0 is shown alone, not beside two that show nothing."""
    near = gain(1.0, 0.98)
    alone = _family(Step(before="a", after="b", corpora={"x": {"kl_divergence": near}}))
    assert alone["corpus", "x"] < 0.05
    others = {"y": gain(0.1, 1), "z": gain(-0.1, 1)}
    several = _family(
        Step(
            before="a", after="b",
            corpora={"x": {"kl_divergence": near}, "y": {"kl_divergence": others["y"]}},
            capabilities={"z": {"loss": others["z"]}},
        )
    )  # fmt: skip
    assert several["corpus", "x"] > 0.05
    assert len(several) == 3
