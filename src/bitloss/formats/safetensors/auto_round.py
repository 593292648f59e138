"""AutoRound's own checkpoints: 2 to 8 bits in GPTQ's or AWQ's layout, MXFP4, MXFP8, NVFP4 and FP8.

``packing_format`` names the layout: ``auto_round:auto_gptq`` stores zero points less one,
``auto_round`` and ``auto_round:gptqmodel`` as they are, both with streams of codes for all widths;
``auto_round:auto_awq`` is AWQ's ``gemm`` with its order of eight for all widths;
``auto_round:llm_compressor`` has the tensors of compressed-tensors. ``extra_config`` overrides
settings by name or pattern. Source: auto-round 0.16, ``inference/convert_model.py`` (settings) and
``export/export_to_autoround``. Rounded to the library's type, integers are bit-equal to the weights
of its torch kernels, and small floats to its dequantization.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.safetensors import awq_layers, gptq_layers
from bitloss.formats.safetensors.compressed_scheme import Scheme
from bitloss.formats.safetensors.compressed_scheme import decode as decode_floats
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    Parameter,
    of_most_weights,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.payload import (
    FLOATS,
    refuse_orphans,
    require_modules,
)
from bitloss.formats.storage.quant_config import (
    OTHER_MODEL,
    require_shapes,
    require_types,
    whole_number,
)

__all__ = ["matches", "open_checkpoint", "settings_of"]

_METHODS = ("auto-round", "intel/auto-round", "auto_round", "intel/auto_round")
# The layout of integers by what follows "auto_round:"; runtimes' names are of old versions.
_LAYOUTS = {
    "": "v2", "gptqmodel": "v2", "exllamav2": "v2", "triton": "v2", "tritonv2": "v2",
    "gptq": "v1", "auto_gptq": "v1", "awq": "awq", "auto_awq": "awq",
}  # fmt: skip
_MX = ("mx_fp", "mx_fp_rceil")
_NV = ("nv_fp", "nv_fp4_with_static_gs", "fp4_v2", "fp4_v2_with_global_scale")
_ROTATIONS = ("rotation_config", "spinquant_config", "transform_config", "hadamard_config")
_FLOAT_PARTS = ("weight_scale", "weight_global_scale", "input_global_scale", "input_scale")


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is AutoRound."""
    return quant_method(path) in _METHODS


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a model in AutoRound's format.

    Raises:
        CheckpointError: files are missing or damaged, or tensors contradict the config.
        UnsupportedModel: a rotated model, or a layout or data type that is not decoded here.
    """
    directory = open_directory(path, name)
    config = directory.quantization
    rotation = next((key for key in _ROTATIONS if config.get(key)), None)
    if rotation is not None:
        raise UnsupportedModel(
            f"{directory.name}: the weights are rotated (`{rotation}`)",
            hint="quantize it again without rotation: rotated weights need another module graph",
        )
    if _data_type(config) != "int":
        return _floats(directory)
    return _integers(directory)


def _integers(directory: ModelDirectory) -> DecodedCheckpoint:
    layout = _layout(directory)
    modules = quantized_modules(directory, "qweight")
    require_modules(directory, modules, "qweight")
    names = awq_layers.PARTS if layout == "awq" else gptq_layers.PARTS
    refuse_orphans(directory, modules, names, "qweight")
    settings = settings_of(directory, modules)
    for module in modules:
        if _data_type(settings[module]) != "int":
            raise UnsupportedModel(
                f"{directory.name}: `{module}`: data type `{settings[module]['data_type']}` among "
                "integers",
                hint="quantize it again with one data type",
            )
    parts = {f"{module}.{part}" for module in modules for part in names}
    if layout == "awq":
        awq = {
            module: awq_layers.layer_of(directory, module, settings[module], interleaved=True)
            for module in modules
        }
        sizes = {module: (own.bits, own.inputs * own.outputs) for module, own in awq.items()}
        decoded = awq_layers.parameters(directory, awq)
    else:
        label = gptq_layers.Label(v1=layout == "v1")
        layers = {
            module: gptq_layers.layer_of(directory, module, settings[module], label)
            for module in modules
        }
        sizes = {module: (own.bits, own.inputs * own.outputs) for module, own in layers.items()}
        decoded = gptq_layers.parameters(directory, layers)
    return quantized_checkpoint(directory, _facts(directory, settings, sizes), decoded, parts)


def _floats(directory: ModelDirectory) -> DecodedCheckpoint:
    modules = quantized_modules(directory, "weight_scale")
    require_modules(directory, modules, "weight_scale")
    settings = settings_of(directory, modules)
    decoded: dict[str, tuple[str, Parameter]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for module in modules:
        scheme = _scheme(directory, module, settings[module])
        how = Parameter(scheme.shape, partial(decode_floats, directory.shards, module, scheme))
        decoded[f"{module}.{scheme.part}"] = (f"{module}.weight", how)
        sizes[module] = (scheme.bits, math.prod(scheme.shape))
    refuse_orphans(directory, modules, _FLOAT_PARTS, "weight_scale")
    parts = {f"{module}.{part}" for module in modules for part in _FLOAT_PARTS}
    return quantized_checkpoint(directory, _facts(directory, settings, sizes), decoded, parts)


def _facts(
    directory: ModelDirectory,
    settings: dict[str, dict[str, Any]],
    sizes: dict[str, tuple[int, int]],
) -> Facts:
    """What the config says of the whole model."""
    counted: Counter[tuple[str, int, int | None]] = Counter()
    for module, (bits, count) in sizes.items():
        size = settings[module].get("group_size")
        form = f"auto-round{_kind(settings[module], bits)}"
        counted[form, bits, size if isinstance(size, int) and size else None] += count
    form, bits, group = of_most_weights(counted, ("auto-round", 16, None))
    dataset = directory.quantization.get("dataset")
    return Facts(
        form, bits, group_size=group,
        calibration=dataset if isinstance(dataset, str) else None,
    )  # fmt: skip


def _layout(directory: ModelDirectory) -> str:
    """``v1`` or ``v2`` of GPTQ's, or ``awq``.

    A config without ``packing_format`` means ``auto_round:auto_gptq``, as the library reads it.
    """
    config = directory.quantization
    stated = str(config.get("packing_format") or config.get("backend") or "auto_round:auto_gptq")
    family, _, kind = stated.lower().replace("-", "_").partition(":")
    if not config.get("packing_format") and kind not in ("awq", "auto_awq"):
        kind = "auto_gptq"  # `backend` named a runtime
    kind = kind.partition(":")[0]
    if family not in ("auto_round", "autoround", "auto") or kind not in _LAYOUTS:
        raise UnsupportedModel(
            f"{directory.name}: AutoRound's packing format `{stated}` for integers; expected "
            f"`auto_round`, or `auto_round:` and one of {', '.join(filter(None, _LAYOUTS))}",
            hint="export the model again with `--format auto_round`",
        )
    return "v1" if family == "auto" else _LAYOUTS[kind]


def _data_type(settings: dict[str, Any]) -> str:
    return str(settings.get("data_type") or "int").lower()


def _kind(settings: dict[str, Any], bits: int) -> str:
    """What the name of the format says of floats: ``-nvfp4``; integers are the plain name."""
    kind = _data_type(settings)
    if kind == "int":
        return ""
    return f"-{'mx' if kind in _MX else 'nv' if kind in _NV else ''}fp{bits}"


def settings_of(directory: ModelDirectory, modules: list[str]) -> dict[str, dict[str, Any]]:
    """The settings of each quantized module.

    An entry of ``extra_config`` under a module's own name counts alone; else the first pattern that
    is found in the name. What an entry does not set is as in the config.

    Raises:
        CheckpointError: a module's entry says that it is left dense, or is no object.
    """
    config = directory.quantization
    extra = config.get("extra_config") or {}
    if not isinstance(extra, dict) or any(not isinstance(entry, dict) for entry in extra.values()):
        raise CheckpointError(
            f"{directory.name}: quantization config: expected `extra_config` of names to settings",
            hint="download the quantization config again",
        )
    known = {name.rpartition(".")[0] for name in directory.shards.tensors}
    patterns = {key: _pattern(key) for key, entry in extra.items() if entry and key not in known}
    settings = {}
    for module in modules:
        key: str | None = module
        if module not in extra:
            found = (k for k, pattern in patterns.items() if pattern and pattern.search(module))
            key = next(found, None)
        own = {**config, **(extra[key] if key is not None else {})}
        bits = own.get("bits")
        if isinstance(bits, int) and bits > 8:
            raise CheckpointError(
                f"{directory.name}: `{module}` is stored quantized, and `extra_config` leaves it "
                f"at {bits} bits (`{key}`)",
                hint=OTHER_MODEL,
            )
        settings[module] = own
    return settings


def _pattern(key: str) -> re.Pattern[str] | None:
    try:
        return re.compile(key)
    except re.error:  # the library passes over it too
        return None


def _scheme(directory: ModelDirectory, module: str, settings: dict[str, Any]) -> Scheme:
    """What the config says of a module of floats, held against its tensors."""
    bits, kind = whole_number(directory, settings, "bits"), _data_type(settings)
    four, eight = bits == 4, bits == 8
    if not (
        (kind in _MX and (four or eight)) or (kind in _NV and four) or (kind == "fp" and eight)
    ):
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: AutoRound's data type `{kind}` with {bits} bits; "
            f"expected int, mx_fp with 4 or 8 bits, nv_fp with 4, or fp with 8",
            hint="quantize it again with a scheme like W4A16, MXFP4 or NVFP4",
        )
    part = "weight_packed" if four else "weight"
    mx, nv = kind in _MX, kind in _NV
    scales = "U8" if mx else "F8_E4M3" if nv else FLOATS
    types = {part: "U8" if four else "F8_E4M3", "weight_scale": scales}
    require_types(directory, module, types | {"weight_global_scale": "F32"})
    tensors = directory.shards.tensors
    stored = tensors.get(f"{module}.{part}")
    if stored is None or len(stored.shape) != 2:
        got = "no such tensor" if stored is None else f"shape {list(stored.shape)}"
        raise CheckpointError(
            f"{directory.name}: `{module}.{part}`: expected a matrix, got {got}", hint=OTHER_MODEL
        )
    shape = (stored.shape[0], stored.shape[1] * (2 if four else 1))
    strategy, size = ("group", settings.get("group_size")) if mx or nv else _fp8(directory, module)
    if strategy == "group" and (not isinstance(size, int) or size < 1 or shape[1] % size):
        raise CheckpointError(
            f"{directory.name}: `{module}`: expected rows of a multiple of the group size "
            f"{size}, got {shape[1]}",
            hint=OTHER_MODEL,
        )
    scheme = Scheme(bits, True, True, strategy, size or 0, (), part, shape)
    expected: dict[str, tuple[int, ...]] = {}
    if strategy == "group":
        expected["weight_scale"] = scheme.scale_shape
    elif strategy == "channel":
        expected["weight_scale"] = scheme.shape[:1]
    if nv:
        expected["weight_global_scale"] = (1,)
    require_shapes(directory, module, expected, f"{kind} with {bits} bits in rows of {shape[1]}")
    return scheme


def _fp8(directory: ModelDirectory, module: str) -> tuple[str, int]:
    """What shares a scale of FP8: the matrix or a row."""
    stored = directory.shards.tensors[f"{module}.weight_scale"].shape
    return ("tensor" if math.prod(stored) == 1 else "channel"), 0
