"""Oracles: logits by hand, and the same product in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitloss.engines.dense.scoring.head import Head


def test_scale_and_soft_cap_are_applied():
    # By hand: 2 x [1, 3] = [2, 6]; 4 tanh([2, 6] / 4) = [1.8485, 3.6206].
    head = Head(torch.tensor([[1.0], [3.0]]), "fp32", scale=2.0, soft_cap=4.0)
    logits = head.logits(torch.ones(1, 1), 0, 2)
    np.testing.assert_allclose(logits.numpy(), [[1.8485, 3.6206]], atol=1e-4)


def test_a_bias_is_applied():
    head = Head(torch.tensor([[1.0], [3.0]]), "fp32", bias=torch.tensor([0.5, -1.0]))
    assert head.logits(torch.ones(1, 1), 0, 2).tolist() == [[1.5, 2.0]]


@pytest.mark.parametrize("precision", ["fp32", "mixed", "bf16"])
def test_blocks_of_the_vocabulary_put_together_are_the_float32_logits(precision):
    generator = torch.Generator().manual_seed(6)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    weight, bias, hidden = (
        torch.randn(shape, generator=generator).to(dtype) for shape in ((40, 16), (40,), (9, 16))
    )
    head = Head(weight, precision, bias, scale=0.5, soft_cap=3.0)
    exact = Head(weight.float(), "fp32", bias.float(), scale=0.5, soft_cap=3.0)
    expected = exact.logits(hidden.float(), 0, 40)
    blocks = [head.logits(hidden, start, start + 10) for start in range(0, 40, 10)]
    assert all(block.dtype == torch.float32 for block in blocks)
    # A bf16 product is rounded to 8 bits: 2**-9 of logits that are below 16.
    close = {"atol": 1e-5, "rtol": 1e-5} if precision == "fp32" else {"atol": 0.05, "rtol": 0}
    torch.testing.assert_close(torch.cat(blocks, 1), expected, **close)


def test_equivalent_heads_differ_in_nothing_that_logits_depend_on():
    def head(**changes):
        return Head(**{"weight": torch.ones(3, 2), "precision": "fp32", "bias": None, **changes})

    assert head().is_equivalent(head())
    assert head(bias=torch.ones(3)).is_equivalent(head(bias=torch.ones(3)))
    for changes in (
        {"weight": 2 * torch.ones(3, 2)},
        {"weight": torch.ones(4, 2)},
        {"precision": "mixed"},
        {"bias": torch.ones(3)},
        {"scale": 2.0},
        {"soft_cap": 1.0},
    ):
        assert not head().is_equivalent(head(**changes)), changes
        assert not head(**changes).is_equivalent(head()), changes
