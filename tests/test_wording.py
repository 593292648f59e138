"""Numbers as they are shown; the expected texts are written down by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss import wording as fmt
from verdict_parts import estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (2.4e-6, "2.4e-06"),
        (-1e-8, "-1.0e-08"),
        (0.0313, "0.0313"),
        (0.00312, "0.0031"),
        (0.4451, "0.445"),
        (12.34, "12.3"),
        (None, "-"),
        (math.inf, "inf"),
    ],
)
def test_divergence(value, text) -> None:
    assert fmt.divergence(value) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.0, 0.0, 0.0), "0"),
        ((0.0313, 0.03, 0.0326), "0.0313 [0.0300, 0.0326]"),
        ((2.4e-6, 1.96e-6, 3.1e-6), "2.4e-06 [2.0e-06, 3.1e-06]"),
        ((0.0313, None, None), "0.0313"),
        ((None, None, None), "-"),
    ],
)
def test_divergence_interval(values, text) -> None:
    assert str(fmt.divergence_interval(estimate(*values))) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1.0, 1.0, 1.0), "1"),
        ((1.052, 1.048, 1.056), "1.052 [1.048, 1.056]"),
        ((1.00002, 0.99998, 1.00006), "1.000020 [0.999980, 1.000060]"),
        ((1.052, None, None), "1.052"),
        ((math.inf, 2.0, math.inf), "inf [2.000, inf]"),
        ((2.5e7, 1e7, 5e7), "2.50e+07 [1.00e+07, 5.00e+07]"),
    ],
)
def test_ratio_interval(values, text) -> None:
    assert str(fmt.ratio_interval(estimate(*values))) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "100%"), (0.0, "0%"), (0.977, "97.7%"), (0.99996, "99.996%"), (None, "-")],
)
def test_share(value, text) -> None:
    assert fmt.share(value) == text


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_only_all_is_hundred_percent(value: float) -> None:
    if value < 1 - 1e-8:
        assert float(fmt.share(value).removesuffix("%")) < 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (999, "999 B"),
        (1500, "1.5 kB"),
        (812_000_000, "812 MB"),
        (999_900_000, "1.0 GB"),
        (1_100_000_000, "1.1 GB"),
        (16_060_000_000, "16 GB"),
        (2_000_000_000_000, "2.0 TB"),
        (None, "-"),
    ],
)
def test_size(value, text) -> None:
    assert fmt.size(value) == text


def test_perplexity_and_count() -> None:
    assert fmt.perplexity(6.23321) == "6.2332"
    assert fmt.perplexity(441.234) == "441.23"
    assert fmt.perplexity(None) == "-"
    assert fmt.count(287645) == "287,645"


@pytest.mark.parametrize(
    ("numbers", "signed", "unsigned"),
    [
        ((-0.02, -0.041, 0.001), "-2.0 [-4.1, +0.1]", "-2.0 [-4.1, 0.1]"),
        ((0.0, -0.01, 0.01), "0.0 [-1.0, +1.0]", "0.0 [-1.0, 1.0]"),
        ((0.0, 0.0, 0.0), "0", "0.0 [0.0, 0.0]"),
        ((-1e-5, -0.01, 1e-5), "0.0 [-1.0, 0.0]", "0.0 [-1.0, 0.0]"),
        ((0.05, None, None), "+5.0", "5.0"),
        ((None, None, None), "-", "-"),
    ],
)
def test_points(numbers: tuple[float | None, ...], signed: str, unsigned: str) -> None:
    assert str(fmt.points_interval(estimate(*numbers))) == signed
    assert str(fmt.unsigned_points_interval(estimate(*numbers))) == unsigned


def test_the_unit_stands_beside_the_number() -> None:
    assert fmt.ratio_interval(estimate(3.0, 2.5, 3.9)).in_unit("times") == (
        "3.000 times [2.500, 3.900]"
    )
    assert fmt.ratio_interval(estimate(3.0, None, None)).in_unit("times") == "3.000 times"


@pytest.mark.parametrize(
    ("names", "words"),
    [((), ""), (("a",), "a"), (("a", "b"), "a and b"), (("a", "b", "c"), "a, b and c")],
)
def test_lists(names: tuple[str, ...], words: str) -> None:
    assert fmt.join_words(names) == words
