"""Oracles: torch's own conversions, groups by hand in numpy, and an explicit rotation matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitloss.engines.dense.simulation.blocks import store_blocks
from bitloss.engines.dense.simulation.cache_types import CacheTypes, row_multiple
from bitloss.spec.serving import CACHE_TYPES


def numbers(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def stored(kind: str, x: torch.Tensor, *, in_pairs: bool = False) -> torch.Tensor:
    return CacheTypes(kind, "", in_pairs).store(x, x)[0]


def values_stored(kind: str, x: torch.Tensor) -> torch.Tensor:
    return CacheTypes("", kind, True).store(x, x)[1]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("f16", torch.float16), ("bf16", torch.bfloat16), ("fp8", torch.float8_e4m3fn)],
)
def test_floats_are_torchs(kind, dtype):
    x = numbers(3, 5, 8) * 40
    assert torch.equal(stored(kind, x), x.clamp(-448, 448).to(dtype).float())
    assert torch.equal(stored("f32", x), x)
    assert torch.equal(stored("", x), x)


def test_fp8_saturates():
    assert stored("fp8", torch.tensor([1e4, -1e4])).tolist() == [448.0, -448.0]


def test_one_scale_for_a_head():
    x = numbers(2, 8) * torch.tensor([[1e-3], [1e3]])
    scale = x.abs().amax(1, keepdim=True) / 448
    expected = (x / scale).to(torch.float8_e4m3fn).float() * scale
    assert torch.equal(stored("fp8-head", x), expected)
    assert stored("fp8-head", torch.zeros(2, 8)).tolist() == torch.zeros(2, 8).tolist()


@pytest.mark.parametrize(("kind", "bits", "size"), [("int8-g64", 8, 64), ("int4-g32", 4, 32)])
def test_groups_by_hand(kind, bits, size):
    x = numbers(6, 128)
    expected = np.empty((6, 128), np.float32)
    for row in range(6):
        for at in range(0, 128, size):
            part = x[row, at : at + size].numpy()
            step = np.float32(np.float16((part.max() - part.min()) / np.float32(2**bits - 1)))
            low = np.float32(np.float16(part.min()))
            codes = np.clip(np.rint((part - low) / step), 0, 2**bits - 1).astype(np.float32)
            expected[row, at : at + size] = codes * step + low
    np.testing.assert_allclose(stored(kind, x).numpy(), expected, rtol=0, atol=1e-6)
    assert torch.equal(stored(kind, torch.full((1, 128), 2.0)), torch.full((1, 128), 2.0))


def hadamard(n: int) -> torch.Tensor:
    """By its definition: the sign is the parity of the bits that both indices have."""
    sign = [[(-1) ** ((i & j).bit_count()) for j in range(n)] for i in range(n)]
    return torch.tensor(sign) / n**0.5


@pytest.mark.parametrize(("size", "of_keys"), [(64, 64), (128, 128), (192, 64), (32, 0), (96, 0)])
def test_keys_are_rotated_as_a_whole_and_values_by_64(size, of_keys):
    """The rotation before, and back after, as matrices of llama.cpp's sizes."""
    x = numbers(4, size)

    def expected(each: int) -> torch.Tensor:
        if not each:
            return store_blocks("q4_0", x)
        turned = x.view(4, -1, each) @ hadamard(each)
        return (store_blocks("q4_0", turned.view(4, -1)).view(turned.shape) @ hadamard(each)).view(
            4, -1
        )

    torch.testing.assert_close(stored("q4_0", x), expected(of_keys), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        values_stored("q4_0", x), expected(64 if of_keys else 0), rtol=0, atol=1e-5
    )


def test_keys_in_pairs_share_blocks_with_their_partners():
    """Of a head of 96, llama.cpp's first block are numbers 0 to 15 of either half."""
    x = torch.zeros(96)
    x[0], x[48], x[20] = 100.0, 3.0, 3.0
    found = stored("q4_0", x, in_pairs=True)
    assert found[48] == 0.0  # beside 100, with steps of 12.5
    assert found[20] == 3.0  # the largest of its block
    assert stored("q4_0", x)[48] == 3.0


@pytest.mark.parametrize("kind", [*CACHE_TYPES, "int8-g64", "int4-g32"])
def test_a_token_is_stored_alone(kind):
    """What is read back of a token depends on nothing but it: prefixes can be shared."""
    x = numbers(2, 7, 64)
    whole = stored(kind, x, in_pairs=True)
    torch.testing.assert_close(whole[1, 3], stored(kind, x[1, 3], in_pairs=True), rtol=0, atol=1e-5)
    assert whole.dtype == x.dtype
    assert stored(kind, x.bfloat16()).dtype == torch.bfloat16


def test_sizes_of_heads():
    assert [row_multiple(kind) for kind in ("f16", "fp8", "q8_0", "int8-g64", "")] == [
        1, 1, 32, 64, 1,
    ]  # fmt: skip
