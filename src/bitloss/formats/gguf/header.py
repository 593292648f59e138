"""The header of a GGUF file: metadata and where the tensors lie.

The layout is llama.cpp's (ggml/include/gguf.h; docs/gguf.md in the ggml repository): magic,
version, counts, key-value pairs, tensor infos, padding, data. The library's reader makes several
numpy views of every vocabulary entry (9 s for 152,000 tokens and as many merges); this one walks
the bytes once (0.2 s).
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.contents.encodings import require_kind
from bitloss.contents.kinds import GGUF
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.library import gguf_library

__all__ = ["Header", "StoredTensor", "has_magic", "metadata_alone", "read_header"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_AGAIN = "download or copy the file again: it is damaged or incomplete"

# enum gguf_type: the scalars' struct codes, then the two that are not scalars.
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING = 8
_ARRAY = 9


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the header describes it.

    Attributes:
        name: llama.cpp's name (``blk.0.attn_q.weight``).
        type: ggml's type (``Q4_K``).
        shape: dense, in row-major order (the reverse of the file's).
        file: the file it lies in.
        offset: of its first byte, from the file's beginning.
        nbytes: bytes of data.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """One file's header.

    Attributes:
        file: where it was read.
        metadata: key-value pairs; arrays are lists.
        tensors: in file order.
    """

    file: Path
    metadata: dict[str, Any]
    tensors: tuple[StoredTensor, ...]


def has_magic(path: Path) -> bool:
    """Whether the path is a file that begins with GGUF's four magic bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == _MAGIC


def read_header(file: Path) -> Header:
    """Read a file's header and check that all its tensors lie within the file.

    Raises:
        CheckpointError: not a GGUF file, truncated, or contradicting itself.
        UnsupportedModel: version 1, big-endian, or a tensor type that `gguf` does not know.
    """
    require_kind(file, CheckpointError, door=GGUF)
    with (
        file.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        cursor = _Cursor(file, data, 4)
        _check_version(file, cursor.scalar("I"))
        n_tensors, n_pairs = cursor.scalar("Q"), cursor.scalar("Q")
        metadata: dict[str, Any] = {}
        for _ in range(n_pairs):
            key = cursor.string()
            if key in metadata:
                raise CheckpointError(f"{file}: `{key}` appears more than once", hint=_AGAIN)
            metadata[key] = cursor.value(cursor.scalar("I"))
        infos = [cursor.tensor_info() for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise CheckpointError(f"{file}: general.alignment is {alignment!r}", hint=_AGAIN)
        base = -(-cursor.position // alignment) * alignment
        tensors = tuple(_stored(file, base, info) for info in infos)
        _check_places(file, len(data), base, alignment, tensors)
    return Header(file, metadata, tensors)


def metadata_alone(file: Path) -> bytes:
    """A GGUF file with the metadata of this one and no tensors: its tokenizer, for one.

    What is said of a split file's parts is left out.

    Raises:
        CheckpointError: see `read_header`.
    """
    with (
        file.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        cursor = _Cursor(file, data, 4)
        version = cursor.scalar("I")
        _check_version(file, version)
        _, n_pairs = cursor.scalar("Q"), cursor.scalar("Q")
        kept = []
        for _ in range(n_pairs):
            begin = cursor.position
            key = cursor.string()
            cursor.value(cursor.scalar("I"))
            if not key.startswith("split."):
                kept.append(data[begin : cursor.position])
    return b"".join([_MAGIC, struct.pack("<IQQ", version, 0, len(kept)), *kept])


class _Cursor:
    """Walks over the header's bytes and knows where they end."""

    def __init__(self, file: Path, data: mmap.mmap, position: int) -> None:
        self.file = file
        self.data = data
        self.size = len(data)
        self.position = position

    def take(self, count: int) -> int:
        """Move on by `count` bytes and return where they begin."""
        start, self.position = self.position, self.position + count
        if self.position > self.size:
            raise CheckpointError(
                f"{self.file}: the header is truncated: expected at least {self.position} bytes, "
                f"got {self.size}",
                hint=_AGAIN,
            )
        return start

    def scalar(self, code: str) -> Any:
        return struct.unpack_from(f"<{code}", self.data, self.take(struct.calcsize(f"<{code}")))[0]

    def string(self) -> str:
        length = self.scalar("Q")
        start = self.take(length)
        return self.data[start : start + length].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array()
        raise CheckpointError(f"{self.file}: metadata of unknown type {kind}", hint=_AGAIN)

    def array(self) -> list[Any]:
        kind, count = self.scalar("I"), self.scalar("Q")
        if kind == _STRING:
            return self.strings(count)
        if kind in _SCALARS:
            width = struct.calcsize(f"<{_SCALARS[kind]}")
            start = self.take(count * width)
            return list(struct.unpack_from(f"<{count}{_SCALARS[kind]}", self.data, start))
        raise CheckpointError(f"{self.file}: an array of unknown type {kind}", hint=_AGAIN)

    def strings(self, count: int) -> list[str]:
        # Vocabularies: the same as `count` calls of `string`, without their overhead.
        unpack, data, size, position = (
            struct.Struct("<Q").unpack_from,
            self.data,
            self.size,
            self.position,
        )
        found = []
        for _ in range(count):
            end = position + 8
            if end <= size:
                end += unpack(data, position)[0]
            if end > size:
                self.take(end - self.position)
            found.append(data[position + 8 : end].decode("utf-8", "replace"))
            position = end
        self.position = position
        return found

    def tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, type and offset; the file lists the fastest dimension first."""
        name = self.string()
        count = self.scalar("I")
        start = self.take(8 * count)
        dims = struct.unpack_from(f"<{count}Q", self.data, start)
        return name, tuple(reversed(dims)), self.scalar("I"), self.scalar("Q")


def _check_version(file: Path, version: int) -> None:
    if version in _VERSIONS:
        return
    # The version's low half is never zero in the byte order it was written in.
    if version & 0xFFFF == 0:
        raise UnsupportedModel(
            f"{file}: a big-endian GGUF file; expected little-endian",
            hint="convert it with gguf-convert-endian (from the package gguf)",
        )
    raise UnsupportedModel(
        f"{file}: GGUF version {version}; expected {' or '.join(map(str, _VERSIONS))}",
        hint="convert the model again with a current llama.cpp",
    )


def _stored(file: Path, base: int, info: tuple[str, tuple[int, ...], int, int]) -> StoredTensor:
    gguf = gguf_library()
    name, shape, kind, offset = info
    try:
        ggml_type = gguf.GGMLQuantizationType(kind)
    except ValueError as error:
        raise UnsupportedModel(
            f"{file}: `{name}` has type {kind}, which gguf does not know",
            hint="try another type: the file was made by a fork of llama.cpp, or a newer version",
        ) from error
    block, nbytes = gguf.GGML_QUANT_SIZES[ggml_type]
    if not shape or shape[-1] % block:
        raise CheckpointError(
            f"{file}: `{name}` has shape {list(shape)}; rows of {ggml_type.name} are multiples "
            f"of {block}",
            hint=_AGAIN,
        )
    return StoredTensor(
        name, ggml_type.name, shape, file, base + offset, math.prod(shape) // block * nbytes
    )


def _check_places(
    file: Path, size: int, base: int, alignment: int, tensors: tuple[StoredTensor, ...]
) -> None:
    """Each tensor once, where tensors may begin, none over another, and all within the file."""
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise CheckpointError(f"{file}: `{tensor.name}` appears more than once", hint=_AGAIN)
        seen.add(tensor.name)
        if (tensor.offset - base) % alignment:
            raise CheckpointError(
                f"{file}: `{tensor.name}`: expected an offset that is a multiple of {alignment}, "
                f"got {tensor.offset - base}",
                hint=_AGAIN,
            )
    end, before = base, ""
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset < end:
            raise CheckpointError(
                f"{file}: `{tensor.name}` begins at {tensor.offset}, within `{before}`, which ends "
                f"at {end}",
                hint=_AGAIN,
            )
        end, before = tensor.offset + tensor.nbytes, tensor.name
    if tensors and end > size:  # without tensors nothing follows the header, not even padding
        raise CheckpointError(f"{file}: expected at least {end} bytes, got {size}", hint=_AGAIN)
