"""Shares and standings on made-up losses. Oracles: arithmetic on them, and how often statements may
be wrong.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitloss.studies.sensitivity.decide import Judge, n_statements, rank
from bitloss.studies.sensitivity.measure import Scored
from bitloss.types import ScoredCorpus

TOTAL = 200


def facts() -> ScoredCorpus:
    return ScoredCorpus(
        name="text", digest="0", source="", protocol="strided", parameters={}, averaging="tokens",
        valid=(), n_windows=TOTAL, n_windows_total=TOTAL, n_scored=100 * TOTAL,
        n_total=100 * TOTAL, n_tokens=100 * TOTAL, n_bytes=400 * TOTAL, n_words=None, notes=(),
    )  # fmt: skip


def judge(*, looks: bool, parts: int) -> Judge:
    return Judge(
        facts=facts(),
        places=np.arange(TOTAL, dtype=np.int32),
        looks=looks,
        statements=n_statements([parts]),
        seed=0,
    )


def scored(losses: np.ndarray, windows: np.ndarray | None = None) -> Scored:
    at = np.arange(TOTAL) if windows is None else np.sort(windows)
    return Scored(
        at.astype(np.int32), np.full(len(at), 100, np.int32), losses[at].astype(np.float64)
    )


def text(rng: np.random.Generator, shares: list[float]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Skewed losses of the whole, and parts of it that vary by themselves, too."""
    whole = rng.gamma(2.0, 1.0, TOTAL)
    return whole, [share * whole * rng.gamma(20.0, 1 / 20, TOTAL) for share in shares]


@pytest.mark.parametrize("looks", [True, False])
def test_the_worst_and_the_cheap_are_found(looks: bool) -> None:
    whole, losses = text(np.random.default_rng(1), [0.6, 0.3, 0.1, 0.01])
    parts = {name: scored(own) for name, own in zip("abcd", losses, strict=True)}
    ranking = rank(parts, scored(whole), judge(looks=looks, parts=4))
    assert {name: one.standing for name, one in ranking.parts.items()} == {
        "a": "worst", "b": "dear", "c": "cheap", "d": "cheap",
    }  # fmt: skip
    assert all(one.settled for one in ranking.parts.values())
    share = ranking.parts["a"].share
    assert share.value == pytest.approx(losses[0].sum() / whole.sum())
    assert share.low < 0.6 < share.high
    assert ranking.total.value == pytest.approx(sum(map(np.sum, losses)) / whole.sum())
    assert ranking.total_windows == TOTAL


def test_few_windows_decide_less() -> None:
    rng = np.random.default_rng(1)
    whole, losses = text(rng, [0.4, 0.38, 0.14, 0.01])
    few = rng.permutation(TOTAL)[:16]
    parts = {name: scored(own, few) for name, own in zip("abcd", losses, strict=True)}
    ranking = rank(parts, scored(whole, few), judge(looks=True, parts=4))
    assert ranking.parts["d"].standing == "cheap"
    assert ranking.parts["a"].standing != "worst"
    assert ranking.parts["c"].standing == "open"  # 0.14 is near half of an equal share
    alone = rank({"a": parts["a"]}, scored(whole, few), judge(looks=True, parts=1))
    assert alone.parts["a"].standing == "worst"  # of one


def test_parts_that_stopped_early_are_compared_on_common_windows() -> None:
    """The first windows of `b` are dear ones; its mean must be held against theirs."""
    rng = np.random.default_rng(2)
    whole, (a, b) = text(rng, [0.5, 0.4])
    order = np.argsort(-whole)[:40]
    ranking = rank(
        {"a": scored(a), "b": scored(b, order)}, scored(whole), judge(looks=True, parts=2)
    )
    assert ranking.parts["a"].standing == "worst"
    assert ranking.parts["b"].share.value == pytest.approx(b[order].sum() / whole[order].sum())
    assert ranking.total_windows == 40


def test_equal_parts_are_hardly_ever_told_apart() -> None:
    """All looks of 60 texts with four equal parts: no worst one, none cheap (5% may be wrong)."""
    wrong = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        whole, losses = text(rng, [0.25] * 4)
        order = rng.permutation(TOTAL)
        for size in (16, 24, 36, 54, 81, 122):
            drawn = order[:size]
            parts = {name: scored(own, drawn) for name, own in zip("abcd", losses, strict=True)}
            ranking = rank(parts, scored(whole, drawn), judge(looks=True, parts=4))
            if any(one.standing in ("worst", "cheap") for one in ranking.parts.values()):
                wrong += 1
                break
    assert wrong <= 5


def test_windows_without_loss_have_no_weight() -> None:
    whole = np.ones(TOTAL)
    whole[:50] = 0.0
    half = np.where(whole > 0, 0.5, 0.0)
    ranking = rank(
        {"a": scored(half), "b": scored(half)}, scored(whole), judge(looks=True, parts=2)
    )
    assert ranking.parts["a"].share.value == 0.5
    assert not math.isnan(ranking.total.low)


def test_statements_are_shares_and_pairs() -> None:
    assert n_statements([4]) == 4 + 6
    assert n_statements([9, 6]) == 9 + 36 + 6 + 15
