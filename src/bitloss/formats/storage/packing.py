"""Small integers out of 32-bit words, and grouped scales onto them.

Everything works on a few rows at a time, so that what lies between the packed words and the
dense weights stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = [
    "E2M1",
    "by_blocks",
    "dequantize",
    "unpack",
    "unpack_pairs",
    "unpack_planes",
    "widen",
    "words_for",
]

_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E2M1 = (*_MAGNITUDES, *(-value for value in _MAGNITUDES))
"""The sixteen four-bit floats; OCP Microscaling Formats specification 1.0, section 5.3.3."""

# Widths of the planes of an integer's bits, lowest first, by the integer's width. Source:
# GPTQModel 7.6, utils/planar_packing.py; widths that are not here have one plane, a stream.
_PLANES = {3: (2, 1), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}

# Weights decoded at once: their codes and products together fit into a megabyte or two of cache.
_BLOCK = 1 << 18


def words_for(count: int, bits: int) -> int:
    """32-bit words that hold `count` integers of `bits` bits as one stream."""
    return -(-count * bits // 32)


def unpack(words: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Read each row as a stream of integers, lowest bits first, that may straddle words.

    Args:
        words: int32, shape ``[rows, words]``.
        bits: of an integer, 1 to 8.
        count: integers wanted of each row, at most ``words * 32 // bits``.

    Returns:
        uint8, shape ``[rows, count]``.
    """
    rows = words.shape[0]
    stream = words.contiguous().view(torch.uint8).view(rows, -1)
    if bits == 8:
        return stream[:, :count]
    if bits in (1, 2, 4):
        # Whole integers in a byte: the quickest way is one pass for each place in the byte.
        places = [(stream >> shift) & (2**bits - 1) for shift in range(0, 8 - bits, bits)]
        codes = torch.stack([*places, stream >> (8 - bits)], dim=-1)
        return codes.view(rows, -1)[:, :count]
    # Eight integers lie in `bits` bytes. Pad the stream to whole octets of them.
    octets = -(-count // 8)
    if stream.shape[1] < octets * bits:
        stream = torch.nn.functional.pad(stream, (0, octets * bits - stream.shape[1]))
    stream = stream[:, : octets * bits].view(rows, octets, bits)
    codes = torch.empty((rows, octets, 8), dtype=torch.uint8)
    for place in range(8):
        byte, shift = divmod(place * bits, 8)
        code = stream[..., byte] >> shift
        if shift + bits > 8:
            code = code | (stream[..., byte + 1] << (8 - shift))
        torch.bitwise_and(code, 2**bits - 1, out=codes[..., place])
    return codes.view(rows, -1)[:, :count]


def unpack_pairs(packed: torch.Tensor, values: torch.Tensor, *, high_first: bool) -> torch.Tensor:
    """Look up two four-bit codes per byte.

    Args:
        packed: uint8 or int8, any shape.
        values: of the sixteen codes, of a floating type.
        high_first: whether a byte's high half comes first.

    Returns:
        Of the values' type, shape ``[..., 2 * bytes]``.
    """
    slow, fast = values.repeat_interleave(16), values.repeat(16)
    table = torch.stack((slow, fast) if high_first else (fast, slow), dim=-1)
    # Both values at once, as one integer: five times as fast as one by one.
    whole = torch.int64 if values.dtype.itemsize == 4 else torch.int32
    pairs = table.contiguous().view(whole).view(-1)
    picks = packed.contiguous().view(torch.uint8).view(-1).to(torch.int32)
    found = pairs.index_select(0, picks).view(values.dtype)
    return found.view(*packed.shape[:-1], 2 * packed.shape[-1])


def widen(codes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Small numbers in a wider type; those of a byte's floats are looked up.

    Args:
        codes: integers or floats of eight bits, any shape.
        dtype: one that holds all their values.
    """
    if not codes.dtype.is_floating_point:
        return codes.to(dtype)
    # torch converts these one by one: a table is some twenty times as fast.
    table = torch.arange(256, dtype=torch.uint8).view(codes.dtype).to(dtype)
    picks = codes.contiguous().view(torch.uint8).view(-1).to(torch.int32)
    return table.index_select(0, picks).view(codes.shape)


def unpack_planes(words: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Read each row as blocks of 32 integers, their low bits first, then their high bits.

    The low bits of a block's integers are a stream that fills whole words, and so are their high
    bits. Widths of 2, 4 and 8 have one such stream, the same as in `unpack`.

    Args:
        words: int32, shape ``[rows, words]``; as many words as whole blocks take.
        bits: of an integer, 2 to 8.
        count: integers wanted of each row.

    Returns:
        uint8, shape ``[rows, count]``.
    """
    if bits not in _PLANES:
        return unpack(words, bits, count)
    rows = words.shape[0]
    blocks = words.contiguous().view(rows, -1, bits)
    n_blocks = blocks.shape[1]
    codes: torch.Tensor | None = None
    first = 0
    for width in _PLANES[bits]:
        plane = blocks[..., first : first + width].reshape(rows * n_blocks, width)
        part = unpack(plane, width, 32)
        codes = part if codes is None else codes.bitwise_or_(part << first)
        first += width
    assert codes is not None
    return codes.view(rows, -1)[:, :count]


def dequantize(
    codes: torch.Tensor,
    zeros: torch.Tensor | None,
    scales: torch.Tensor,
    group_size: int,
    groups: torch.Tensor | None,
    out: torch.Tensor,
) -> None:
    """Write ``(code - zero) * scale``, computed in float32, into `out`.

    Args:
        codes: uint8 or int8, shape ``[rows, columns]``.
        zeros: int16 or narrower, shape ``[rows, groups]``, or None for zero.
        scales: floating point, shape ``[rows, groups]``.
        group_size: columns that share a scale; the last group may be short.
        groups: for act-order, the group of each column, int64, shape ``[columns]``; else None.
        out: float32, shape ``[rows, columns]``.

    The difference has at most nine bits, so that its product with a scale of 16 bits is exact, and
    with one of 32 bits rounded once.
    """
    rows, columns = codes.shape
    if groups is None and columns % group_size:
        groups = torch.arange(columns) // group_size
    if groups is not None:
        scales = _columns(scales, groups)
        zeros = None if zeros is None else _columns(zeros, groups)
    else:
        shape = (rows, columns // group_size, group_size)
        codes, out, scales = codes.view(shape), out.view(shape), scales.unsqueeze(-1)
        zeros = None if zeros is None else zeros.unsqueeze(-1)
    out.copy_(codes if zeros is None else codes - zeros)
    out.mul_(scales.float())


def _columns(table: torch.Tensor, picks: torch.Tensor) -> torch.Tensor:
    # Whole rows of the transposed table, copied as an embedding's: ten times as fast as indexing.
    return torch.nn.functional.embedding(picks, table.t().contiguous()).t().contiguous()


def by_blocks(
    shape: tuple[int, int],
    dtype: torch.dtype,
    fill: Callable[[int, int, torch.Tensor], None],
    step: int = 1,
) -> torch.Tensor:
    """Make a matrix in float32 a few rows at a time, each rounded once to the type of the result.

    Args:
        shape: ``(rows, columns)``.
        dtype: of the result.
        fill: called with the first row, one past the last, and the rows to write, in float32.
        step: blocks begin at multiples of it.
    """
    rows, columns = shape
    result = torch.empty(shape, dtype=dtype)
    block = max(_BLOCK // max(columns, 1) // step, 1) * step
    exact = None if dtype == torch.float32 else torch.empty((min(block, rows), columns))
    for start in range(0, rows, block):
        stop = min(start + block, rows)
        if exact is None:
            fill(start, stop, result[start:stop])
        else:
            fill(start, stop, exact[: stop - start])
            result[start:stop] = exact[: stop - start]
    return result
