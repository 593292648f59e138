"""Unquantized safetensors: fp32, fp16 or bf16, in one file or sharded."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from bitloss.formats.storage.checkpoint import (
    DENSE_TYPES,
    DecodedCheckpoint,
    Facts,
    dense_parameters,
    of_most_weights,
)
from bitloss.formats.storage.directory import open_directory, quant_method

__all__ = ["matches", "open_checkpoint"]


def matches(path: Path) -> bool:
    """Whether the path is a model directory without a quantization config."""
    return (path / "config.json").is_file() and quant_method(path) is None


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a dense model; the format is named after the type most of its parameters have.

    Raises:
        CheckpointError: config or weights are missing or damaged.
        UnsupportedModel: a parameter is neither fp32 nor fp16 nor bf16.
    """
    directory = open_directory(path, name)
    tensors = directory.shards.tensors
    parameters, unused = dense_parameters(directory, list(tensors))
    sizes: Counter[str] = Counter()
    for parameter in parameters:
        sizes[tensors[parameter].dtype] += math.prod(tensors[parameter].shape)
    bits, label = DENSE_TYPES[of_most_weights(sizes, "F32")]
    return DecodedCheckpoint(directory, Facts(f"safetensors-{label}", bits), parameters, unused)
