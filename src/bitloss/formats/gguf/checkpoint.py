"""A GGUF model as a `bitloss.formats.base.Checkpoint`."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import Rows
from bitloss.formats.configs.door import check_values
from bitloss.formats.gguf.config import Implied
from bitloss.formats.gguf.decoding import check_type, read_tensor
from bitloss.formats.gguf.fallbacks import fallback_note
from bitloss.formats.gguf.families.graph import parameter_shapes
from bitloss.formats.gguf.families.names import Parameter, resolve
from bitloss.formats.gguf.families.operations import SAME
from bitloss.formats.gguf.families.table import FAMILIES, Family, choose
from bitloss.formats.gguf.file_types import FILE_TYPES
from bitloss.formats.gguf.files import GgufFiles, find_file, open_files
from bitloss.formats.gguf.metadata import DAMAGED, Metadata
from bitloss.spec.fingerprint import sha256_files
from bitloss.types import ModelInfo

if TYPE_CHECKING:
    import torch

__all__ = ["GgufCheckpoint", "checkpoint_of", "matches", "open_checkpoint"]

_FLOATS = ("F64", "F32", "F16", "BF16")
# File types that llama.cpp can write and a recipe cannot ask for (include/llama.h).
_OTHER_FILE_TYPES = {36: "tq1_0", 37: "tq2_0", 38: "mxfp4_moe", 39: "nvfp4", 40: "q1_0"}


def matches(path: Path) -> bool:
    """Whether the path is a GGUF file, or a directory with one GGUF model and no safetensors."""
    return find_file(path) is not None


def open_checkpoint(path: Path, name: str | None = None) -> GgufCheckpoint:
    """Open a GGUF file (any part of a split one) or the directory that holds it.

    Raises:
        CheckpointError: the file is missing, truncated or damaged.
        UnsupportedModel: an architecture, GGUF version or tensor type that cannot be read.
        MissingDependency: the package `gguf` is not installed.
    """
    file = find_file(path)
    if file is None:
        raise CheckpointError(
            f"{path}: expected a GGUF file, or a directory with one and no safetensors",
            hint="give the path of the .gguf file",
        )
    return checkpoint_of(open_files(file), name or str(path))


def checkpoint_of(files: GgufFiles, name: str) -> GgufCheckpoint:
    """The checkpoint of opened headers; see `open_checkpoint`.

    Raises:
        CheckpointError: metadata and tensors contradict each other.
        UnsupportedModel: an architecture or tensor type that cannot be read.
    """
    metadata = Metadata(files)
    family = _family(metadata)
    for kind in sorted({tensor.type for tensor in files.tensors.values()}):
        check_type(kind)
    config: dict[str, Any] = {
        "model_type": family.model_type,
        "architectures": [family.architecture],
    }
    implied: set[str] = set()
    for part in family.parts:
        values = part(metadata)
        config |= values
        implied = (
            implied | values.keys() if isinstance(values, Implied) else implied - values.keys()
        )
    metadata.refuse_unread()
    check_values(config, str(files.paths[0]), tensors=len(files.tensors), hint=DAMAGED)
    shapes = parameter_shapes(config)
    parameters = resolve(family, files, config, shapes, metadata.layers())
    return GgufCheckpoint(name, files, family, config, parameters, frozenset(implied))


def _family(metadata: Metadata) -> Family:
    family = choose(metadata)
    if family is None:
        known = sorted({member.arch for member in FAMILIES.values()})
        raise UnsupportedModel(
            f"GGUF architecture `{metadata.prefix}` is not supported",
            hint=f"choose one of {', '.join(known)} (Mistral and Mixtral are written as llama)",
        )
    return family


@dataclass(frozen=True)
class GgufCheckpoint:
    """An opened GGUF model.

    Attributes:
        name: how the user called it.
        files: its headers.
        family: of its architecture.
        transformers_config: from its metadata.
        parameters: by transformers name, in file order.
        implied: keys of the config that the file does not state; see `bitloss.formats.base`.
    """

    name: str
    files: GgufFiles
    family: Family
    transformers_config: dict[str, Any]
    parameters: dict[str, Parameter]
    implied: frozenset[str] = frozenset()

    @cached_property
    def info(self) -> ModelInfo:
        """Format, bits per weight, digest and sizes; the first access hashes the files."""
        file_type = self._file_type()
        stored = self.files.tensors.values()
        parameters = sum(math.prod(self.shape(name)) for name in self.names())
        return ModelInfo(
            name=self.name,
            digest=sha256_files(list(self.files.paths)),
            format=f"gguf-{file_type}",
            bits=float(re.findall(r"\d+", file_type)[0]),
            bits_per_weight=8 * sum(tensor.nbytes for tensor in stored) / max(parameters, 1),
            file_bytes=self.files.file_bytes,
            parameters=parameters,
            calibration=self._calibration(),
            architecture=self.transformers_config["architectures"][0],
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Types that are in the place of the file type's own; see `fallback_note`."""
        note = fallback_note(self._file_type(), self.files.tensors.values())
        return (note,) if note else ()

    @property
    def config(self) -> dict[str, Any]:
        """See `Checkpoint.config`; made from the metadata."""
        return dict(self.transformers_config)

    def names(self) -> tuple[str, ...]:
        """See `Checkpoint.names`."""
        return tuple(self.parameters)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `Checkpoint.shape`."""
        return self._parameter(name).shape

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """See `Checkpoint.read`; an operation computes with float32 whatever `dtype` is."""
        parameter = self._parameter(name)
        rounded = None if parameter.operation.computes else dtype
        stored = [
            read_tensor(tensor, None if tensor.type in _FLOATS else rounded)
            for tensor in (self.files.tensors[part] for part in parameter.stored)
        ]
        decoded = parameter.operation.decode(stored, self.transformers_config, parameter.index)
        return decoded.reshape(parameter.shape).contiguous()

    def rows(self, name: str, dtype: torch.dtype) -> Rows | None:
        """See `bitloss.formats.base.checkpoint_rows`: of tensors that lie as the graph has them."""
        parameter = self._parameter(name)
        if parameter.operation is not SAME:
            return None
        (tensor,) = (self.files.tensors[part] for part in parameter.stored)
        if tensor.shape != parameter.shape:
            return None
        rounded = None if tensor.type in _FLOATS else dtype
        return lambda start, stop: read_tensor(tensor, rounded, range(start, stop))

    def _parameter(self, name: str) -> Parameter:
        if name not in self.parameters:
            raise CheckpointError(
                f"{self.name}: no parameter `{name}`",
                hint="download the complete file, or one of the reference's architecture",
            )
        return self.parameters[name]

    def _file_type(self) -> str:
        """llama.cpp's file type, else the ggml type that most weights have."""
        names = {number: name for name, number in FILE_TYPES.items()} | _OTHER_FILE_TYPES
        number = self.files.metadata.get("general.file_type")
        if isinstance(number, int) and number in names:
            return names[number]
        sizes: Counter[str] = Counter()
        for tensor in self.files.tensors.values():
            sizes[tensor.type.lower()] += math.prod(tensor.shape)
        return sizes.most_common(1)[0][0]

    def _calibration(self) -> str | None:
        """The importance matrix's text, as llama-quantize records it."""
        metadata = self.files.metadata
        for key in ("quantize.imatrix.dataset", "quantize.imatrix.file"):
            if metadata.get(key):
                return str(metadata[key])
        return None
