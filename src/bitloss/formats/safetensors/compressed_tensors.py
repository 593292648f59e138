"""compressed-tensors, as llmcompressor writes it: integers and floats of 1 to 8 bits.

A linear layer ``[out, in]`` is stored as ``weight`` (int8 or fp8) or ``weight_packed`` (int32:
a stream of integers along each row, shifted to be positive; uint8: pairs of four-bit floats),
with ``weight_scale`` ``[out, groups]`` and, where asymmetric, ``weight_zero_point``. Which
settings hold for which module stands in ``config_groups``, and what is said there of a layer's
inputs is told, with static scales (`bitloss.formats.safetensors.compressed_inputs`). Source:
compressed-tensors 0.20, ``compressors/*/base.py`` and
``quantization/lifecycle/forward_helpers.py``. Scales divided by a global scale are float32, and
so are the products; rounded to the type of its ``decompress`` they are bit-equal to that.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import DeclaredInput
from bitloss.formats.safetensors.compressed_inputs import declared_input
from bitloss.formats.safetensors.compressed_scheme import Scheme, decode
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    Parameter,
    of_most_weights,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.packing import words_for
from bitloss.formats.storage.payload import refuse_listed, refuse_orphans
from bitloss.formats.storage.quant_config import OTHER_MODEL, require_shapes, whole_number

__all__ = ["matches", "open_checkpoint"]

_FORMATS = frozenset({
    "dense", "pack-quantized", "int-quantized", "float-quantized", "naive-quantized",
    "mixed-precision", "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized",
})  # fmt: skip
_WEIGHT_PARTS = ("weight", "weight_packed")
# Everything else that the format may store for a module.
_SIDE_PARTS = re.compile(
    r"^weight_(scale|zero_point|shape|g_idx|global_scale)$|^(input|output)_(scale|zero_point|"
    r"global_scale)$|^[qkv]_(scale|zero_point)$"
)
# What means nothing without scales.
_OWNED_PARTS = ("weight_packed", "weight_zero_point", "weight_shape", "weight_g_idx",
                "weight_global_scale")  # fmt: skip
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings)$")


def matches(path: Path) -> bool:
    """Whether the path is a directory that says it holds compressed tensors."""
    return quant_method(path) in ("compressed-tensors", "compressed_tensors", "sparseml")


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a model in the compressed-tensors format.

    Raises:
        CheckpointError: files are missing or damaged, or shapes contradict the config.
        UnsupportedModel: a sparse, rotated or otherwise undecoded format.
    """
    directory = open_directory(path, name)
    _require_known(directory)
    shards = directory.shards
    decoded: dict[str, tuple[str, Parameter]] = {}
    sizes: Counter[tuple[str, int, int | None]] = Counter()
    found: set[str] = set()
    inputs: dict[str, DeclaredInput] = {}
    modules = frozenset(quantized_modules(directory, "weight_scale"))
    refuse_orphans(directory, modules, _OWNED_PARTS, "weight_scale")
    refuse_listed(directory, sorted(modules), "ignore")
    for tensor in shards.tensors:
        module, _, part = tensor.rpartition(".")
        if module in modules and part in _WEIGHT_PARTS:
            scheme = _scheme(directory, module, part)
            how = Parameter(scheme.shape, partial(decode, shards, module, scheme))
            decoded[tensor] = (f"{module}.weight", how)
            kind = _kind(directory, module, scheme)
            sizes[kind, scheme.bits, scheme.nominal_group] += math.prod(scheme.shape)
            found.add(module)
            settings = _group(directory, module).get("input_activations")
            declared = declared_input(shards, module, settings)
            if declared is not None:
                inputs[f"{module}.weight"] = declared
    if modules - found:
        raise CheckpointError(
            f"{directory.name}: `{min(modules - found)}.weight_scale` has no `weight` or "
            "`weight_packed` beside it",
            hint="download the rest of the checkpoint",
        )
    kind, bits, group_size = of_most_weights(sizes, ("", 16, None))
    facts = Facts(f"compressed-tensors{kind}", bits, group_size=group_size)
    parts = {tensor for tensor in shards.tensors if _SIDE_PARTS.search(tensor.rpartition(".")[2])}
    return quantized_checkpoint(directory, facts, decoded, parts, inputs=inputs)


def _kind(directory: ModelDirectory, module: str, scheme: Scheme) -> str:
    """What the name of the format says of floats: ``-nvfp4``; integers are the plain name."""
    if not scheme.floating:
        return ""
    scales = directory.shards.tensors[f"{module}.weight_scale"].dtype
    if scales == "U8":
        return f"-mxfp{scheme.bits}"
    return f"-{'nv' if scales == 'F8_E4M3' else ''}fp{scheme.bits}"


def _require_known(directory: ModelDirectory) -> None:
    config = directory.quantization
    groups = list(_groups(directory).values())
    formats = {str(config.get("format", "dense"))}
    formats |= {str(group["format"]) for group in groups if group.get("format")}
    sparsity = (config.get("sparsity_config") or {}).get("format", "dense")
    unknown = sorted(formats - _FORMATS) + ([sparsity] if sparsity != "dense" else [])
    if unknown:
        raise UnsupportedModel(
            f"{directory.name}: compressed-tensors format `{', '.join(unknown)}`; "
            f"expected one of {', '.join(sorted(_FORMATS))}",
            hint="save the model uncompressed, or with another scheme",
        )
    if (config.get("transform_config") or {}).get("config_groups"):
        raise UnsupportedModel(
            f"{directory.name}: the weights are rotated (`transform_config`)",
            hint="quantize it again without rotation: rotated weights need another module graph",
        )


def _groups(directory: ModelDirectory) -> dict[str, dict[str, Any]]:
    groups = directory.quantization.get("config_groups") or {}
    if not isinstance(groups, dict) or any(not isinstance(g, dict) for g in groups.values()):
        raise CheckpointError(
            f"{directory.name}: quantization config: expected `config_groups` of names to settings",
            hint="save the model again with compressed-tensors 0.6 or later",
        )
    return groups


def _group(directory: ModelDirectory, module: str) -> dict[str, Any]:
    """The settings of a module: by its name, then a pattern, then its class.

    Precedence follows ``match_targets`` in compressed-tensors' ``utils/match.py``.
    """
    targets: dict[str, dict[str, Any]] = {}
    for group in _groups(directory).values():
        targets.update(dict.fromkeys(group.get("targets") or [], group))
    kind = "Embedding" if _EMBEDDING.search(module) else "Linear"
    ordered = sorted(targets, key=lambda target: ("re:" in target, target))
    for target in ordered:
        pattern = target.removeprefix("re:")
        if target == module or (pattern != target and re.match(pattern, module)):
            return targets[target]
    if kind in targets:
        return targets[kind]
    raise CheckpointError(
        f"{directory.name}: `{module}` is quantized, and no target in `config_groups` names it; "
        f"got {', '.join(ordered) or 'none'}",
        hint=OTHER_MODEL,
    )


def _scheme(directory: ModelDirectory, module: str, part: str) -> Scheme:
    """What the config says of a module, held against the shapes of its tensors."""
    settings: dict[str, Any] = _group(directory, module).get("weights") or {}
    tensors = directory.shards.tensors
    stored = tensors[f"{module}.{part}"]
    scheme = Scheme(
        bits=whole_number(directory, settings, "num_bits", default=8),
        floating=str(settings.get("type", "int")).lower() == "float",
        symmetric=bool(settings.get("symmetric", True)),
        strategy=str(settings.get("strategy") or _inferred_strategy(settings)),
        group_size=settings.get("group_size") or 0,
        block=tuple(settings.get("block_structure") or ()),
        part=part,
        shape=_dense_shape(directory, module, part),
    )
    integer = "I32" if part == "weight_packed" else "I8"
    floating = "U8" if part == "weight_packed" else "F8_E4M3"
    wanted = floating if scheme.floating else integer
    if stored.dtype != wanted or not 1 <= scheme.bits <= 8:
        raise UnsupportedModel(
            f"{directory.name}: `{module}.{part}`: expected {wanted} for "
            f"{scheme.bits}-bit {'floats' if scheme.floating else 'integers'}, "
            f"got {stored.dtype}",
            hint="save the model compressed: fake-quantized weights are not decoded",
        )
    rows, columns = scheme.shape
    if scheme.strategy in ("group", "tensor_group") and (
        scheme.group_size < 1 or columns % scheme.group_size
    ):
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected rows that are a multiple of the group size "
            f"{scheme.group_size}, got {columns}",
            hint=OTHER_MODEL,
        )
    expected: dict[str, tuple[int, ...]] = {}
    if part == "weight_packed":
        words = columns // 2 if scheme.floating else words_for(columns, scheme.bits)
        expected[part] = (rows, words)
    if scheme.strategy != "tensor":
        expected["weight_scale"] = scheme.scale_shape
    elif math.prod(tensors[f"{module}.weight_scale"].shape) != 1:  # [1] or []
        expected["weight_scale"] = (1,)
    if not scheme.symmetric and scheme.strategy != "tensor" and part == "weight_packed":
        expected["weight_zero_point"] = (words_for(rows, scheme.bits), scheme.scale_shape[1])
    require_shapes(
        directory, module, expected,
        f"{scheme.bits} bits, strategy `{scheme.strategy}`, rows of {columns}",
    )  # fmt: skip
    return scheme


def _inferred_strategy(settings: dict[str, Any]) -> str:
    group_size = settings.get("group_size")
    return "tensor" if group_size is None else "channel" if group_size == -1 else "group"


def _dense_shape(directory: ModelDirectory, module: str, part: str) -> tuple[int, int]:
    tensors = directory.shards.tensors
    stored = tensors[f"{module}.{part}"].shape
    if len(stored) != 2:
        raise UnsupportedModel(
            f"{directory.name}: `{module}.{part}`: expected two dimensions, got {list(stored)}",
            hint="choose a model without fused experts: they are not decoded",
        )
    if part == "weight":
        return stored[0], stored[1]
    if tensors[f"{module}.{part}"].dtype == "U8":
        return stored[0], stored[1] * 2
    name = f"{module}.weight_shape"
    if name not in tensors:
        raise CheckpointError(f"{directory.name}: no tensor `{name}`", hint=OTHER_MODEL)
    shape = directory.shards.read_integers(name)
    if len(shape) != 2:
        raise CheckpointError(
            f"{directory.name}: `{name}`: expected two sizes, got {shape}", hint=OTHER_MODEL
        )
    return shape[0], shape[1]
