"""The files that make up one GGUF model: a single one, or all parts of a split one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.errors import CheckpointError
from bitloss.formats.gguf.header import StoredTensor, has_magic, read_header

__all__ = ["GgufFiles", "find_file", "open_files"]

# llama_split_path in llama.cpp (src/llama.cpp): "%s-%05d-of-%05d.gguf", counted from one.
_PART = re.compile(r"^(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf$")
# Files that accompany a model and are not one: vision projectors and importance matrices.
_COMPANIONS = ("mmproj", "imatrix")


@dataclass(frozen=True, slots=True)
class GgufFiles:
    """A model's headers, put together.

    Attributes:
        paths: the files, in order.
        metadata: of the first file, which has all of it.
        tensors: of all files, by llama.cpp's name, in file order.
    """

    paths: tuple[Path, ...]
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]

    @property
    def file_bytes(self) -> int:
        """Bytes of the files on disk."""
        return sum(path.stat().st_size for path in self.paths)


def find_file(path: Path) -> Path | None:
    """The (first) GGUF file that a path stands for, None where it stands for none.

    A file counts by its magic bytes or its suffix; a directory where it holds exactly one GGUF
    model and no safetensors.
    """
    if path.is_file():
        return path if path.suffix == ".gguf" or has_magic(path) else None
    if not path.is_dir() or any(path.glob("*.safetensors")):
        return None
    models: dict[str, list[Path]] = {}
    for file in sorted(path.glob("*.gguf")):
        if any(word in file.name for word in _COMPANIONS):
            continue
        part = _PART.match(file.name)
        models.setdefault(part["stem"] if part else file.name, []).append(file)
    if len(models) != 1:
        return None
    return next(iter(models.values()))[0]


def open_files(path: Path) -> GgufFiles:
    """Read the headers of all parts of the model that the file belongs to.

    Raises:
        CheckpointError: a part is missing or damaged, or the parts do not fit together.
        UnsupportedModel: see `bitloss.formats.gguf.header.read_header`.
    """
    paths = _parts(path)
    headers = [read_header(part) for part in paths]
    metadata = headers[0].metadata
    promised = _count(path, metadata, "split.count", 1)
    if promised > 1 and promised != len(paths):
        raise CheckpointError(
            f"{path}: expected {promised} parts, got {len(paths)}",
            hint=f"name them {path.stem}-00001-of-{promised:05d}.gguf and so on, in one folder",
        )
    tensors = {tensor.name: tensor for header in headers for tensor in header.tensors}
    expected = _count(path, metadata, "split.tensors.count", len(tensors))
    if expected != len(tensors):
        raise CheckpointError(
            f"{path}: expected {expected} tensors in {len(paths)} parts, got {len(tensors)}",
            hint="download all parts again: they are of different versions",
        )
    return GgufFiles(paths, metadata, tensors)


def _count(path: Path, metadata: Mapping[str, Any], key: str, default: int) -> int:
    value = metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CheckpointError(
            f"{path}: `{key}`: expected a whole number, got {repr(value)[:80]}",
            hint="download the file again: it is damaged",
        )
    return value


def _parts(path: Path) -> tuple[Path, ...]:
    part = _PART.match(path.name)
    if part is None:
        return (path,)
    count = int(part["count"])
    paths = tuple(
        path.with_name(f"{part['stem']}-{index:05d}-of-{count:05d}.gguf")
        for index in range(1, count + 1)
    )
    missing = [file.name for file in paths if not file.is_file()]
    if missing:
        raise CheckpointError(
            f"{path}: expected {count} parts, missing {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''}",
            hint="download the rest of the model",
        )
    return paths
