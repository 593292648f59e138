"""Oracle: the definitions, computed by numpy in float64 from full logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.engines.dense.precision import arithmetic
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.dense.scoring.heads import StateLogits
from bitloss.engines.token_scores import Blocks, FullLogits, score_positions
from bitloss.errors import NumericalError


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def full_logits(logits):
    return (logits.states.double() @ logits.head.weight.double().T).numpy()


def random_pair(vocabulary, positions, width, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    heads = [
        Head(torch.randn(vocabulary, width, generator=generator) * scale, "fp32") for _ in "rv"
    ]
    hidden = [torch.randn(positions, width, generator=generator) for _ in "rv"]
    targets = torch.randint(0, vocabulary, (positions,), generator=generator)
    return targets, *map(StateLogits, heads, hidden)


@settings(max_examples=30, deadline=None)
@given(
    vocabulary=st.integers(2, 90),
    positions=st.integers(1, 20),
    columns=st.integers(1, 40),
    chunk=st.integers(1, 9),
    scale=st.sampled_from([0.1, 1.0, 8.0]),
    seed=st.integers(0, 2**31),
)
def test_every_metric_is_its_definition(vocabulary, positions, columns, chunk, scale, seed):
    targets, reference, variant = random_pair(vocabulary, positions, 6, seed, scale)
    blocks = Blocks(chunk, columns, kept=1 << 20)
    ours, (theirs,) = score_positions(targets, reference, [variant], blocks=blocks)
    p, q = softmax(full_logits(reference)), softmax(full_logits(variant))
    rows, at = np.arange(positions), targets.numpy()
    close = {"rtol": 2e-4, "atol": 2e-5}
    np.testing.assert_allclose(ours.nll, -np.log(p[rows, at]), **close)
    np.testing.assert_allclose(theirs.nll, -np.log(q[rows, at]), **close)
    np.testing.assert_allclose(ours.entropy, -(p * np.log(p)).sum(1), **close)
    np.testing.assert_allclose(theirs.entropy, -(q * np.log(q)).sum(1), **close)
    np.testing.assert_allclose(theirs.kl_divergence, (p * np.log(p / q)).sum(1), **close)
    np.testing.assert_allclose(theirs.delta_p, q[rows, at] - p[rows, at], **close)
    np.testing.assert_allclose(theirs.overlap, np.minimum(p, q).sum(1), **close)
    np.testing.assert_allclose(theirs.hellinger, 1 - np.sqrt(p * q).sum(1), **close)
    np.testing.assert_array_equal(theirs.same_top1, p.argmax(1) == q.argmax(1))
    np.testing.assert_array_equal(ours.greedy, p.argmax(1) == at)
    np.testing.assert_array_equal(theirs.greedy, q.argmax(1) == at)


@pytest.mark.parametrize(("columns", "chunk"), [(2048, 256), (30, 7)])
def test_where_logits_come_from_changes_no_number(columns, chunk):
    """Full logits, as any engine gives them, against the same computed block by block."""
    targets, reference, variant = random_pair(1000, 20, 6, seed=7)
    rows = torch.arange(len(targets)).flip(0)
    full = [FullLogits(one.block(slice(0, 20), 0, 1000)) for one in (reference, variant)]
    blocks = Blocks(chunk, columns, kept=1 << 20)
    expected = score_positions(targets, reference, [variant], rows, blocks)
    actual = score_positions(targets, full[0], full[1:], rows, blocks)
    for ours, theirs in ((actual[0], expected[0]), (actual[1][0], expected[1][0])):
        for name in ours.__slots__:
            # Products of other shapes may round otherwise.
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    positions=st.integers(1, 20),
    asked=st.integers(1, 40),
    chunk=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_many_targets_of_a_position_are_as_that_position_repeated(positions, asked, chunk, seed):
    _, *pair = random_pair(50, positions, 6, seed)
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 50, (asked,), generator=generator)
    rows = torch.randint(0, positions, (asked,), generator=generator)
    reference, variant = (StateLogits(one.head, one.states[rows]) for one in pair)
    blocks = Blocks(20, columns=17, kept=1 << 20)
    expected = score_positions(targets, reference, [variant], blocks=blocks)
    blocks = blocks._replace(positions=chunk)
    actual = score_positions(targets, pair[0], pair[1:], rows, blocks)
    for ours, theirs in ((actual[0], expected[0]), (actual[1][0], expected[1][0])):
        for name in ours.__slots__:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=2e-5)


def test_greedy_is_the_first_of_the_most_likely():
    # By hand: logits 1, 3, 3, 2 of the one position; the first maximum is token 1.
    head = Head(torch.tensor([[1.0], [3.0], [3.0], [2.0]]), "fp32")
    logits = StateLogits(head, torch.ones(1, 1))
    rows = torch.zeros(4, dtype=torch.long)
    ours, (theirs,) = score_positions(torch.arange(4), logits, [logits], rows)
    assert ours.greedy.tolist() == theirs.greedy.tolist() == [False, True, False, False]


@pytest.mark.parametrize("precision", ["fp32", "mixed", "bf16"])
def test_a_copy_has_a_divergence_of_exactly_zero(precision):
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    targets, one, _ = random_pair(5000, 300, 64, seed=1)
    head, states = Head(one.head.weight.to(dtype), precision), one.states.to(dtype)
    copy = StateLogits(Head(head.weight.clone(), precision), states.clone())
    ours, (theirs,) = score_positions(targets, StateLogits(head, states), [copy])
    assert (theirs.kl_divergence == 0.0).all()
    assert (theirs.delta_p == 0.0).all()
    assert (theirs.overlap == 1.0).all()
    assert (theirs.hellinger == 0.0).all()
    assert theirs.same_top1.all()
    assert (theirs.nll == ours.nll).all()


def test_a_variants_numbers_do_not_depend_on_its_company():
    targets, reference, variant = random_pair(5000, 300, 64, seed=2)
    _, (alone,) = score_positions(targets, reference, [variant])
    _, (_, together) = score_positions(targets, reference, [reference, variant])
    assert (alone.kl_divergence == together.kl_divergence).all()
    assert (alone.nll == together.nll).all()


@pytest.mark.parametrize("precision", ["fp32", "mixed", "bf16"])
def test_workers_change_no_number(precision):
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    targets, *pair = random_pair(3000, 300, 64, seed=6)
    reference, variant = (
        StateLogits(Head(one.head.weight.to(dtype), precision), one.states.to(dtype))
        for one in pair
    )
    rows = torch.arange(300).flip(0)
    blocks = Blocks(32, columns=512, kept=1 << 20)
    threads = torch.get_num_threads()
    with arithmetic(precision):
        expected = score_positions(targets, reference, [variant, reference], rows, blocks)
        actual = score_positions(targets, reference, [variant, reference], rows, blocks, workers=3)
    assert torch.get_num_threads() == threads
    for ours, theirs in zip((actual[0], *actual[1]), (expected[0], *expected[1]), strict=True):
        for name in ours.__slots__:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_workers_error_is_raised():
    targets, reference, variant = random_pair(100, 80, 6, seed=5)
    variant.states[70, 2] = torch.nan
    with pytest.raises(NumericalError, match="logits of a variant"):
        score_positions(targets, reference, [variant], blocks=Blocks(8, 64, 1 << 20), workers=2)


def test_small_divergences_are_not_lost_in_rounding():
    # By hand: for q = softmax(z + e d) the divergence is e^2/2 Var_p(d) + O(e^3).
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4000, 32, generator=generator)
    nudge = torch.randn(4000, 32, generator=generator)
    hidden = torch.randn(64, 32, generator=generator)
    size = 2e-4
    targets = torch.zeros(64, dtype=torch.long)
    reference, variant, change = (
        StateLogits(Head(matrix, "fp32"), hidden)
        for matrix in (weight, weight + size * nudge, nudge)
    )
    _, (scores,) = score_positions(targets, reference, [variant])
    p = softmax(full_logits(reference))
    d = full_logits(change)
    variance = (p * d**2).sum(1) - (p * d).sum(1) ** 2
    np.testing.assert_allclose(
        scores.kl_divergence.mean(), (size**2 / 2 * variance).mean(), rtol=0.02
    )


def test_padding_rows_change_nothing():
    targets, reference, variant = random_pair(100, 8, 6, seed=4)
    padding = torch.full((28, 6), 50.0)
    padded = StateLogits(Head(torch.cat([variant.head.weight, padding]), "fp32"), variant.states)
    ours, (plain,) = score_positions(targets, reference, [variant])
    same, (scores,) = score_positions(targets, reference, [padded])
    np.testing.assert_array_equal(scores.kl_divergence, plain.kl_divergence)
    np.testing.assert_array_equal(same.nll, ours.nll)


def test_nan_is_an_error_not_a_number():
    targets, reference, variant = random_pair(100, 8, 6, seed=5)
    variant.states[3, 2] = torch.nan
    with pytest.raises(NumericalError, match="logits of a variant"):
        score_positions(targets, reference, [variant])
    with pytest.raises(NumericalError, match="logits of the reference"):
        score_positions(targets, variant, [reference])
