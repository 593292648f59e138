"""Verdicts. Oracle: intervals made by hand around each threshold of the built-in tables."""

from __future__ import annotations

import math

import pytest

from bitloss.analysis.verdicts import compare_with_expected, judge, judge_loss, loss_of, recommend
from bitloss.expectations import load_expectations
from bitloss.results import Expected, VariantResult
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


EXPECTED = Expected(format="GPTQ", bits=4, low=1.05, high=1.10, level="usually", source="s")


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
    assert compare_with_expected(estimate((low + high) / 2, low, high), EXPECTED) == standing


def test_nothing_is_worse_than_an_open_end() -> None:
    row = EXPECTED.model_copy(update={"high": None})
    assert compare_with_expected(estimate(9.0, 8.0, 10.0), row) == "as expected"


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
        (-0.02, 0.02, "within"),
        (-0.02, 0.0201, "undecided"),
        (0.02, 0.05, "undecided"),
        (0.0201, 0.05, "exceeds"),
        (None, None, "undecided"),
    ],
)
def test_non_inferiority(low: float | None, high: float | None, outcome: str) -> None:
    assert judge_loss(estimate(0.02, low, high), 0.02).outcome == outcome


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
        "math": "exceeds",
        "code": "within",
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


def judged(name: str, size: int | None, high: float | None = 1.04, **capabilities) -> VariantResult:
    """One whose upper limit is so high, and whose capabilities lost so much."""
    one = variant(
        name,
        corpora={} if high is None else {"c": corpus(1.0, 1.0, high)},
        capabilities={n: capability(change) for n, change in capabilities.items()} or None,
        file_bytes=size,
    )
    return one.model_copy(update={"verdict": judge(one, TABLE)})


LOST, KEPT, OPEN = (-0.05, -0.06, -0.04), (0.0, -0.01, 0.01), (0.0, -0.1, 0.1)


@pytest.mark.parametrize(
    ("variants", "name"),
    [
        ([judged("big", 9), judged("small", 5)], "small"),
        ([judged("usually", 5, 1.12), judged("yes", 9)], "usually"),
        ([judged("marginal", 5, 1.13), judged("yes", 9)], "yes"),
        ([judged("lost", 5, math=LOST), judged("kept", 9, math=KEPT)], "kept"),
        ([judged("open", 5, math=OPEN), judged("kept", 9, math=KEPT)], "open"),
        ([judged("unknown size", None), judged("known", 9)], "known"),
        ([judged("marginal", 5, 1.13)], None),
        ([judged("tasks only", 5, None, math=KEPT)], "tasks only"),
        ([judged("tasks only", 5, None, math=KEPT, code=OPEN)], None),
        ([variant(failed=True)], None),
        ([], None),
    ],
)
def test_the_smallest_that_is_acceptable(variants: list[VariantResult], name: str | None) -> None:
    found = recommend(tuple(variants))
    assert (found and found.name) == name


def test_bits_decide_between_files_of_one_size() -> None:
    large, small = judged("a", 5), judged("b", 5)
    ones = [
        one.model_copy(update={"bits_per_weight": bits})
        for one, bits in ((large, 5.0), (small, 4.0))
    ]
    assert recommend(tuple(ones)) == ones[1]
