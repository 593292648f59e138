"""Oracle: ggml's reference functions, called by ctypes; and one block by hand."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from bitloss.engines.dense.simulation.blocks import BLOCK_TYPES, store_blocks
from peers import ggml

needs_ggml = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


def rows(case: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 64, generator=generator)
    return {
        "ordinary": x,
        "of many sizes": x * torch.exp(2 * torch.randn(4000, 1, generator=generator)),
        "of a few values, with ties": torch.randint(-9, 9, (4000, 64), generator=generator) / 4,
        "of half precision": x.half().float(),
        "tiny": x * 1e-7,
        "zeros": torch.zeros(2, 64),
        "equal": torch.full((2, 64), 3.3),
    }[case]


CASES = (
    "ordinary", "of many sizes", "of a few values, with ties", "of half precision", "tiny", "zeros",
    "equal",
)  # fmt: skip


@needs_ggml
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_blocks_are_stored_as_by_the_reference_functions(kind, case):
    x = rows(case)
    expected = torch.from_numpy(ggml.stored(x.numpy(), kind))
    found = store_blocks(kind, x)
    if kind != "iq4_nl":
        assert torch.equal(found, expected)
        return
    # The scale is a quotient of sums, whose order of additions differs.
    differ = (found != expected).view(-1, 32).any(1)
    assert differ.float().mean() < 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-9)


def test_a_block_by_hand():
    """q4_0: the largest size, -16, is code 0; a step is 2, and halves go up."""
    x = torch.zeros(32)
    x[:4] = torch.tensor([-16.0, 15.0, 1.0, -1.0])
    # (x / 2 + 8.5) cut off is 0, 16 -> 15, 9, 8
    assert store_blocks("q4_0", x)[:5].tolist() == [-16.0, 14.0, 2.0, 0.0, 0.0]


def test_halves_are_rounded_away_from_zero():
    """q8_0 with a step of 1: 126 steps beside 2.5 and -2.5, and the number just below a half."""
    x = torch.zeros(32)
    x[:4] = torch.tensor([127.0, 2.5, -2.5, 0.49999997])
    assert store_blocks("q8_0", x)[:4].tolist() == [127.0, 3.0, -3.0, 0.0]


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_blocks_are_stored_alone(kind):
    """Another block, or another layout in memory, changes nothing."""
    x = rows("ordinary")[:64].view(8, 8, 64).transpose(0, 1)
    whole = store_blocks(kind, x)
    assert torch.equal(whole[3, 5], store_blocks(kind, x[3, 5].clone()))
    assert torch.equal(whole[..., :32], store_blocks(kind, x[..., :32]))
