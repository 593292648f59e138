"""Verdicts. Oracle: intervals made by hand around each threshold of the built-in tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from bitloss.analysis.recommendation import recommend
from bitloss.analysis.score_losses import loss_of
from bitloss.analysis.verdicts import judge, judge_loss, pool
from bitloss.expectations import AXES, load_expectations
from bitloss.results import CorpusComparison, Rescored, VariantResult, Verdict
from verdict_parts import capability, corpus, estimate, variant

TABLE = load_expectations()


def level(*relative: float | None) -> tuple[str | None, bool]:
    found = judge(variant(corpora={"c": corpus(*relative)}), TABLE)
    assert found is not None
    return found.level, found.settled


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ((0.98, 0.97, 0.99), ("yes", True)),  # better than the reference is acceptable
        ((1.04, 1.03, 1.05), ("yes", True)),
        ((1.04, 1.03, 1.0501), ("usually", False)),
        ((1.08, 1.0501, 1.12), ("usually", True)),
        ((1.08, 1.05, 1.12), ("usually", False)),
        ((1.10, 1.06, 1.1201), ("marginal", False)),
        ((1.16, 1.13, 1.20), ("marginal", True)),
        ((1.18, 1.13, 1.2001), ("problematic", False)),
        ((3.00, 2.00, 4.00), ("problematic", True)),
        ((math.inf, math.inf, math.inf), ("problematic", True)),
        ((1.00, None, None), (None, False)),  # one window has no interval
        ((None, None, None), (None, False)),
    ],
)
def test_the_upper_limit_decides(
    relative: tuple[float | None, ...], expected: tuple[str | None, bool]
) -> None:
    assert level(*relative) == expected


@pytest.mark.parametrize(("recipe", "usual"), [(None, True), ({"method": "ternary"}, False)])
def test_floats_from_a_recipe_are_not_expected_to_be_lossless(
    recipe: dict[str, str] | None, usual: bool
) -> None:
    plain = variant(
        corpora={"c": corpus(1.2, 1.1, 1.3)}, format="safetensors-bf16", bits=16.0, recipe=recipe
    )
    found = judge(plain, TABLE)
    assert found is not None
    assert (found.expected is not None) == (found.standing is not None) == usual


def test_the_worst_corpus_decides() -> None:
    # The one with the higher upper limit, whatever the values.
    found = judge(
        variant(corpora={"a": corpus(1.06, 1.05, 1.07), "b": corpus(1.04, 0.9, 1.15)}), TABLE
    )
    assert found is not None
    assert (found.corpus, found.level) == ("b", "marginal")
    assert found.relative_perplexity == estimate(1.04, 0.9, 1.15)


def test_a_corpus_without_an_interval_leaves_it_open() -> None:
    found = judge(
        variant(corpora={"a": corpus(1.06, 1.05, 1.07), "b": corpus(1.0, None, None)}), TABLE
    )
    assert found is not None
    assert (found.corpus, found.level, found.standing) == ("b", None, None)


# The axes -------------------------------------------------------------------------------------


def judged_on(**corpora: CorpusComparison) -> Verdict:
    found = judge(variant(corpora=corpora), TABLE)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "axis", "level", "settled"),
    [
        ({}, "relative_perplexity", "yes", True),
        ({"top1": (0.96, 0.95, 0.97)}, "relative_perplexity", "yes", True),
        ({"top1": (0.96, 0.949, 0.97)}, "top1_agreement", "usually", False),
        ({"top1": (0.82, 0.81, 0.83)}, "top1_agreement", "marginal", True),
        ({"top1": (0.82, 0.79, 0.83)}, "top1_agreement", "problematic", False),
        ({"kl": (0.05, 0.02, 0.06)}, "kl_divergence", "usually", True),
        ({"kl": (0.05, 0.02, 0.061)}, "kl_divergence", "marginal", False),
        ({"kl": (0.4, 0.3, 0.5)}, "kl_divergence", "problematic", True),
        ({"overlap": (0.95, 0.94, 0.96)}, "overlap", "usually", True),
        ({"overlap": (0.95, 0.93, 0.96)}, "overlap", "marginal", False),
        # Two axes with the same level: the plainer one is named.
        ({"kl": (0.1, 0.09, 0.11), "top1": (0.85, 0.84, 0.86)}, "top1_agreement", "marginal", True),
        # An open axis that cannot change the level does not matter: 80% is marginal anyway.
        ({"kl": (0.05, 0.005, 0.07), "top1": (0.8, 0.8, 0.8)}, "top1_agreement", "marginal", True),
        # One that can, does: by the other bounds it would be usually.
        ({"kl": (0.05, 0.04, 0.07), "top1": (0.9, 0.9, 0.9)}, "kl_divergence", "marginal", False),
        # One axis has no interval.
        ({"kl": (0.05, None, None)}, None, None, False),
    ],
)  # fmt: skip
def test_the_worst_axis_decides(
    changes: dict[str, Any], axis: str | None, level: str | None, settled: bool
) -> None:
    found = judged_on(c=corpus(1.01, 1.0, 1.02, **changes))
    assert (found.decided_by, found.level, found.settled) == (axis, level, settled)
    assert found.corpus == "c"
    assert list(found.axes) == list(AXES)


def test_every_axis_has_its_own_worst_corpus() -> None:
    found = judged_on(
        a=corpus(1.08, 1.07, 1.09, top1=(0.96, 0.955, 0.965)),
        b=corpus(1.01, 1.0, 1.02, top1=(0.82, 0.81, 0.83)),
    )
    assert (found.level, found.decided_by, found.corpus) == ("marginal", "top1_agreement", "b")
    perplexity, top1 = found.axes["relative_perplexity"], found.axes["top1_agreement"]
    assert (perplexity.corpus, perplexity.level, perplexity.settled) == ("a", "usually", True)
    assert (top1.corpus, top1.level, top1.estimate) == ("b", "marginal", estimate(0.82, 0.81, 0.83))
    assert found.relative_perplexity == estimate(1.08, 1.07, 1.09)


def test_perplexity_1_01_with_82_percent_of_top_1_is_not_yes() -> None:
    q2 = variant(
        "q2", corpora={"c": corpus(1.01, 1.0, 1.02, top1=(0.82, 0.81, 0.83))}, file_bytes=1
    )
    q4 = judged("q4", 9)
    found = judge(q2, TABLE)
    assert found is not None
    assert (found.level, found.decided_by, found.settled) == ("marginal", "top1_agreement", True)
    # 1.02 is below GPTQ's 1.05, but `marginal` is worse than GPTQ's `usually`.
    assert (found.expected and found.expected.level, found.standing) == ("usually", None)
    ours = q2.model_copy(update={"verdict": found})
    assert named((ours, q4)) == ("q4", True)
    assert named((ours,)) is None


def test_a_copy_is_yes_on_all_axes() -> None:
    same = (1.0, 1.0, 1.0)
    exact = judged_on(c=corpus(1.0, 1.0, 1.0, kl=(0.0, 0.0, 0.0), top1=same, overlap=same))
    assert (exact.level, exact.settled) == ("yes", True)
    assert {axis.level for axis in exact.axes.values()} == {"yes"}


@pytest.mark.parametrize(
    ("kl", "floor", "levels"),
    [
        # A copy in an arithmetic that makes 0.02 nats of its own: 0.021 - 0.02 is yes, and what
        # agreement and overlap miss is the arithmetic's as well.
        ((0.02, 0.019, 0.021), 0.02, ["yes", "yes", "yes"]),
        # 0.16 - 0.02 is marginal in any case; the others, at 85% and 90%, are no better.
        ((0.15, 0.14, 0.16), 0.02, ["marginal", "marginal", "marginal"]),
        # 0.07 - 0.02 is usually, and so are the others at most.
        ((0.06, 0.05, 0.07), 0.02, ["usually", "usually", "usually"]),
        # More than ten floors: everything is as measured.
        ((0.021, 0.019, 0.022), 0.002, ["marginal", "marginal", "usually"]),
    ],
)
def test_the_noise_floor_is_not_held_against_a_variant(
    kl: tuple[float, float, float], floor: float, levels: list[str]
) -> None:
    top1, overlap = (0.85, 0.84, 0.86), (0.9, 0.89, 0.91)
    noisy = corpus(1.0, 0.99, 1.01, kl=kl, top1=top1, overlap=overlap, floor=floor)
    found = judged_on(c=noisy).axes
    names = ("top1_agreement", "overlap", "kl_divergence")
    assert [found[name].level for name in names] == levels
    assert {found[name].near_floor for name in names} == {True if kl[0] < 10 * floor else None}
    assert found["relative_perplexity"].near_floor is None
    # Of another arithmetic than the divergence's, the floor says nothing.
    other = noisy.model_copy(update={"rescored": Rescored(dtype="fp32", n_scored=9, n_windows=3)})
    assert judged_on(c=other).axes["top1_agreement"].level == "marginal"


@pytest.mark.parametrize(
    ("low", "high", "standing"),
    [
        (1.00, 1.0499, "better"),
        (1.00, 1.05, "as expected"),
        (1.06, 1.07, "as expected"),
        (1.00, 1.30, "as expected"),
        (1.10, 1.30, "as expected"),
        (1.1001, 1.30, "worse than expected"),
    ],
)
def test_standing_by_the_interval(low: float, high: float, standing: str) -> None:
    # GPTQ with 4 bits: 1.05 to 1.10.
    found = judged_on(c=corpus((low + high) / 2, low, high))
    assert found.standing == standing
    assert found.standing_corpus == ("c" if standing == "worse than expected" else None)
    assert (found.standing_p_value is None) == (standing == "as expected")


def test_nothing_is_worse_than_an_open_end() -> None:
    q2 = variant(format="gguf-q2_k", bits=2.0, corpora={"c": corpus(9.0, 8.0, 10.0)})
    found = judge(q2, TABLE)
    assert found is not None
    assert (found.expected and found.expected.high, found.standing) == (None, "as expected")


def test_a_format_without_a_row_has_no_standing() -> None:
    found = judge(variant(format="compressed-tensors", corpora={"c": corpus(1.0, 0.9, 1.1)}), TABLE)
    assert found is not None
    assert (found.expected, found.standing, found.level) == (None, None, "usually")


def test_the_row_is_in_the_verdict() -> None:
    found = judge(variant(corpora={"c": corpus(1.2, 1.15, 1.25)}), TABLE)
    assert found is not None
    assert found.expected is not None
    assert (found.expected.format, found.expected.low, found.expected.high) == ("GPTQ", 1.05, 1.1)
    assert found.standing == "worse than expected"


def test_a_loss_is_the_difference_with_the_other_sign() -> None:
    assert loss_of(capability((-0.04, -0.07, -0.01))) == estimate(0.04, 0.01, 0.07)
    assert str(loss_of(capability((0.0, 0.0, 0.0))).value) == "0.0"  # and not -0.0
    assert loss_of(capability((None, None, None))) == estimate(None, None, None)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.02, 0.02, "kept"),
        (-0.02, 0.0201, "not shown"),
        (0.02, 0.05, "not shown"),
        (0.0201, 0.05, "lost"),
        (None, None, "not shown"),
    ],
)
def test_non_inferiority(low: float | None, high: float | None, outcome: str) -> None:
    def gain(loss: float | None) -> float | None:
        return None if loss is None else -loss

    found = judge_loss(capability((-0.02, gain(high), gain(low))), 0.02)
    assert (found.outcome, found.decided_on) == (outcome, "score")


@pytest.mark.parametrize(
    ("score", "expected", "outcome", "contradicted"),
    [
        # The margin is 2 points. The score alone would not decide, the expected score does.
        ((-0.01, -0.05, 0.03), (-0.01, -0.015, -0.005), "kept", None),
        ((-0.03, -0.07, 0.01), (-0.04, -0.05, -0.03), "lost", None),
        # A flatter distribution flips no item, or the items tell what it does not.
        ((0.0, -0.01, 0.01), (-0.04, -0.05, -0.03), "not shown", True),
        ((-0.065, -0.1, -0.03), (-0.01, -0.015, -0.005), "not shown", True),
        ((-0.065, -0.1, -0.03), (-0.02, -0.03, -0.01), "not shown", None),
    ],
)
def test_the_expected_score_decides_unless_the_score_says_the_opposite(
    score: tuple[float, float, float],
    expected: tuple[float, float, float],
    outcome: str,
    contradicted: bool | None,
) -> None:
    both = capability(score).model_copy(update={"expected_difference": estimate(*expected)})
    found = judge_loss(both, 0.02)
    assert (found.outcome, found.contradicted) == (outcome, contradicted)
    assert found.decided_on == "expected score"
    assert found.loss == estimate(*expected).negated()


def test_all_together_are_one_decision() -> None:
    # Mean losses (3 + 1) / 2; half widths sqrt(1 + 1) / 2 = 0.71 points; the margin is 2 points.
    ones = {
        name: judge_loss(capability((-loss, -loss - 0.01, -loss + 0.01)), 0.02)
        for name, loss in (("math", 0.03), ("code", 0.01))
    }
    ones["logic"] = judge_loss(capability((-0.5, -0.6, -0.4)), 0.02, measurable=False)
    found = pool(ones)
    assert found is not None
    assert found.loss.value == pytest.approx(0.02)
    assert found.loss.high == pytest.approx(0.02 + 0.01 / 2**0.5)
    assert (found.margin, found.outcome) == (0.02, "not shown")
    assert pool({"logic": ones["logic"]}) is None


def test_margins_by_capability() -> None:
    found = judge(
        variant(
            capabilities={
                "math": capability((-0.05, -0.08, -0.03)),
                "code": capability((0.0, -0.01, 0.01)),
            }
        ),
        TABLE,
    )
    assert found is not None
    assert {name: one.outcome for name, one in found.capabilities.items()} == {
        "math": "lost",
        "code": "kept",
    }
    assert (found.level, found.corpus, found.standing) == (None, None, None)


@pytest.mark.parametrize(
    "one",
    [
        variant(),
        variant(failed=True, corpora={"c": corpus(1, 1, 1)}),
        variant(failed=True, capabilities={"math": capability()}),
    ],
)
def test_what_failed_or_was_not_scored_is_not_judged(one: VariantResult) -> None:
    assert judge(one, TABLE) is None


def named(variants: Sequence[VariantResult]) -> tuple[str, bool] | None:
    """The variant that is recommended, and whether it is shown to be acceptable."""
    found = recommend(variants)
    return None if found is None else (found.variant.name, found.shown)


def judged(
    name: str, size: int | None, high: float | None = 1.04, low: float = 1.0, **capabilities
) -> VariantResult:
    """One whose upper limit is so high, and whose capabilities lost so much."""
    one = variant(
        name,
        corpora={} if high is None else {"c": corpus(low, low, high)},
        capabilities={n: capability(change) for n, change in capabilities.items()} or None,
        file_bytes=size,
    )
    return one.model_copy(update={"verdict": judge(one, TABLE)})


LOST, KEPT = (-0.05, -0.06, -0.04), (0.0, -0.01, 0.01)
OPEN, NEAR = (0.0, -0.1, 0.1), (0.0, -0.03, 0.03)


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ([judged("big", 9), judged("small", 5)], ("small", True)),
        ([judged("usually", 5, 1.12), judged("yes", 9)], ("usually", True)),
        ([judged("marginal", 5, 1.13), judged("yes", 9)], ("yes", True)),
        ([judged("lost", 5, math=LOST), judged("kept", 9, math=KEPT)], ("kept", True)),
        # What is not shown is not recommended before what is, however small.
        ([judged("open", 5, math=OPEN), judged("kept", 9, math=KEPT)], ("kept", True)),
        # Of those that are not shown, the one with the least to prove.
        ([judged("open", 5, math=OPEN), judged("near", 9, math=NEAR)], ("near", False)),
        ([judged("lost", 5, math=LOST), judged("open", 9, math=OPEN)], ("open", False)),
        ([judged("lost", 5, math=LOST)], None),
        ([judged("unknown size", None), judged("known", 9)], ("known", True)),
        ([judged("problematic", 5, 1.3, low=1.25)], None),
        ([judged("tasks only", 5, None, math=KEPT)], ("tasks only", True)),
        ([judged("tasks only", 5, None, math=KEPT, code=OPEN)], ("tasks only", False)),
        ([variant(failed=True)], None),
        ([], None),
    ],
)
def test_the_smallest_that_is_shown_or_the_least_risky(
    variants: list[VariantResult], expected: tuple[str, bool] | None
) -> None:
    assert named(variants) == expected


def test_bits_decide_between_files_of_one_size() -> None:
    large, small = judged("a", 5), judged("b", 5)
    ones = [
        one.model_copy(update={"bits_per_weight": bits})
        for one, bits in ((large, 5.0), (small, 4.0))
    ]
    found = recommend(ones)
    assert found is not None
    assert found.variant == ones[1]
