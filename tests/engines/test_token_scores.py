"""Oracle: the definitions, computed by numpy in float64 from full logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.engines import token_scores
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.token_scores import score_positions
from bitloss.errors import NumericalError


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def full_logits(head, hidden):
    return hidden.double().numpy() @ head.weight.double().numpy().T


def random_pair(vocabulary, positions, width, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    heads = [
        Head(torch.randn(vocabulary, width, generator=generator) * scale, "fp32") for _ in "rv"
    ]
    hidden = [torch.randn(positions, width, generator=generator) for _ in "rv"]
    targets = torch.randint(0, vocabulary, (positions,), generator=generator)
    return targets, heads, hidden


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
    targets, heads, hidden = random_pair(vocabulary, positions, 6, seed, scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_scores, "COLUMNS", columns)
        patch.setattr(token_scores, "POSITIONS", chunk)
        ours, (theirs,) = score_positions(targets, (heads[0], hidden[0]), [(heads[1], hidden[1])])
    logits = [full_logits(h, x) for h, x in zip(heads, hidden, strict=True)]
    p, q = map(softmax, logits)
    rows, at = np.arange(positions), targets.numpy()
    close = {"rtol": 2e-4, "atol": 2e-5}
    np.testing.assert_allclose(ours.nll, -np.log(p[rows, at]), **close)
    np.testing.assert_allclose(theirs.nll, -np.log(q[rows, at]), **close)
    np.testing.assert_allclose(ours.entropy, -(p * np.log(p)).sum(1), **close)
    np.testing.assert_allclose(theirs.entropy, -(q * np.log(q)).sum(1), **close)
    np.testing.assert_allclose(theirs.kl_divergence, (p * np.log(p / q)).sum(1), **close)
    np.testing.assert_allclose(theirs.delta_p, q[rows, at] - p[rows, at], **close)
    np.testing.assert_array_equal(theirs.same_top1, p.argmax(1) == q.argmax(1))


@settings(max_examples=30, deadline=None)
@given(
    positions=st.integers(1, 20),
    asked=st.integers(1, 40),
    chunk=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_many_targets_of_a_position_are_as_that_position_repeated(positions, asked, chunk, seed):
    _, heads, hidden = random_pair(50, positions, 6, seed)
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 50, (asked,), generator=generator)
    rows = torch.randint(0, positions, (asked,), generator=generator)
    repeated = [states[rows] for states in hidden]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_scores, "COLUMNS", 17)
        expected = score_positions(targets, (heads[0], repeated[0]), [(heads[1], repeated[1])])
        patch.setattr(token_scores, "POSITIONS", chunk)
        found = score_positions(targets, (heads[0], hidden[0]), [(heads[1], hidden[1])], rows)
    for ours, theirs in ((found[0], expected[0]), (found[1][0], expected[1][0])):
        for name in ours.__slots__:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=2e-5)


def test_greedy_is_the_first_of_the_most_likely():
    # By hand: logits 1, 3, 3, 2 of the one position; the first maximum is token 1.
    head = Head(torch.tensor([[1.0], [3.0], [3.0], [2.0]]), "fp32")
    hidden = torch.ones(1, 1)
    rows = torch.zeros(4, dtype=torch.long)
    ours, (theirs,) = score_positions(torch.arange(4), (head, hidden), [(head, hidden)], rows)
    assert ours.greedy.tolist() == theirs.greedy.tolist() == [False, True, False, False]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_options_have_the_logits_that_the_head_gives_them(precision):
    generator = torch.Generator().manual_seed(6)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    weight, bias, hidden = (
        torch.randn(shape, generator=generator).to(dtype) for shape in ((40, 16), (40,), (9, 16))
    )
    head = Head(weight, precision, bias, scale=0.5, soft_cap=3.0)
    tokens = torch.tensor([7, 3, 39, 7])
    exact = Head(weight.float(), "fp32", bias.float(), scale=0.5, soft_cap=3.0)
    expected = exact.logits(hidden.float(), 0, 40)[:, tokens]
    found = head.option_logits(hidden, tokens)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (found[:, 0] == found[:, 3]).all()
    with pytest.raises(NumericalError, match="logits"):
        head.option_logits(hidden * torch.nan, tokens)


@pytest.mark.parametrize("precision", ["fp32", "mixed", "bf16"])
def test_a_copy_has_a_divergence_of_exactly_zero(precision):
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    targets, heads, hidden = random_pair(5000, 300, 64, seed=1)
    head = Head(heads[0].weight.to(dtype), precision)
    copy = Head(head.weight.clone(), precision)
    states = hidden[0].to(dtype)
    ours, (theirs,) = score_positions(targets, (head, states), [(copy, states.clone())])
    assert (theirs.kl_divergence == 0.0).all()
    assert (theirs.delta_p == 0.0).all()
    assert theirs.same_top1.all()
    assert (theirs.nll == ours.nll).all()


def test_a_variants_numbers_do_not_depend_on_its_company():
    targets, heads, hidden = random_pair(5000, 300, 64, seed=2)
    reference, variant = (heads[0], hidden[0]), (heads[1], hidden[1])
    _, (alone,) = score_positions(targets, reference, [variant])
    _, (_, together) = score_positions(targets, reference, [reference, variant])
    assert (alone.kl_divergence == together.kl_divergence).all()
    assert (alone.nll == together.nll).all()


def test_small_divergences_are_not_lost_in_rounding():
    # By hand: for q = softmax(z + e d) the divergence is e^2/2 Var_p(d) + O(e^3).
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4000, 32, generator=generator)
    nudge = torch.randn(4000, 32, generator=generator)
    hidden = torch.randn(64, 32, generator=generator)
    size = 2e-4
    targets = torch.zeros(64, dtype=torch.long)
    reference = Head(weight, "fp32"), hidden
    _, (scores,) = score_positions(
        targets, reference, [(Head(weight + size * nudge, "fp32"), hidden)]
    )
    p = softmax(full_logits(reference[0], hidden))
    d = full_logits(Head(nudge, "fp32"), hidden)
    variance = (p * d**2).sum(1) - (p * d).sum(1) ** 2
    np.testing.assert_allclose(
        scores.kl_divergence.mean(), (size**2 / 2 * variance).mean(), rtol=0.02
    )


def test_scale_and_soft_cap_are_applied():
    # By hand: 2 x [1, 3] = [2, 6]; 4 tanh([2, 6] / 4) = [1.8485, 3.6206].
    head = Head(torch.tensor([[1.0], [3.0]]), "fp32", scale=2.0, soft_cap=4.0)
    logits = head.logits(torch.ones(1, 1), 0, 2)
    np.testing.assert_allclose(logits.numpy(), [[1.8485, 3.6206]], atol=1e-4)


def test_a_bias_is_applied():
    head = Head(torch.tensor([[1.0], [3.0]]), "fp32", bias=torch.tensor([0.5, -1.0]))
    assert head.logits(torch.ones(1, 1), 0, 2).tolist() == [[1.5, 2.0]]


def test_padding_rows_change_nothing():
    targets, heads, hidden = random_pair(100, 8, 6, seed=4)
    padded = Head(torch.cat([heads[1].weight, torch.full((28, 6), 50.0)]), "fp32")
    reference = heads[0], hidden[0]
    ours, (plain,) = score_positions(targets, reference, [(heads[1], hidden[1])])
    same, (scores,) = score_positions(targets, reference, [(padded, hidden[1])])
    np.testing.assert_array_equal(scores.kl_divergence, plain.kl_divergence)
    np.testing.assert_array_equal(same.nll, ours.nll)


def test_nan_is_an_error_not_a_number():
    targets, heads, hidden = random_pair(100, 8, 6, seed=5)
    hidden[1][3, 2] = torch.nan
    with pytest.raises(NumericalError, match="a variant's head"):
        score_positions(targets, (heads[0], hidden[0]), [(heads[1], hidden[1])])
