"""The divergence over likely tokens, against full distributions. The oracle is the sum over the
vocabulary in float64.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitloss.engines.top_k import TopK, compare_top_k
from bitloss.errors import Incomparable


def full(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (np.exp(p) * (p - q)).sum(1)


def known(q: np.ndarray, targets: np.ndarray, k: int) -> TopK:
    ids = np.argsort(-q, axis=1, kind="stable")[:, :k].astype(np.int32)
    nll = -np.take_along_axis(q, targets[:, None], 1)[:, 0]
    first = q.argmax(1).astype(np.int32)
    return TopK(nll, ids, np.take_along_axis(q, ids, 1), first, q.max(1))


def some(seed: int, n: int, size: int, apart: float, sharp: float) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    ours = rng.normal(size=(n, size)) * sharp
    theirs = ours + rng.normal(size=(n, size)) * apart
    p, q = (torch.from_numpy(z).log_softmax(1).numpy() for z in (ours, theirs))
    return p, q, rng.integers(0, size, n).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 60), st.floats(0, 4), st.floats(0.1, 6),
    st.integers(0, 60),
)  # fmt: skip
@example(seed=0, size=8, apart=3.0, sharp=3.0, k=7)
def test_it_is_no_larger_than_the_divergence(
    seed: int, size: int, apart: float, sharp: float, k: int
) -> None:
    p, q, targets = some(seed, 5, size, apart, sharp)
    found = compare_top_k(targets, torch.from_numpy(p), known(q, targets, k))
    exact = full(p, q)
    assert (found.kl_divergence_topk <= exact + 1e-5 * (1 + exact)).all()
    assert (found.kl_divergence_topk >= 0).all()
    if k >= size - 1:
        # The rest is 1 less what is known: of a rest that is hardly there float32 keeps few digits.
        lost = (np.exp(p) * np.minimum(1, 5e-7 / np.exp(q))).max(1)
        assert (abs(found.kl_divergence_topk - exact) <= 2e-4 * exact + 2e-5 + lost).all()
    if k:
        np.testing.assert_array_equal(found.same_top1, p.argmax(1) == q.argmax(1))
    np.testing.assert_allclose(found.nll, -q[np.arange(5), targets], rtol=1e-6)
    np.testing.assert_allclose(found.reference_nll, -p[np.arange(5), targets], rtol=1e-5)
    np.testing.assert_allclose(
        found.delta_p, (np.exp(q) - np.exp(p))[np.arange(5), targets], atol=1e-6
    )
    np.testing.assert_allclose(found.reference_entropy, -(np.exp(p) * p).sum(1), rtol=1e-4)


def test_more_tokens_say_more() -> None:
    p, q, targets = some(1, 50, 300, 1.0, 2.0)
    found = [
        compare_top_k(targets, torch.from_numpy(p), known(q, targets, k)).kl_divergence_topk.mean()
        for k in (0, 1, 5, 20, 100, 299)
    ]
    assert found == sorted(found)
    assert found[0] < 0.5 * found[-1]
    assert found[-1] == pytest.approx(full(p, q).mean(), rel=1e-4)


def test_from_above_there_is_no_bound() -> None:
    """Two models with the same likely tokens and the same rest: one has nearly nothing where the
    reference has something. All that is known is the same, the divergence is not.
    """
    p = np.log(np.array([[0.6, 0.2, 0.1, 0.1]]))
    targets = np.zeros(1, np.int32)
    for least in (1e-1, 1e-9, 1e-90):
        q = np.log(np.array([[0.6, 0.2, least, 0.2 - least]]))
        found = compare_top_k(targets, torch.from_numpy(p), known(q, targets, 2))
        assert found.kl_divergence_topk == pytest.approx(0, abs=1e-9)
        assert full(p, q)[0] >= 0.1 * (np.log(0.1) - np.log(least)) - 0.1


def test_equal_models_have_none_whatever_is_known() -> None:
    p, _, targets = some(2, 40, 50, 0.0, 3.0)
    for k in (0, 1, 20, 50):
        found = compare_top_k(targets, torch.from_numpy(p), known(p, targets, k))
        assert found.kl_divergence_topk.max() < 1e-6


def test_tokens_that_are_not_certain_are_left_to_the_rest() -> None:
    p, q, targets = some(3, 20, 30, 1.0, 2.0)
    whole = known(q, targets, 6)
    ids = whole.ids.copy()
    ids[:, 1] = -1
    partly = TopK(whole.nll, ids, whole.logprobs, np.full(20, -1, np.int32), whole.highest)
    found = compare_top_k(targets, torch.from_numpy(p), partly)
    assert np.isnan(found.same_top1).all()
    best = compare_top_k(targets, torch.from_numpy(p), whole).kl_divergence_topk
    assert (found.kl_divergence_topk <= best + 1e-6).all()
    assert (found.kl_divergence_topk <= full(p, q) + 1e-5).all()


@pytest.mark.parametrize("k", [0, 3])
def test_whether_a_token_is_the_likeliest_is_known_without_its_name(k: int) -> None:
    """Oracle: the argmax of the whole distribution. Above a half there is nothing to be known."""
    _, q, targets = some(3, 400, 6, 1.0, 3.0)
    found = known(q, targets, k)
    nameless = replace(found, most_likely=np.full(len(targets), -1, np.int32))
    np.testing.assert_array_equal(nameless.greedy, q.argmax(1) == targets)
    assert 0 < nameless.greedy.sum() < len(targets)
    nothing = replace(nameless, highest=np.full(len(targets), np.nan))
    with pytest.raises(Incomparable, match="which token is the most likely one"):
        assert nothing.greedy is None
    sure = np.exp(-found.nll) > 0.5
    part = TopK(*(getattr(nothing, name)[sure] for name in TopK.__slots__))
    assert part.greedy.all()
