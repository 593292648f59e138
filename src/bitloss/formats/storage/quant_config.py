"""A quantization config held against the tensors it describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bitloss.errors import CheckpointError
from bitloss.formats.storage.directory import ModelDirectory

__all__ = [
    "OTHER_MODEL",
    "group_size",
    "require_shapes",
    "require_types",
    "settings_for",
    "transposed_module",
    "whole_number",
]

# Modules whose dense weight is [in, out] where linear layers have [out, in]: GPT's Conv1D.
_CONV1D_TYPES = ("gpt2", "openai-gpt")
_CONV1D = re.compile(r"\.(c_attn|c_proj|c_fc|q_attn)$")

OTHER_MODEL = "download both again: quantization config and weights are not of the same model"
"""The hint where the two contradict each other."""


def settings_for(config: dict[str, Any], module: str) -> dict[str, Any]:
    """The config with GPTQModel's ``dynamic`` override for the module; the first match wins."""
    for pattern, override in (config.get("dynamic") or {}).items():
        # "-:" marks modules that are left dense; they have no codes and never come here.
        if not pattern.startswith("-:") and re.match(pattern.removeprefix("+:"), module):
            return {**config, **(override or {})}
    return config


def whole_number(
    directory: ModelDirectory, config: Mapping[str, Any], *keys: str, default: int | None = None
) -> int:
    """The value under the first of `keys` that is there.

    Raises:
        CheckpointError: it is not a whole number, or none is there and there is no default.
    """
    value = next((config[key] for key in keys if config.get(key) is not None), default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CheckpointError(
            f"{directory.name}: quantization config: expected a whole number for `{keys[0]}`, "
            f"got {value!r}",
            hint="download the config again, or quantize the model with a supported tool",
        )
    return value


def group_size(
    directory: ModelDirectory,
    config: Mapping[str, Any],
    *keys: str,
    default: int | None = None,
    zero_is_row: bool = False,
) -> int:
    """Inputs that share a scale: a positive number, or -1 for a whole row.

    Args:
        directory: the model, for messages.
        config: the quantization config, or a module's part of it.
        keys: see `whole_number`.
        default: see `whole_number`.
        zero_is_row: whether 0 means a whole row too.

    Raises:
        CheckpointError: see `whole_number`; or another number.
    """
    size = whole_number(directory, config, *keys, default=default)
    if size == -1 or (size == 0 and zero_is_row):
        return -1
    if size < 1:
        raise CheckpointError(
            f"{directory.name}: group_size: expected -1 or a positive number, got {size}",
            hint="download the quantization config again",
        )
    return size


def require_shapes(
    directory: ModelDirectory, module: str, expected: Mapping[str, tuple[int, ...]], why: str
) -> None:
    """Compare the stored shapes of a module's tensors with those that the config implies.

    Args:
        directory: the model.
        module: its name; tensors are ``module.part``.
        expected: shapes by part.
        why: the settings that imply them, for the message.

    Raises:
        CheckpointError: a tensor is missing or has another shape.
    """
    tensors = directory.shards.tensors
    for part, shape in expected.items():
        name = f"{module}.{part}"
        got = list(tensors[name].shape) if name in tensors else "no such tensor"
        if got != list(shape):
            raise CheckpointError(
                f"{directory.name}: `{name}`: expected shape {list(shape)} for {why}, got {got}",
                hint=OTHER_MODEL,
            )


def require_types(directory: ModelDirectory, module: str, expected: Mapping[str, str]) -> None:
    """Compare the stored types of a module's tensors with those that the format prescribes.

    Args:
        directory: the model.
        module: its name; tensors are ``module.part``. Parts that are not stored are passed over.
        expected: safetensors' name of the type by part; several are separated by spaces.

    Raises:
        CheckpointError: a tensor has another type.
    """
    for part, types in expected.items():
        stored = directory.shards.tensors.get(f"{module}.{part}")
        if stored is not None and stored.dtype not in types.split():
            raise CheckpointError(
                f"{directory.name}: `{module}.{part}`: expected {' or '.join(types.split())}, "
                f"got {stored.dtype}",
                hint="download the checkpoint again, or save it again with the library that "
                "quantized it",
            )


def transposed_module(directory: ModelDirectory, module: str) -> bool:
    """Whether transformers keeps the module's dense weight as ``[in, out]``."""
    conv1d = directory.config.get("model_type") in _CONV1D_TYPES
    return conv1d and _CONV1D.search(module) is not None
