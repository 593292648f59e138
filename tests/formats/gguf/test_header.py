"""Oracles: `gguf.GGUFReader`, and files damaged on purpose."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.header import has_magic, read_header

SCALARS = {
    "a.u8": ("add_uint8", 200), "a.i8": ("add_int8", -100), "a.u16": ("add_uint16", 60000),
    "a.i16": ("add_int16", -30000), "a.u32": ("add_uint32", 4_000_000_000),
    "a.i32": ("add_int32", -5), "a.u64": ("add_uint64", 2**63), "a.i64": ("add_int64", -(2**62)),
    "a.f32": ("add_float32", 0.5), "a.f64": ("add_float64", 1e-300), "a.yes": ("add_bool", True),
    "a.text": ("add_string", "žluťoučký"),
}  # fmt: skip
ARRAYS = {"b.words": ["a", "", "▁the"], "b.numbers": [1, -2, 3], "b.floats": [0.5, 2.0]}


def _write(path: Path, *, alignment: int | None = None, big_endian: bool = False) -> Path:
    endian = gguf.GGUFEndian.BIG if big_endian else gguf.GGUFEndian.LITTLE
    writer = gguf.GGUFWriter(path, "llama", endianess=endian)
    if alignment:
        writer.add_custom_alignment(alignment)
    for key, (method, value) in SCALARS.items():
        getattr(writer, method)(key, value)
    for key, values in ARRAYS.items():
        writer.add_array(key, values)
    writer.add_tensor("first", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.add_tensor("second", np.arange(7, dtype=np.float16))
    writer.add_tensor(
        "third", np.zeros((2, 68), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("gguf") / "small.gguf")


@pytest.mark.parametrize("alignment", [None, 64])
def test_metadata_and_tensors_are_those_of_the_library(
    tmp_path: Path, alignment: int | None
) -> None:
    path = _write(tmp_path / "model.gguf", alignment=alignment)
    header, reader = read_header(path), gguf.GGUFReader(path)
    known = {key: field.contents() for key, field in reader.fields.items() if "GGUF." not in key}
    assert header.metadata == known
    assert {key: header.metadata[key] for key in SCALARS} == {
        key: value for key, (_, value) in SCALARS.items()
    }
    assert {key: header.metadata[key] for key in ARRAYS} == ARRAYS
    for ours, theirs in zip(header.tensors, reader.tensors, strict=True):
        assert ours.name == theirs.name
        assert ours.type == theirs.tensor_type.name
        assert ours.shape == tuple(reversed(theirs.shape.tolist()))
        assert (ours.offset, ours.nbytes) == (theirs.data_offset, theirs.n_bytes)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_truncation_is_reported(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = small.read_bytes()
    # The last tensor's padding may be missing.
    kept = data.draw(st.integers(4, read_header(small).tensors[-1].offset + 2 * 68 - 1))
    cut = tmp_path_factory.mktemp("cut") / "cut.gguf"
    cut.write_bytes(whole[:kept])
    with pytest.raises(CheckpointError, match=rf"expected at least \d+ bytes, got {kept}"):
        read_header(cut)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_is_an_error_of_ours_or_harmless(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(small.read_bytes())
    position = data.draw(st.integers(0, read_header(small).tensors[0].offset - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    file = tmp_path_factory.mktemp("flip") / "flip.gguf"
    file.write_bytes(damaged)
    with suppress(CheckpointError, UnsupportedModel):
        read_header(file)


def test_other_files_are_no_gguf(tmp_path: Path) -> None:
    page = tmp_path / "model.gguf"
    page.write_text("<html>not found</html>")
    assert not has_magic(page)
    assert not has_magic(tmp_path)
    with pytest.raises(CheckpointError, match=r"expected a GGUF file, got a web page \(HTML\)"):
        read_header(page)


def test_big_endian_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "model.gguf", big_endian=True)
    with pytest.raises(UnsupportedModel, match="big-endian"):
        read_header(path)


@pytest.mark.parametrize("version", [1, 4])
def test_other_versions_are_refused(small: Path, tmp_path: Path, version: int) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", version) + small.read_bytes()[8:])
    with pytest.raises(UnsupportedModel, match=f"GGUF version {version}; expected 2 or 3"):
        read_header(path)


@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        (b"third", b"first", CheckpointError, "more than once"),
        (b"\x08\0\0\0", b"\x63\0\0\0", UnsupportedModel, "`third` has type 99"),
        (b"\x40\0\0\0", b"\x21\0\0\0", CheckpointError, "multiples of 32"),
    ],
)
def test_contradictions_are_named(
    small: Path, tmp_path: Path, old: bytes, new: bytes, error: type[Exception], words: str
) -> None:
    whole = small.read_bytes()
    start = whole.rindex(b"third")
    whole = whole[:start] + whole[start:].replace(old, new, 1)
    path = tmp_path / "model.gguf"
    path.write_bytes(whole)
    with pytest.raises(error, match=words):
        read_header(path)


def _move(small: Path, path: Path, name: bytes, offset: int) -> Path:
    """Give a tensor another offset: eight bytes at the end of its entry."""
    whole = bytearray(small.read_bytes())
    start = whole.rindex(name)
    count = struct.unpack_from("<I", whole, start + len(name))[0]
    struct.pack_into("<Q", whole, start + len(name) + 4 + 8 * count + 4, offset)
    path.write_bytes(whole)
    return path


def test_tensors_begin_where_they_may(small: Path, tmp_path: Path) -> None:
    path = _move(small, tmp_path / "model.gguf", b"second", 65)
    with pytest.raises(CheckpointError, match=r"`second`: expected .* a multiple of 32, got 65"):
        read_header(path)


def test_tensors_do_not_overlap(small: Path, tmp_path: Path) -> None:
    path = _move(small, tmp_path / "model.gguf", b"second", 32)
    with pytest.raises(CheckpointError, match=r"`second` begins at .* within `first`"):
        read_header(path)


def test_a_key_is_there_once(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(small.read_bytes().replace(b"a.i16", b"a.u16", 1))
    with pytest.raises(CheckpointError, match=r"`a\.u16` appears more than once"):
        read_header(path)
