"""torchao, as transformers saves its tensor classes: integers of 1 to 8 bits, float8, MX and NVFP4.

A quantized parameter ``module.weight`` is stored as ``module._weight_qdata``,
``module._weight_scale`` and so on. The class it belongs to and the class's attributes stand as
JSON in the metadata of the files' headers, under the parameter's name. Each class decodes as in
`bitloss.formats.safetensors.torchao_tensors`. Source: torchao 0.18,
``prototype/safetensors/safetensors_support.py`` and ``safetensors_utils.py``, and transformers
5.24, ``quantizers/quantizer_torchao.py``. Older torchao wrote pickles, which are not opened.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import DeclaredInput
from bitloss.formats.safetensors.torchao_inputs import declared_input
from bitloss.formats.safetensors.torchao_tensors import DATA_NAMES, describe, read
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    Parameter,
    of_most_weights,
    quantized_checkpoint,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.shards import file_metadata
from bitloss.spec.json_text import parse_json

__all__ = ["matches", "open_checkpoint"]

_PLAIN = "Tensor"
_LEFTOVER = re.compile(rf"(^|\.)_\w+_({'|'.join(DATA_NAMES)})$")
_AGAIN = "save the model again with transformers 5 and torchao 0.15 or later, as safetensors"


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is torchao."""
    return quant_method(path) == "torchao"


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a torchao model.

    Raises:
        CheckpointError: files are missing or damaged, or shapes contradict the header's metadata.
        UnsupportedModel: a tensor class, or a use of it, that is not decoded here.
    """
    directory = open_directory(path, name)
    decoded: dict[str, tuple[str, Parameter]] = {}
    sizes: Counter[tuple[str, int, int | None]] = Counter()
    parts: set[str] = set()
    inputs: dict[str, DeclaredInput] = {}
    quantized = _quantized(directory)
    prefixes = _prefixes(directory, quantized)
    for parameter, metadata in quantized.items():
        stored = describe(directory, parameter, prefixes[parameter], metadata)
        how = Parameter(stored.shape, partial(read, directory.shards, stored))
        decoded[stored.names["qdata"]] = (parameter, how)
        parts |= set(stored.names.values())
        declared = declared_input(directory.shards, metadata, stored.names)
        if declared is not None:
            inputs[parameter] = declared
        sizes[stored.format, stored.bits, stored.group_size] += math.prod(stored.shape)
    leftover = [n for n in directory.shards.tensors if _LEFTOVER.search(n) and n not in parts]
    if leftover:
        raise CheckpointError(
            f"{directory.name}: `{leftover[0]}` is part of a quantized tensor that the files' "
            "metadata do not describe",
            hint=_AGAIN,
        )
    form, bits, group_size = of_most_weights(sizes, ("torchao", 16, None))
    facts = Facts(form, bits, group_size=group_size)
    return quantized_checkpoint(directory, facts, decoded, parts, inputs=inputs)


def _quantized(directory: ModelDirectory) -> dict[str, dict[str, Any]]:
    """What the headers say of each quantized parameter.

    Names of plain tensors are passed over: transformers notes those of its module graph, and may
    store the tensors under the publisher's.

    Raises:
        CheckpointError: it cannot be read.
        UnsupportedModel: there is nothing of torchao in the headers.
    """
    noted: dict[str, Any] = {}
    for file in directory.shards.files:
        noted |= file_metadata(file)
    if "tensor_names" not in noted:
        raise UnsupportedModel(
            f"{directory.name}: expected `tensor_names` in the metadata of the files' headers, "
            f"which say what torchao's tensors are, got {', '.join(sorted(noted)) or 'nothing'}",
            hint=_AGAIN,
        )
    names = _json(directory, "tensor_names", noted["tensor_names"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _unreadable(directory, "tensor_names", "expected a list of names")
    described = {name: _json(directory, name, noted.get(name)) for name in names}
    for name, value in described.items():
        if not isinstance(value, dict) or not isinstance(value.get("_type"), str):
            raise _unreadable(directory, name, f"expected an object with a `_type`, got {value!r}")
    return {name: value for name, value in described.items() if value["_type"] != _PLAIN}


def _prefixes(directory: ModelDirectory, parameters: Iterable[str]) -> dict[str, str]:
    """What the names of each parameter's stored tensors begin with.

    Metadata have the names of transformers' module graph, the tensors those of the publisher:
    experts noted under ``0.mlp.experts`` may lie under ``0.block_sparse_moe.experts``.
    A parameter whose tensors are not there gets the only ones that nobody else claims, of the same
    numbers and the same last two parts of the name.
    """
    tensors = directory.shards.tensors
    found = {name: _prefix(name) for name in parameters}
    claimed = {f"{prefix}qdata" for prefix in found.values()}
    free: dict[tuple[Any, ...], list[str]] = {}
    for tensor in tensors:
        if tensor.endswith("_qdata") and tensor not in claimed:
            free.setdefault(_likeness(tensor), []).append(tensor)
    for name, prefix in found.items():
        alike = free.get(_likeness(f"{prefix}qdata"), [])
        if f"{prefix}qdata" not in tensors and len(alike) == 1:
            found[name] = alike[0].removesuffix("qdata")
    return found


def _prefix(parameter: str) -> str:
    module, _, own = parameter.rpartition(".")
    return f"{module}._{own}_".removeprefix(".")


def _likeness(tensor: str) -> tuple[Any, ...]:
    parts = tensor.split(".")
    return (*parts[-2:], *(part for part in parts if part.isdigit()))


def _json(directory: ModelDirectory, key: str, text: Any) -> Any:
    try:
        return parse_json(text)
    except (ValueError, TypeError) as error:
        raise _unreadable(directory, key, repr(error)) from error


def _unreadable(directory: ModelDirectory, key: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{directory.name}: metadata `{key}` of the files' headers cannot be read: {reason}"[:400],
        hint="download the checkpoint again, or save the model again with transformers",
    )
