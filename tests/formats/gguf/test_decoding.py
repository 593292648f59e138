"""Oracles: ggml's C decoders (peers/ggml.py) and the package gguf, on random blocks."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf import decoding
from bitloss.formats.gguf.header import StoredTensor
from peers import ggml

QUANTIZED = (
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ1_S",
    "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS", "TQ1_0",
    "TQ2_0", "MXFP4", "NVFP4",
)  # fmt: skip


def _random_blocks(kind: str, blocks: int, seed: int) -> np.ndarray:
    size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][1]
    return np.random.default_rng(seed).integers(0, 256, blocks * size, dtype=np.uint8)


@pytest.mark.parametrize("kind", QUANTIZED)
def test_every_type_decodes_to_the_bits_of_ggml(kind: str) -> None:
    block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0]
    blocks = _random_blocks(kind, 300, seed=3)
    values = decoding.decode(blocks, kind)
    expected = ggml.dequantize(blocks, kind, 300 * block)
    finite = np.isfinite(expected)
    assert finite.mean() > 0.8
    assert np.array_equal(values[finite].view(np.uint32), expected[finite].view(np.uint32))
    assert not np.isfinite(values[~finite]).any()


@pytest.mark.parametrize("kind", [*QUANTIZED, "F32", "F16", "BF16"])
@settings(max_examples=5, deadline=None)
@given(rows=st.integers(1, 40), blocks=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_any_shape_decodes_as_the_library_decodes_it(
    kind: str, rows: int, blocks: int, seed: int
) -> None:
    raw = _random_blocks(kind, rows * blocks, seed)
    with np.errstate(all="ignore"):
        expected = gguf.dequantize(raw.reshape(rows, -1), gguf.GGMLQuantizationType[kind])
    assert np.array_equal(decoding.decode(raw, kind), expected.reshape(-1), equal_nan=True)


def test_q8_0_by_hand() -> None:
    """A block is a half-precision scale and 32 signed bytes; the value is their product."""
    block = np.float16([0.5]).tobytes() + bytes([1, 255, 127, 128, *[0] * 28])
    values = decoding.decode(np.frombuffer(block, np.uint8), "Q8_0")
    assert values[:5].tolist() == [0.5, -0.5, 63.5, -64.0, 0.0]


def test_q4_0_by_hand() -> None:
    """Low nibbles are the first half of the block, high nibbles the second; minus eight each."""
    block = np.float16([2.0]).tobytes() + bytes([0xF0, 0x19, *[0x88] * 14])
    values = decoding.decode(np.frombuffer(block, np.uint8), "Q4_0")
    assert values[[0, 1, 16, 17, 2]].tolist() == [-16.0, 2.0, 14.0, -14.0, 0.0]


@pytest.mark.parametrize(
    ("kind", "shape"), [("Q8_0", (700, 1024)), ("Q6_K", (3, 256)), ("F16", (5,))]
)
def test_a_tensor_is_read_piece_by_piece_from_its_offset(
    tmp_path: Path, kind: str, shape: tuple[int, ...]
) -> None:
    block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    raw = _random_blocks(kind, int(np.prod(shape)) // block, seed=5) & 0x3F
    file = tmp_path / "tensor"
    file.write_bytes(b"before" + raw.tobytes() + b"behind")
    tensor = decoding.read_tensor(StoredTensor("t", kind, shape, file, 6, raw.size))
    assert tensor.dtype == torch.float32
    assert tensor.shape == shape
    assert np.array_equal(tensor.numpy().reshape(-1), decoding.decode(raw, kind))


def test_a_file_cut_off_after_opening_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "tensor"
    file.write_bytes(bytes(100))
    with pytest.raises(CheckpointError, match=r"expected 136 bytes at 6, got 94"):
        decoding.read_tensor(StoredTensor("t", "Q8_0", (4, 32), file, 6, 136))


@pytest.mark.parametrize("kind", ["Q8_K", "I32", "Q8_1"])
def test_types_without_a_decoder_are_named(kind: str) -> None:
    with pytest.raises(UnsupportedModel, match=kind):
        decoding.check_type(kind)
