"""Oracles: softmax and top-p written out in numpy, chi-square of counts against them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.engines.dense.generation import sampling as choosing
from bitloss.engines.dense.generation.sampling import most_likely, next_tokens
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.generation import sampling
from bitloss.engines.generation.sampling import sample
from bitloss.errors import NumericalError
from bitloss.requests import Decoding


def exact(logits, temperature, top_p):
    scaled = logits.double().numpy() / temperature
    p = np.exp(scaled - scaled.max())
    p /= p.sum()
    kept, reached = np.zeros_like(p), 0.0
    for token in sorted(range(len(p)), key=lambda i: (-p[i], i)):
        kept[token] = p[token]
        reached += p[token]
        if reached >= top_p:
            break
    return kept / kept.sum()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.3, 0.9), (0.8, 0.4)])
def test_counts_follow_the_distribution(temperature, top_p):
    logits = torch.randn(12, generator=torch.Generator().manual_seed(3)) * 1.5
    rng = np.random.default_rng(0)
    n = 20_000
    found = [sample(logits, temperature, top_p, rng.random()) for _ in range(n)]
    counts = np.bincount(found, minlength=12)
    p = exact(logits, temperature, top_p)
    assert not counts[p == 0].any()
    inside = p > 0
    chi_square = (((counts - n * p) ** 2)[inside] / (n * p)[inside]).sum()
    # 99.9 % of a chi-square with 11 degrees of freedom is 31.3; fewer degrees, less.
    assert chi_square < 31.3


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=9), st.floats(0.05, 1.0), st.floats(0, 0.999)
)
@settings(deadline=None)
def test_any_draw_inverts_the_distribution(logits, top_p, draw):
    """Integer logits, so that many are equal; draws at an edge may go either way."""
    values = torch.tensor(logits, dtype=torch.float32)
    p = exact(values, 1.0, top_p)
    edges = np.concatenate([[0], np.cumsum(p)])
    token = sample(values, 1.0, top_p, draw)
    assert p[token] > 0
    assert edges[token] - 1e-9 <= draw <= edges[token + 1] + 1e-9


def test_top_p_beyond_the_likeliest_looks_further(monkeypatch):
    logits = torch.zeros(50)
    whole = [sample(logits, 1.0, 0.9, draw) for draw in np.linspace(0, 0.99, 50)]
    assert max(whole) == 44  # 45 of 50 equal ones make up 0.9: the lowest ids
    monkeypatch.setattr(sampling, "_LIKELIEST", 3)
    assert [sample(logits, 1.0, 0.9, draw) for draw in np.linspace(0, 0.99, 50)] == whole


def head_of(weight, **options):
    return Head(weight=weight, precision="fp32", **options)


def test_the_lowest_of_equal_logits_across_blocks(monkeypatch):
    monkeypatch.setattr(choosing, "_COLUMNS", 4)
    logits = torch.tensor([[0, 2, 1, 2, 2, 0, 3], [5, 1, 1, 1, 5, 5, 1], [0, 0, 0, 0, 0, 0, 0]])
    head = head_of(logits.T.float().contiguous())
    assert most_likely(head, torch.eye(3), "m") == [6, 0, 0]
    assert most_likely(head, torch.eye(3)[:1] * -1, "m") == [0]


def test_rows_are_chosen_each_in_its_own_way():
    generator = torch.Generator().manual_seed(1)
    head = head_of(torch.randn(300, 8, generator=generator), soft_cap=5.0, scale=2.0)
    states = torch.randn(40, 8, generator=generator)
    greedy, sampled = Decoding(1), Decoding(1, temperature=1.0, top_p=0.95)
    decodings = [sampled if row % 3 else greedy for row in range(40)]
    together = next_tokens(
        head, states, decodings, [np.random.default_rng(row) for row in range(40)], "m"
    )
    for row in range(40):
        alone = next_tokens(
            head, states[row : row + 1], [decodings[row]], [np.random.default_rng(row)], "m"
        )
        assert alone == [together[row]]
    assert together[::3] == head.logits(states, 0, 300).argmax(1)[::3].tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_infinite_logits_name_the_model(temperature, value):
    weight = torch.ones(5000, 2)
    weight[7, 0] = value
    with pytest.raises(NumericalError, match="some-model: NaN or infinite logits"):
        next_tokens(
            head_of(weight),
            torch.ones(1, 2),
            [Decoding(1, temperature=temperature)],
            [np.random.default_rng(0)],
            "some-model",
        )
