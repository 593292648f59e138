"""A checkpoint put together from a directory and a recipe for each of its parameters."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import DeclaredInput, Rows
from bitloss.formats.storage.directory import ModelDirectory
from bitloss.formats.storage.shards import StoredTensor
from bitloss.formats.storage.stored_kinds import describe_codes
from bitloss.spec.fingerprint import canonical_json, sha256_files
from bitloss.types import ModelInfo

__all__ = [
    "DENSE_TYPES",
    "DecodedCheckpoint",
    "Facts",
    "Parameter",
    "dense_parameters",
    "of_most_weights",
    "quantized_checkpoint",
    "quantized_modules",
]

_Kind = TypeVar("_Kind")

# The types of dense parameters: bits and the name in `ModelInfo.format`.
DENSE_TYPES = {"F32": (32, "fp32"), "F16": (16, "fp16"), "BF16": (16, "bf16")}

# Buffers that older checkpoints carry and transformers computes or ignores.
_BUFFERS = re.compile(
    r"\.rotary_emb\.(inv_freq|cos_cached|sin_cached)$|\.(attn|attention)\.masked_bias$"
)
_CAUSAL_MASK = re.compile(r"\.(attn|attention)\.bias$")
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings|tokens_embed)\.weight$")
_HEAD = re.compile(r"^(lm_head|embed_out|output)\.weight$")


@dataclass(frozen=True, slots=True)
class Parameter:
    """How one dense parameter is had.

    Attributes:
        shape: of the dense tensor.
        read: decodes it, to the type that it is given if it is quantized (`Checkpoint.read`).
        rows: reads a few rows of one that is stored as floats.
    """

    shape: tuple[int, ...]
    read: Callable[[torch.dtype], torch.Tensor]
    rows: Rows | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the quantization config says of the whole model; see `ModelInfo`."""

    format: str
    bits: float
    group_size: int | None = None
    desc_act: bool | None = None
    calibration: str | None = None


@dataclass(frozen=True)
class DecodedCheckpoint:
    """Satisfies `bitloss.formats.base.Checkpoint` for every format in a directory.

    Attributes:
        directory: the opened files.
        facts: for `info`.
        parameters: by name, in file order.
        unused: stored tensors that are no part of the model (old buffers, a tied head's copy).
        notes: what a reader of results should know (`bitloss.formats.base.checkpoint_notes`).
        inputs: what the config says of layers' inputs (`bitloss.formats.base.checkpoint_inputs`).
    """

    directory: ModelDirectory
    facts: Facts
    parameters: Mapping[str, Parameter]
    unused: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    inputs: Mapping[str, DeclaredInput] = field(default_factory=dict)

    @cached_property
    def info(self) -> ModelInfo:
        """Format, bits per weight, digest and sizes; the first access hashes the files.

        The digest leaves out the quantization config's ``meta`` block, where quantizers note
        temporary folders and package versions: it says nothing about the weights.
        """
        directory, facts = self.directory, self.facts
        parameters = sum(math.prod(parameter.shape) for parameter in self.parameters.values())
        stored = sum(
            tensor.nbytes
            for name, tensor in directory.shards.tensors.items()
            if name not in self.unused
        )
        decisive = {key: value for key, value in directory.quantization.items() if key != "meta"}
        return ModelInfo(
            name=directory.name,
            digest=sha256_files(list(directory.shards.files), canonical_json(decisive)),
            format=facts.format,
            bits=facts.bits,
            bits_per_weight=8 * stored / max(parameters, 1),
            file_bytes=directory.shards.file_bytes,
            parameters=parameters,
            group_size=facts.group_size,
            desc_act=facts.desc_act,
            calibration=facts.calibration,
            architecture=next(iter(directory.config.get("architectures") or []), ""),
        )

    @property
    def config(self) -> dict[str, Any]:
        """See `Checkpoint.config`."""
        return dict(self.directory.config)

    def names(self) -> tuple[str, ...]:
        """See `Checkpoint.names`."""
        return tuple(self.parameters)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `Checkpoint.shape`."""
        return self._parameter(name).shape

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """See `Checkpoint.read`."""
        return self._parameter(name).read(dtype or torch.float32)

    def rows(self, name: str, dtype: torch.dtype) -> Rows | None:
        """See `bitloss.formats.base.checkpoint_rows`: of tensors that are stored as floats."""
        del dtype  # what is stored as floats is given as it is
        return self._parameter(name).rows

    def _parameter(self, name: str) -> Parameter:
        if name not in self.parameters:
            raise CheckpointError(
                f"{self.directory.name}: no parameter `{name}`",
                hint="download the rest of the checkpoint, or the config that belongs to it",
            )
        return self.parameters[name]


def of_most_weights(sizes: Counter[_Kind], default: _Kind) -> _Kind:
    """What most quantized weights have: models of mixed precision are named after it.

    Args:
        sizes: weights by how they are stored.
        default: for a model without any.
    """
    return sizes.most_common(1)[0][0] if sizes else default


def quantized_modules(directory: ModelDirectory, part: str) -> list[str]:
    """Modules that have a tensor ``module.part``, in file order."""
    suffix = f".{part}"
    return [n.removesuffix(suffix) for n in directory.shards.tensors if n.endswith(suffix)]


def quantized_checkpoint(
    directory: ModelDirectory,
    facts: Facts,
    decoded: Mapping[str, tuple[str, Parameter]],
    parts: Container[str],
    notes: tuple[str, ...] = (),
    inputs: Mapping[str, DeclaredInput] | None = None,
) -> DecodedCheckpoint:
    """A checkpoint of quantized modules, and dense parameters for all the rest.

    Args:
        directory: the opened files.
        facts: what the quantization config says of the whole model.
        decoded: the name of each decoded parameter and how it is had, by the stored tensor that
            holds its codes and gives it its place among the others.
        parts: stored tensors that belong to quantized modules.
        notes: for the checkpoint.
        inputs: for the checkpoint.

    Raises:
        CheckpointError: two stored tensors are the same parameter.
        UnsupportedModel: a tensor that is no module's part, and of no dense parameter's type.
    """
    tensors = directory.shards.tensors
    rest = [name for name in tensors if name not in decoded and name not in parts]
    dense, unused = dense_parameters(directory, rest)
    parameters: dict[str, Parameter] = {}
    sources: dict[str, str] = {}
    for name in tensors:  # in file order
        if name not in decoded and name not in dense:
            continue
        parameter, how = decoded[name] if name in decoded else (name, dense[name])
        if parameter in parameters:
            raise CheckpointError(
                f"{directory.name}: `{parameter}` is stored twice, as `{sources[parameter]}` and "
                f"as `{name}`",
                hint="choose a checkpoint that stores each parameter once",
            )
        parameters[parameter], sources[parameter] = how, name
    return DecodedCheckpoint(directory, facts, parameters, unused, notes, inputs or {})


def dense_parameters(
    directory: ModelDirectory, names: list[str]
) -> tuple[dict[str, Parameter], frozenset[str]]:
    """The parameters among `names` that are stored as they are, and the names to leave out.

    Raises:
        UnsupportedModel: a tensor of a type that is not a dense parameter's.
    """
    tensors = directory.shards.tensors
    unused = {name for name in names if _is_buffer(name, tensors[name])}
    unused |= _tied_copies(directory, names)
    parameters: dict[str, Parameter] = {}
    for name in names:
        if name in unused:
            continue
        if tensors[name].dtype not in DENSE_TYPES:
            raise _no_dense_type(directory, name)
        parameters[name] = Parameter(
            tensors[name].shape,
            _reader(directory, name),
            partial(directory.shards.read_rows, name),
        )
    return parameters, frozenset(unused)


def _no_dense_type(directory: ModelDirectory, name: str) -> UnsupportedModel:
    """For a model without a quantization config, also what its tensors look like."""
    tensors = directory.shards.tensors
    words, method = ("", "") if directory.quantization else describe_codes(tensors)
    return UnsupportedModel(
        f"{directory.name}: `{name}` is stored as {tensors[name].dtype}; expected one of "
        f"{', '.join(DENSE_TYPES)}{f'; {words}' if words else ''}",
        hint="add the quantization config that the weights were written with"
        + (f', "quant_method": "{method}"' if method else ""),
    )


def _reader(directory: ModelDirectory, name: str) -> Callable[[torch.dtype], torch.Tensor]:
    return lambda dtype: directory.shards.read(name).contiguous()


def _is_buffer(name: str, tensor: StoredTensor) -> bool:
    # GPT-2's causal mask `attn.bias` has four dimensions, a true bias one.
    return _BUFFERS.search(name) is not None or (
        _CAUSAL_MASK.search(name) is not None and len(tensor.shape) != 1
    )


def _tied_copies(directory: ModelDirectory, names: list[str]) -> set[str]:
    """Heads that the config ties and the file stores again, with the embedding's own values.

    A head that differs is not tied, whatever the config says; transformers decides likewise.
    """
    if not directory.config.get("tie_word_embeddings"):
        return set()
    tensors = directory.shards.tensors
    embeddings = [name for name in names if _EMBEDDING.search(name)]
    return {
        head
        for head in names
        for embedding in embeddings
        if _HEAD.search(head)
        and (tensors[head].dtype, tensors[head].shape)
        == (tensors[embedding].dtype, tensors[embedding].shape)
        and torch.equal(directory.shards.read(head), directory.shards.read(embedding))
    }
