"""What suffers most. Oracle: changes of answers put in by hand, so that their ratios are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitloss.analysis.loss_ranking import AnswerLosses, rank_losses
from bitloss.metrics.intervals import Series
from bitloss.results import LossRanking
from bitloss.results.tasks import CapabilityResult
from verdict_parts import capability, items, losses, unchanged

TEXT = "text completion"


def results(found: AnswerLosses, **changes) -> dict[str, dict[str, CapabilityResult]]:
    """Figures that go with the changes; scores as given by capability, else unchanged."""
    by_variant: dict[str, dict[str, CapabilityResult]] = {}
    for name, (task,) in found.changes.items():
        for variant, series in task.items():
            mean = float(np.average(series.means, weights=series.weights))
            one = capability(**{"answers": mean, **changes.get(name.replace(" ", "_"), {})})
            by_variant.setdefault(variant, {})[name] = one
    return by_variant


def ranked(found: AnswerLosses, **changes) -> tuple[dict[str, LossRanking], LossRanking | None]:
    return rank_losses(found, results(found, **changes))


def standardized(found: LossRanking) -> dict[str, float | None]:
    return {one.capability: one.standardized_loss.value for one in found.ranking}


def one(means: dict[str, float], **other) -> LossRanking:
    found, _ = ranked(losses({n: {"q2": m} for n, m in means.items()}, **other))
    return found["q2"]


def test_losses_are_divided_by_text_completions() -> None:
    found = one({TEXT: 0.01, "math": 0.03, "code": 0.02, "logic": 0.005})
    assert found.baseline == TEXT
    assert standardized(found) == pytest.approx({"math": 3, "code": 2, TEXT: 1, "logic": 0.5})
    assert [rank.capability for rank in found.ranking] == ["math", "code", TEXT, "logic"]
    base = found.ranking[2].standardized_loss
    assert (base.low, base.high) == (1, 1)
    worst = found.ranking[0]
    assert worst.probability_worst > 0.99
    assert worst.standardized_loss.low is not None
    assert worst.standardized_loss.high is not None
    assert worst.standardized_loss.low < 3 < worst.standardized_loss.high
    assert found.worst_by_answers == "math"


def test_the_sentence() -> None:
    found = one({TEXT: 0.01, "math": 0.03})
    interval = found.ranking[0].standardized_loss
    assert found.text == (
        "By its answers, math suffers most of 2 capabilities: q2 changes them 3.0 times "
        f"[{interval.low:.1f}, {interval.high:.1f}] as much as those of text completion."
    )


def test_the_baseline_itself_may_suffer_most() -> None:
    found = one({TEXT: 0.04, "math": 0.01, "code": 0.02})
    assert found.worst_by_answers == TEXT
    assert found.text.startswith(
        "By its answers, text completion suffers most of 3 capabilities: q2 changes them 2.0 "
        "times ["
    )
    assert found.text.endswith("as much as those of code, the next.")


def test_close_losses_are_not_decided() -> None:
    found = one({TEXT: 0.01, "math": 0.0101, "code": 0.002}, n=20)
    assert found.worst_by_answers is None
    assert found.text.startswith("No capability is shown to suffer most; it may be ")
    assert "math (" in found.text
    assert "code" not in found.text
    assert sum(rank.probability_worst for rank in found.ranking) == pytest.approx(1)


def test_the_baseline_does_not_decide_which() -> None:
    means = {"math": 0.03, "code": 0.01}
    with_text, without = one({**means, TEXT: 0.001}), one(means)
    assert with_text.worst_by_answers == without.worst_by_answers == "math"
    assert standardized(without) == {"math": None, "code": None}
    assert without.baseline is None
    assert "math suffers most of 2 capabilities: q2 changes them 3.0 times [" in without.text
    assert without.text.endswith("as those of code, the next.")


def test_a_baseline_within_its_noise_floor_divides_nothing() -> None:
    found = one({TEXT: 0.01, "math": 0.03, "code": 0.01}, floors={TEXT: 0.02})
    assert standardized(found) == {"math": None, "code": None, TEXT: None}


def test_what_is_within_its_noise_floor_says_nothing() -> None:
    # Math changes most, but its task's own noise is as large.
    found = one({TEXT: 0.01, "math": 0.03, "code": 0.002}, floors={"math": 0.03001})
    assert found.worst_by_answers is None
    math_rank = found.ranking[-1]
    assert (math_rank.capability, math_rank.probability_worst) == ("math", 0)
    assert (math_rank.standardized_loss.low, math_rank.standardized_loss.high) == (None, None)
    # It may be anything up to its floor, and nothing else is above that.
    assert all(rank.probability_worst < 0.05 for rank in found.ranking)
    claim = next(claim for claim in found.claims if claim.text == "math suffers severely")
    assert claim.outcome == "undecided"
    assert "noise floor" in claim.reason
    assert "On math answers change by no more than the noise floor." in found.text


def test_above_every_floor_the_worst_is_found_beside_silent_ones() -> None:
    found = one({TEXT: 0.01, "math": 0.0001, "code": 0.05}, floors={"math": 0.001})
    assert found.worst_by_answers == "code"
    assert found.text.endswith("On math answers change by no more than the noise floor.")


def test_a_copy_of_the_reference_suffers_nowhere() -> None:
    found, together = ranked(losses({TEXT: {"copy": 0.0}, "math": {"copy": 0.0}}, floor=0.0))
    one = found["copy"]
    assert together is None
    assert one.worst_by_answers is None
    assert one.text == "No loss: copy matches the reference on every gold answer."
    assert [rank.probability_worst for rank in one.ranking] == [0, 0]
    assert {claim.outcome for claim in one.claims} == {"undecided"}


def test_losses_below_the_floor_cannot_be_seen() -> None:
    found, together = ranked(losses({TEXT: {"q8": 1e-9}, "math": {"q8": 2e-9}}))
    assert together is None
    assert found["q8"].text == (
        "No measurable loss: q8 changes gold answers by no more than the noise floor."
    )


def test_one_capability_is_not_the_worst_of_one() -> None:
    found = one({"math": 0.03})
    assert found.worst_by_answers is None
    assert found.text == "Only math was evaluated, so there is nothing to rank."


def test_too_few_items_decide_nothing() -> None:
    found = one({TEXT: 0.01, "math": 0.5}, n=1)
    assert found.worst_by_answers is None
    assert found.ranking[0].standardized_loss.value == pytest.approx(50)
    assert found.ranking[0].standardized_loss.low is None


def test_scores_that_fell_significantly_are_told() -> None:
    means = {TEXT: {"q2": 0.01}, "math": {"q2": 0.03}, "code": {"q2": 0.01}}
    found, _ = ranked(
        losses(means),
        math={"change": (-0.05, -0.08, -0.02), "p_value": 0.01},
        code={"change": (-0.05, -0.08, -0.02), "p_value": 0.06},
    )
    assert found["q2"].text.endswith(" q2 scores lower on math by 5.0 [2.0, 8.0] points.")


def test_over_all_variants_each_counts_the_same() -> None:
    # Geometric means by hand: math sqrt(4 * 1) = 2, code sqrt(1 * 9) = 3.
    found, together = ranked(
        losses(
            {
                TEXT: {"a": 0.001, "b": 0.1},
                "math": {"a": 0.004, "b": 0.1},
                "code": {"a": 0.001, "b": 0.9},
            }
        )
    )
    assert found["a"].worst_by_answers == "math"
    assert found["b"].worst_by_answers == "code"
    assert together is not None
    assert standardized(together) == pytest.approx({"code": 3, "math": 2, TEXT: 1})
    assert together.worst_by_answers == "code"
    assert together.ranking[0].answer_change.value == pytest.approx(math.sqrt(0.001 * 0.9))
    assert "the 2 variants change them 3.0 times [" in together.text


def test_over_one_variant_is_that_variant() -> None:
    found, together = ranked(losses({TEXT: {"q2": 0.01}, "math": {"q2": 0.03}}))
    assert together is not None
    assert standardized(together) == standardized(found["q2"])
    assert together.text == found["q2"].text
    assert [r.probability_worst for r in together.ranking] == [
        r.probability_worst for r in found["q2"].ranking
    ]


def test_variants_that_lost_nothing_do_not_count() -> None:
    _, together = ranked(
        losses({TEXT: {"q2": 0.01, "copy": 0.0}, "math": {"q2": 0.03, "copy": 0.0}}, floor=0.0)
    )
    assert together is not None
    assert standardized(together) == pytest.approx({"math": 3, TEXT: 1})
    assert "q2 changes them 3.0 times" in together.text


def test_capabilities_err_independently() -> None:
    # Other items with the very same changes: neither is known to be the larger.
    same = items(0.01, 0)
    found, _ = ranked(
        AnswerLosses(
            {TEXT: [{"q": same}], "math": [{"q": same}]},
            {TEXT: 0.0, "math": 0.0},
            scores={TEXT: [{"q": items(0, 0)}], "math": [{"q": items(0, 0)}]},
            seed=0,
        )
    )
    math_rank = next(rank for rank in found["q"].ranking if rank.capability == "math")
    interval = math_rank.standardized_loss
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < 0.95 < 1.05 < interval.high
    assert math_rank.probability_worst == pytest.approx(0.5, abs=0.05)


def test_other_tasks_do_not_change_a_capabilitys_draws() -> None:
    few = one({TEXT: 0.01, "math": 0.03})
    more = one({TEXT: 0.01, "math": 0.03, "code": 0.001})
    assert few.ranking[0].standardized_loss == more.ranking[0].standardized_loss


CLAIMS = {
    "instruction following": f"instruction following loses more than {TEXT}",
    "math": "math suffers severely",
    "logic": "logic holds up",
}


@pytest.mark.parametrize(
    ("name", "times", "outcome"),
    [
        ("instruction following", 1.5, "supported"),
        ("instruction following", 0.6, "contradicted"),
        ("instruction following", 1.01, "undecided"),
        ("math", 3.0, "supported"),
        ("math", 1.2, "contradicted"),
        ("math", 2.02, "undecided"),
        ("logic", 0.6, "supported"),
        ("logic", 1.5, "contradicted"),
        ("logic", 0.99, "undecided"),
    ],
)
def test_claims(name: str, times: float, outcome: str) -> None:
    # Oracle: standardized losses well to either side of the lines 1, 2 and 1, and upon them.
    (claim,) = one({TEXT: 0.01, name: 0.01 * times}).claims
    assert (claim.text, claim.outcome) == (CLAIMS[name], outcome)
    assert claim.measured is not None
    assert claim.measured.value == pytest.approx(times)


@pytest.mark.parametrize(
    ("name", "times", "change", "outcome"),
    [
        # Text completion loses 0 +- 1 points. Changing less, and 9 points more are lost:
        ("math", 1.2, (-0.09, -0.12, -0.06), "undecided"),
        ("instruction following", 0.6, (-0.09, -0.12, -0.06), "undecided"),
        ("logic", 0.6, (-0.09, -0.12, -0.06), "undecided"),
        # Changing more, and 9 points more are won:
        ("math", 3.0, (0.09, 0.06, 0.12), "undecided"),
        ("logic", 1.5, (0.09, 0.06, 0.12), "undecided"),
        # Both say the same, or the score says nothing: half widths add up to 3.2 points.
        ("math", 3.0, (-0.09, -0.12, -0.06), "supported"),
        ("logic", 1.5, (-0.09, -0.12, -0.06), "contradicted"),
        ("math", 1.2, (-0.031, -0.061, -0.001), "contradicted"),
        ("math", 1.2, (-0.033, -0.063, -0.003), "undecided"),
    ],
)
def test_scores_that_say_the_opposite_leave_a_claim_undecided(
    name: str, times: float, change: tuple[float, float, float], outcome: str
) -> None:
    means = {TEXT: {"q2": 0.01}, name: {"q2": 0.01 * times}}
    found, _ = ranked(losses(means), **{name.replace(" ", "_"): {"change": change}})
    (claim,) = found["q2"].claims
    assert claim.outcome == outcome
    assert ("its score loses" in claim.reason) == (outcome == "undecided")


def test_the_reason_has_the_difference_of_the_scores() -> None:
    # 9 - 0 points; half width sqrt(3^2 + 1^2) = 3.16.
    means = {TEXT: {"q2": 0.01}, "math": {"q2": 0.012}}
    found, _ = ranked(losses(means), math={"change": (-0.09, -0.12, -0.06)})
    (claim,) = found["q2"].claims
    assert claim.reason.endswith(
        "the claim is above 2, but its score loses 9.0 [5.8, 12.2] points more than that of "
        "text completion"
    )


FELL = {"change": (-0.2, -0.26, -0.14), "p_value": 0.001}


def test_the_score_that_fell_most_is_named_first() -> None:
    means = {TEXT: {"q2": 0.01}, "math": {"q2": 0.005}, "code": {"q2": 0.03}}
    found = ranked(losses(means), math=FELL)[0]["q2"]
    assert (found.worst_by_score, found.worst_by_answers) == ("math", "code")
    assert found.text.startswith(
        "By score, math suffers most of 3 capabilities: q2 loses 20.0 [14.0, 26.0] points. "
        "By its answers, it is code: q2 changes them 3.0 times ["
    )
    by_score = {one.capability: one.probability_worst_by_score for one in found.ranking}
    assert by_score["math"] > 0.999
    assert by_score["code"] < 0.001


def test_both_may_be_the_same() -> None:
    means = {TEXT: {"q2": 0.01}, "math": {"q2": 0.03}}
    found = ranked(losses(means), math=FELL)[0]["q2"]
    assert found.text.startswith(
        "By score, math suffers most of 2 capabilities: q2 loses 20.0 [14.0, 26.0] points. "
        "By its answers, it does too: q2 changes them 3.0 times ["
    )


def test_answers_may_be_undecided_beside_a_score() -> None:
    means = {TEXT: {"q2": 0.01}, "math": {"q2": 0.0101}}
    found = ranked(losses(means, n=20), math=FELL)[0]["q2"]
    assert (found.worst_by_score, found.worst_by_answers) == ("math", None)
    assert "20.0 [14.0, 26.0] points. By its answers, none is shown to; it may be " in found.text


def test_scores_that_did_not_fall_or_are_as_low_name_nothing() -> None:
    means = {TEXT: {"q2": 0.01}, "math": {"q2": 0.03}, "code": {"q2": 0.01}}
    assert ranked(losses(means), math={"change": (0.0, 0.0, 0.0)})[0]["q2"].worst_by_score is None
    both = ranked(losses(means), math=FELL, code=FELL)[0]["q2"]
    assert both.worst_by_score is None
    shares = {one.capability: one.probability_worst_by_score for one in both.ranking}
    assert shares["math"] == pytest.approx(0.5, abs=0.05)
    unknown = {"change": (-0.1, None, None)}
    assert ranked(losses(means), math=FELL, code=unknown)[0]["q2"].worst_by_score is None


def test_over_all_variants_scores_are_averaged_item_by_item() -> None:
    # Of 60 items of math a loses 12 and b 24: 20 and 40 points, 30 on average.
    means = {TEXT: {"a": 0.01, "b": 0.01}, "math": {"a": 0.01, "b": 0.01}}
    lost = {v: Series(-(np.arange(60) < n).astype(float), np.ones(60)) for v, n in LOST.items()}
    changes = {**unchanged(means, 60), "math": [lost]}
    _, together = ranked(losses(means, scores=changes))
    assert together is not None
    assert together.worst_by_score == "math"
    assert together.text.startswith(
        "By score, math suffers most of 2 capabilities: the 2 variants lose 30.0 ["
    )
    assert "] points on average. By its answers, none is shown to; " in together.text


LOST = {"a": 12, "b": 24}


def test_a_claim_that_nothing_was_asked_about_is_not_made() -> None:
    assert one({TEXT: 0.01, "code": 0.02}).claims == ()
    (claim,) = one({"math": 0.01, "code": 0.02}).claims
    assert (claim.outcome, claim.measured) == ("undecided", None)
    assert "was not evaluated" in claim.reason
