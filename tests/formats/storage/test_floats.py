"""Oracle: the bit layouts of the OCP specifications, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from bitloss.errors import CheckpointError
from bitloss.formats.storage.floats import Grid, decode, exponents, nominal_group, unpack_e2m1


def e2m1(code: int) -> float:
    """Sign, two bits of exponent with a bias of 1, one bit of mantissa."""
    sign, exponent, mantissa = code >> 3, (code >> 1) & 3, code & 1
    size = mantissa / 2 if exponent == 0 else (1 + mantissa / 2) * 2 ** (exponent - 1)
    return -size if sign else size


def e4m3(code: int) -> float:
    """Sign, four bits of exponent with a bias of 7, three bits of mantissa; no infinities."""
    sign, exponent, mantissa = code >> 7, (code >> 3) & 15, code & 7
    if exponent == 15 and mantissa == 7:
        return float("nan")
    size = mantissa / 8 * 2**-6 if exponent == 0 else (1 + mantissa / 8) * 2 ** (exponent - 7)
    return -size if sign else size


def test_pairs_of_four_bits() -> None:
    packed = torch.arange(256).to(torch.uint8).view(8, 32)
    found = unpack_e2m1(packed)
    expected = torch.tensor([value for n in range(256) for value in (e2m1(n & 15), e2m1(n >> 4))])
    assert found.dtype == torch.float32
    assert torch.equal(found.flatten(), expected)
    assert torch.equal(torch.signbit(found).flatten(), torch.signbit(expected))
    assert torch.equal(unpack_e2m1(packed.view(torch.int8)), found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_all_bytes_of_e4m3(dtype: torch.dtype) -> None:
    codes = torch.arange(256).to(torch.uint8).view(1, 256).view(torch.float8_e4m3fn)
    found = decode(Grid((1, 256), (1, 256)), codes, torch.ones((1, 1)), dtype)
    expected = torch.tensor([[e4m3(code) for code in range(256)]])
    assert found.dtype == dtype
    assert torch.equal(found.float().nan_to_num(nan=9e9), expected.nan_to_num(nan=9e9))


def test_all_exponents() -> None:
    stored = torch.arange(255).to(torch.uint8)
    expected = torch.tensor([2.0 ** (biased - 127) for biased in range(255)], dtype=torch.float64)
    assert torch.equal(exponents(stored, "a").double(), expected)
    assert torch.equal(exponents(stored.view(torch.float8_e8m0fnu), "a").double(), expected)
    with pytest.raises(CheckpointError, match="`a`: expected exponents from 0 to 254, got 255"):
        exponents(torch.tensor([3, 255], dtype=torch.uint8), "a")


def test_stacked_matrices_with_short_blocks() -> None:
    """Blocks do not run from one expert into the next."""
    codes = torch.ones((2, 3, 5)).to(torch.float8_e4m3fn)
    scales = torch.arange(8.0).view(2, 2, 2)
    grid = Grid((2, 3, 5), (2, 4))
    assert grid.scale_shape == (2, 2, 2)
    first = [[0.0] * 4 + [1.0]] * 2 + [[2.0] * 4 + [3.0]]
    second = [[4.0] * 4 + [5.0]] * 2 + [[6.0] * 4 + [7.0]]
    assert decode(grid, codes, scales).tolist() == [first, second]


@pytest.mark.parametrize(
    ("block", "group"), [((1, 16), 16), ((1, 64), -1), ((1, 99), -1), ((4, 64), None)]
)
def test_nominal_groups(block: tuple[int, int], group: int | None) -> None:
    assert nominal_group(Grid((4, 64), block)) == group
