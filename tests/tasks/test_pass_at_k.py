"""Oracle: the formula of Chen et al. 2021 in exact fractions, and all draws counted."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.tasks.pass_at_k import metrics_of_samples, pass_at_k, pass_at_ks


@given(st.data())
def test_the_formula(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 300))
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    exact = 1 - Fraction(comb(n - c, k), comb(n, k))
    assert pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-12, abs=1e-12)
    assert 0 <= pass_at_k(n, c, k) <= 1


def test_all_draws() -> None:
    samples = [True, True, False, False, False]
    draws = list(combinations(samples, 3))
    assert pass_at_k(5, 2, 3) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_ends() -> None:
    assert [pass_at_k(1, c, 1) for c in (0, 1)] == [0.0, 1.0]
    assert pass_at_k(10, 10, 1) == 1.0
    assert pass_at_k(200, 0, 100) == 0.0
    assert pass_at_k(200, 1, 100) == pytest.approx(0.5)


@pytest.mark.parametrize(("n", "c", "k"), [(0, 0, 1), (1, 2, 1), (1, -1, 1), (1, 0, 2), (1, 0, 0)])
def test_numbers_that_cannot_be(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"{n=}, {c=}, {k=}"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize("n", [1, 9, 10, 99, 100, 200])
def test_every_k_that_the_samples_allow(n: int) -> None:
    scores = pass_at_ks(n, n // 2)
    assert tuple(scores) == metrics_of_samples(n)
    assert scores == {f"pass@{k}": pass_at_k(n, n // 2, k) for k in (1, 10, 100) if k <= n}
