"""Oracle: words packed as one long Python integer (tests/peers/packing.py), and plain loops."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.formats.storage.packing import (
    by_blocks,
    dequantize,
    unpack,
    unpack_planes,
    words_for,
)
from peers.packing import pack_planes, pack_rows


@st.composite
def code_rows(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    bits = draw(st.integers(1, 8))
    count = draw(st.integers(1, 70))
    row = st.lists(st.integers(0, 2**bits - 1), min_size=count, max_size=count)
    return bits, draw(st.lists(row, min_size=1, max_size=3))


@given(code_rows())
def test_unpack_inverts_packing(case: tuple[int, list[list[int]]]) -> None:
    bits, rows = case
    words = pack_rows(rows, bits)
    assert words.shape[1] == words_for(len(rows[0]), bits)
    assert unpack(words, bits, len(rows[0])).tolist() == rows


@settings(max_examples=25)
@given(bits=st.integers(2, 8), blocks=st.integers(1, 3), seed=st.integers(0, 99))
def test_unpack_planes_inverts_packing(bits: int, blocks: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, 2**bits, (2, 32 * blocks), generator=generator).tolist()
    words = pack_planes(rows, bits)
    assert words.shape[1] == words_for(32 * blocks, bits)
    assert unpack_planes(words, bits, 32 * blocks).tolist() == rows
    assert unpack_planes(words, bits, 19).tolist() == [row[:19] for row in rows]


@settings(max_examples=50)
@given(
    rows=st.integers(1, 4), columns=st.integers(1, 20), group_size=st.integers(1, 24),
    act_order=st.booleans(), zeroed=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_dequantize_is_the_definition(
    rows: int, columns: int, group_size: int, act_order: bool, zeroed: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = -(-columns // group_size)
    codes = torch.randint(0, 256, (rows, columns), generator=generator, dtype=torch.uint8)
    zeros = torch.randint(0, 256, (rows, n), generator=generator, dtype=torch.int16)
    scales = torch.randn((rows, n), generator=generator).to(torch.bfloat16)
    order = torch.arange(columns) // group_size
    if act_order:
        order = order[torch.randperm(columns, generator=generator)]
    out = torch.empty((rows, columns))
    dequantize(
        codes, zeros if zeroed else None, scales, group_size, order if act_order else None, out
    )
    for r in range(rows):
        for c in range(columns):
            zero = int(zeros[r, order[c]]) if zeroed else 0
            exact = (int(codes[r, c]) - zero) * float(scales[r, order[c]])  # exact in a double
            assert float(out[r, c]) == exact


def test_blocks_cover_every_row_once_and_keep_their_step() -> None:
    seen: list[tuple[int, int]] = []

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        seen.append((start, stop))
        out.fill_(start)

    matrix = by_blocks((100, 1 << 14), torch.float32, fill, step=8)
    assert all(start % 8 == 0 for start, _ in seen)
    assert [row for start, stop in seen for row in range(start, stop)] == list(range(100))
    assert matrix[-1, -1] == seen[-1][0]


def test_blocks_are_rounded_once_from_float32() -> None:
    """1 + 2^-8 + 2^-20 lies above the middle of two bfloat16; with 2^-20 lost it would not."""

    def fill(start: int, stop: int, out: torch.Tensor) -> None:
        assert out.dtype == torch.float32
        out.fill_(1 + 2**-8).add_(2**-20)

    assert bool((by_blocks((70, 1 << 13), torch.bfloat16, fill) == 1 + 2**-7).all())
    assert by_blocks((2, 3), torch.bfloat16, fill).dtype == torch.bfloat16
