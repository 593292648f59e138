"""What suffers most. Oracle: losses put in by hand, and normal distributions."""

from __future__ import annotations

from statistics import NormalDist

import pytest

from bitloss.analysis.loss_ranking import SURE, ItemLosses, rank_losses
from bitloss.results import LossRanking
from bitloss.results.tasks import CapabilityResult
from verdict_parts import Limits, capability, losses

TEXT = "text completion"
Z = NormalDist().inv_cdf(0.975)


def lost(points: float, half: float = 1.0) -> CapabilityResult:
    """So many points of the score, with an interval of twice `half`."""
    return capability((-points / 100, (-points - half) / 100, (half - points) / 100))


def ranked(
    found: ItemLosses, results: dict[str, dict[str, CapabilityResult]]
) -> tuple[dict[str, LossRanking], LossRanking | None]:
    return rank_losses(found, results, lambda _: 0.02, {name: name for name in results})


def one(results: dict[str, CapabilityResult]) -> LossRanking:
    nothing = losses({name: {"q2": 0.0} for name in results})
    return ranked(nothing, {"q2": results})[0]["q2"]


def points(found: LossRanking) -> dict[str, float]:
    return {r.capability: 100 * (r.loss.value or 0.0) for r in found.ranking}


def test_the_largest_loss_is_named_with_what_it_is_beside_text_completion() -> None:
    # 20 - 2 points; half width sqrt(3^2 + 1^2) = 3.16.
    found = one({TEXT: lost(2), "math": lost(20, 3), "code": lost(5)})
    assert points(found) == pytest.approx({"math": 20, "code": 5, TEXT: 2})
    assert (found.baseline, found.worst) == (TEXT, "math")
    assert found.ranking[0].probability_worst > 0.999
    assert found.text == (
        "Of 3 capabilities, math suffers most: q2 loses 20.0 [17.0, 23.0] points, 18.0 [14.8, "
        "21.2] more than on text completion."
    )
    assert found.ranking[-1].excess is None


def test_the_expected_score_decides_where_it_stands_for_the_score() -> None:
    steady = capability((0.0, -0.05, 0.05), expected=(-0.04, -0.05, -0.03))
    found = one({TEXT: lost(0), "math": steady})
    first = found.ranking[0]
    assert (first.capability, first.decided_on, found.worst) == ("math", "expected score", "math")
    assert first.loss.value == pytest.approx(0.04)
    assert found.ranking[1].decided_on == "score"


def test_the_baseline_itself_may_suffer_most() -> None:
    found = one({TEXT: lost(8), "math": lost(1), "code": lost(2)})
    assert found.worst == TEXT
    assert found.text == (
        "Of 3 capabilities, text completion suffers most: q2 loses 8.0 [7.0, 9.0] points."
    )


def test_close_losses_are_not_decided() -> None:
    found = one({TEXT: lost(5), "math": lost(5.1), "code": lost(1)})
    assert found.worst is None
    assert found.text.startswith("No capability is shown to suffer most; it may be math (")
    assert "code" not in found.text
    assert sum(rank.probability_worst for rank in found.ranking) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("sigmas", "named"), [(2.1, True), (1.8, False)])
def test_the_worst_of_two_is_named_as_often_as_a_two_sided_test_says(
    sigmas: float, named: bool
) -> None:
    # Two losses with errors of 0.01: the difference has one of 0.01414, and Phi(1.96) = 0.975.
    error = 0.01
    gap = sigmas * error * 2**0.5
    found = one(
        {
            "math": capability((-0.3 - gap, -0.3 - gap - Z * error, -0.3 - gap + Z * error)),
            "code": capability((-0.3, -0.3 - Z * error, -0.3 + Z * error)),
        }
    )
    assert (found.worst == "math") is named
    assert pytest.approx(0.975) == SURE


def test_without_text_completion_there_is_a_ranking_all_the_same() -> None:
    found = one({"math": lost(10), "code": lost(2)})
    assert (found.baseline, found.worst) == (None, "math")
    assert [rank.excess for rank in found.ranking] == [None, None]
    assert found.text == "Of 2 capabilities, math suffers most: q2 loses 10.0 [9.0, 11.0] points."


def test_a_copy_of_the_reference_suffers_nowhere() -> None:
    same = capability((0.0, 0.0, 0.0))
    found, together = ranked(
        losses({TEXT: {"copy": 0.0}, "math": {"copy": 0.0}}),
        {"copy": {TEXT: same, "math": same}},
    )
    assert together is None
    assert found["copy"].worst is None
    assert found["copy"].text == "No loss: copy scores as the reference does on every item."
    assert [rank.probability_worst for rank in found["copy"].ranking] == [0, 0]


def test_one_capability_is_not_the_worst_of_one() -> None:
    found = one({"math": lost(10)})
    assert found.worst is None
    assert found.text == "Only math was evaluated, so there is nothing to rank."


def test_what_has_no_interval_leaves_the_worst_open() -> None:
    found = one({"math": lost(20), "code": capability((-0.1, None, None))})
    assert found.worst is None


def test_what_did_not_fall_suffers_nothing() -> None:
    found = one({"math": lost(0), "code": lost(-10)})
    assert found.worst is None
    assert found.ranking[1].probability_worst == 0


def test_scores_that_fell_significantly_are_told() -> None:
    fell: Limits = (-0.05, -0.08, -0.02)
    found = one(
        {
            "math": capability(fell, p_value=0.01),
            "code": capability(fell, p_value=0.06),
        }
    )
    assert found.text.endswith(" q2 scores lower on math by 5.0 [2.0, 8.0] points.")


def test_over_all_variants_items_are_averaged_first() -> None:
    # Math loses 20 and 40 points of every item: 30 on average; text completion none.
    means = {TEXT: {"a": 0.0, "b": 0.0}, "math": {"a": 0.2, "b": 0.4}}
    results = {
        name: {TEXT: lost(0), "math": lost(100 * means["math"][name])} for name in ("a", "b")
    }
    found, together = ranked(losses(means), results)
    assert found["b"].worst == "math"
    assert together is not None
    assert points(together) == pytest.approx({"math": 30, TEXT: 0})
    assert [rank.decided_on for rank in together.ranking] == ["expected score"] * 2
    assert together.text.startswith(
        "Of 2 capabilities, math suffers most: the 2 variants lose 30.0 ["
    )
    assert "] points on average, 30.0 [" in together.text


def test_a_variant_without_all_tasks_counts_in_no_mean() -> None:
    means = {TEXT: {"a": 0.0}, "math": {"a": 0.2}}
    results = {"a": {TEXT: lost(0), "math": lost(20)}, "b": {"math": lost(40)}}
    _, together = ranked(losses(means), results)
    assert together is not None
    assert points(together)["math"] == pytest.approx(20)
    assert "a loses 20.0 [" in together.text


def test_what_the_reference_cannot_do_is_left_out() -> None:
    found = losses({TEXT: {"a": 0.0}, "math": {"a": 0.2}}).without(["math"])
    assert list(found.changes) == [TEXT]
