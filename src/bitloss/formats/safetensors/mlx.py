"""MLX, as mlx-lm converts models: integers of 1 to 8 bits, MXFP4, MXFP8, NVFP4, or dense.

A linear layer or embedding ``[out, in]``, or a stack of experts with one more axis in front, is
stored as

    weight        uint32 [out, in * bits / 32]  codes, a stream along each row
    scales        [out, in / group size]        floats; uint8 exponents (MX) or E4M3 (NVFP4)
    biases        as scales                     for integers only
    global_scale  float32 [experts]             for NVFP4, optional

and integers decode to ``scale * code + bias``, computed in float32: MLX itself rounds the product
and the sum to the scales' type, or fuses them, by kernel. Settings lie under ``quantization`` in
config.json, a module's own under its path. mlx-lm also renames, stacks and shifts tensors by model
type; `bitloss.formats.safetensors.mlx_families` says how. Source: MLX 0.32
(``mlx/backend/cpu/quantized.cpp``) and mlx-lm 0.32.2 (``utils.py``).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.safetensors.mlx_families import FAMILIES, REFUSED
from bitloss.formats.safetensors.mlx_layout import Family, Source, published
from bitloss.formats.safetensors.mlx_scheme import Scheme, decode, scheme_of
from bitloss.formats.storage.checkpoint import (
    DENSE_TYPES,
    DecodedCheckpoint,
    Facts,
    dense_parameters,
    of_most_weights,
    quantized_modules,
)
from bitloss.formats.storage.directory import (
    ModelDirectory,
    open_directory,
    quant_method,
    read_config,
)
from bitloss.formats.storage.shards import Shards, file_metadata, weight_files

__all__ = ["matches", "open_checkpoint"]

_KEY = "quantization"


def matches(path: Path) -> bool:
    """Whether the path is a directory that mlx-lm wrote, by its config or its files' headers."""
    if not (path / "config.json").is_file():
        return False
    if _is_quantized(read_config(path)):
        return True
    if quant_method(path) is not None:
        return False
    files = weight_files(path)[1]
    return bool(files) and files[0].is_file() and file_metadata(files[0]).get("format") == "mlx"


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a model in MLX's format.

    Raises:
        CheckpointError: files are missing or damaged, or shapes contradict the config.
        UnsupportedModel: settings that are not decoded here, or a model type of which it is not
            known what mlx-lm did to its tensors.
    """
    directory = _open_directory(path, name)
    family = _family(directory)
    schemes = {
        module: scheme_of(directory, module) for module in quantized_modules(directory, "scales")
    }
    _require_quantized(directory, schemes)
    parts = {f"{module}.{part}" for module, scheme in schemes.items() for part in scheme.parts}
    tensors = directory.shards.tensors
    dense, unused = dense_parameters(directory, [name for name in tensors if name not in parts])
    sources: dict[str, Source] = {}
    for tensor in tensors:  # in file order
        module, _, part = tensor.rpartition(".")
        if part == "weight" and module in schemes:
            scheme = schemes[module]
            read = partial(_read_quantized, directory.shards, module, scheme)
            sources[tensor] = Source(scheme.shape, read)
        elif tensor in dense:
            read = partial(_read_dense, directory.shards, tensor)
            sources[tensor] = Source(dense[tensor].shape, read)
    return DecodedCheckpoint(
        directory, _facts(directory, schemes, list(dense)), published(family, sources), unused
    )


def _is_quantized(config: dict[str, Any]) -> bool:
    settings = config.get(_KEY)
    return isinstance(settings, dict) and "quant_method" not in settings and "bits" in settings


def _open_directory(path: Path, name: str | None) -> ModelDirectory:
    directory = open_directory(path, name)
    if not _is_quantized(directory.config):
        return directory
    config = {key: value for key, value in directory.config.items() if key != _KEY}
    return replace(directory, config=config, quantization=directory.config[_KEY])


def _family(directory: ModelDirectory) -> Family:
    kind = directory.config.get("model_type")
    family = FAMILIES.get(str(kind))
    if family is None:
        why = REFUSED.get(str(kind), "it is not known what mlx-lm did to its tensors")
        raise UnsupportedModel(
            f"{directory.name}: MLX file of model type `{kind}`: {why}; "
            f"expected one of {', '.join(sorted(FAMILIES))}",
            hint="open the model that was converted, or a GGUF or GPTQ copy of it",
        )
    return family


def _require_quantized(directory: ModelDirectory, schemes: dict[str, Scheme]) -> None:
    """Modules that the config names have scales, and what it calls dense has none."""
    for module, own in directory.quantization.items():
        if isinstance(own, dict) and module not in schemes:
            raise CheckpointError(
                f"{directory.name}: no tensor `{module}.scales`, which `quantization` expects",
                hint="download both again: config and weights are not of the same model",
            )
    if directory.quantization and not schemes:
        raise CheckpointError(
            f"{directory.name}: expected tensors `*.scales` for `quantization` in config.json, "
            "got none",
            hint="download both again: config and weights are not of the same model",
        )


def _facts(directory: ModelDirectory, schemes: dict[str, Scheme], dense: list[str]) -> Facts:
    """Named after what most of the weights have, for recipes of mixed precision too."""
    if not schemes:
        sizes: Counter[str] = Counter()
        for name in dense:
            stored = directory.shards.tensors[name]
            sizes[stored.dtype] += math.prod(stored.shape)
        bits, label = DENSE_TYPES[of_most_weights(sizes, "F32")]
        return Facts(f"safetensors-{label}", bits)
    counts: Counter[tuple[str, int, int]] = Counter()
    for scheme in schemes.values():
        counts[scheme.mode, scheme.bits, scheme.group_size] += math.prod(scheme.shape)
    mode, bits, group_size = counts.most_common(1)[0][0]
    return Facts("mlx" if mode == "affine" else f"mlx-{mode}", bits, group_size=group_size)


def _read_dense(shards: Shards, name: str, part: int | None, dtype: torch.dtype) -> torch.Tensor:
    del dtype  # given as stored
    values = shards.read(name)
    return (values if part is None else values[part]).contiguous()


def _read_quantized(
    shards: Shards, module: str, scheme: Scheme, expert: int | None, dtype: torch.dtype
) -> torch.Tensor:
    stored = [shards.read(f"{module}.{part}") for part in scheme.parts]
    if len(scheme.shape) == 2:
        return decode(scheme, *stored, dtype=dtype)
    if expert is not None:
        return decode(scheme, *(part[expert] for part in stored), dtype=dtype)
    dense = torch.empty(scheme.shape, dtype=dtype)
    for number in range(scheme.shape[0]):
        dense[number] = decode(scheme, *(part[number] for part in stored), dtype=dtype)
    return dense
