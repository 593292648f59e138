"""GPTQ as AutoGPTQ and GPTQModel write it: 2 to 8 bits, checkpoint formats v1, v2, p and Marlin.

Formats v1, v2 and ``gptq_p`` store what `bitloss.formats.safetensors.gptq_layers` describes; v1
stores each zero point less one. Format ``marlin`` is v1 with one zero point for all, or tiles
(`bitloss.formats.safetensors.marlin`). Source: GPTQModel 7.6, ``nn_modules/qlinear/__init__.py``
(packing, dequantization), ``utils/planar_packing.py`` and ``utils/model.py`` (v1 to v2); rounded to
the scales' type, the result is bit-equal to the weights of its torch kernel.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.safetensors import marlin
from bitloss.formats.safetensors.gptq_layers import (
    PARTS,
    Label,
    Layer,
    decode,
    layer_of,
    parameters,
    zeros_in_order,
)
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.payload import refuse_listed, refuse_orphans, require_modules
from bitloss.formats.storage.quant_config import (
    OTHER_MODEL,
    group_size,
    settings_for,
    whole_number,
)

__all__ = ["ZEROS_IN_ORDER", "Layer", "calibration", "decode", "matches", "open_checkpoint"]

ZEROS_IN_ORDER = (
    "the group index (`g_idx`) is 0 throughout: columns were taken in order, as the config says "
    "that act-order is off"
)
"""The note on a model whose writer left the index empty."""

_FORMATS = ("gptq", "gptq_v2", "gptq_p", "marlin")
# Other layouts that GPTQModel, AutoGPTQ and vLLM name, and why they are not decoded.
_UNDECODED = {
    "bitblas": "its layout depends on the machine that it was tuned on",
    "marlin_24": "its weights are sparse, two of four",
    "marlin_zp": "no library writes zero points in Marlin's tiles to a file",
}
_PLANAR_ONLY = (5, 6, 7)


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is GPTQ."""
    return quant_method(path) in ("gptq", "marlin")


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open a GPTQ model.

    Raises:
        CheckpointError: files are missing or damaged, or tensors contradict the config.
        UnsupportedModel: a checkpoint format or a number of bits that is not decoded here.
    """
    directory = open_directory(path, name)
    config = directory.quantization
    kind = _format(directory)
    facts = Facts(
        "gptq",
        whole_number(directory, config, "bits"),
        group_size=group_size(directory, config, "group_size", default=-1),
        desc_act=bool(config.get("desc_act", False)),
        calibration=calibration(config),
    )
    if kind == "marlin" and quantized_modules(directory, "B"):
        return marlin.tiled_checkpoint(directory, facts, marlin.Parts("B", "s", "workspace"))
    modules = quantized_modules(directory, "qweight")
    require_modules(directory, modules, "qweight")
    refuse_orphans(directory, modules, PARTS, "qweight")
    refuse_listed(directory, modules, "modules_to_not_convert")
    _refuse_left_out(directory, modules)
    in_order = not config.get("desc_act") and zeros_in_order(directory, modules)
    planes = (3, *_PLANAR_ONLY) if kind == "gptq_p" else ()
    label = Label(kind not in ("gptq_v2", "gptq_p"), planes, in_order)
    layers = {}
    for module in modules:
        layers[module] = layer_of(directory, module, settings_for(config, module), label)
        _require_known_order(directory, module, layers[module].bits, kind)
    parts = {f"{module}.{part}" for module in modules for part in PARTS}
    notes = (ZEROS_IN_ORDER,) if in_order else ()
    return quantized_checkpoint(directory, facts, parameters(directory, layers), parts, notes)


def _require_known_order(directory: ModelDirectory, module: str, bits: int, kind: str) -> None:
    """Refuse widths that GPTQModel stores in planes and AutoRound as streams, under no name.

    GPTQModel calls its own ``gptq_p``, and AutoRound's are of another quantization method.
    """
    if bits in _PLANAR_ONLY and kind != "gptq_p":
        raise UnsupportedModel(
            f"{directory.name}: `{module}`: {bits} bits in format `{kind}`; expected `gptq_p`, as "
            "writers differ in how they pack these",
            hint='set "checkpoint_format" to "gptq_p" in the quantization config if GPTQModel '
            'wrote the files, or "quant_method" to "auto-round" if AutoRound did',
        )


def _refuse_left_out(directory: ModelDirectory, modules: list[str]) -> None:
    """Refuse quantized modules that ``dynamic`` leaves dense ("-:" before a pattern)."""
    for pattern in directory.quantization.get("dynamic") or {}:
        if not pattern.startswith("-:"):
            continue
        left = re.compile(pattern.removeprefix("-:"))
        module = next((module for module in modules if left.match(module)), None)
        if module is not None:
            raise CheckpointError(
                f"{directory.name}: `{module}` is stored quantized, and `dynamic` leaves it out "
                f"(`{pattern}`)",
                hint=OTHER_MODEL,
            )


def _format(directory: ModelDirectory) -> str:
    """The checkpoint format's name, one of those that are decoded."""
    config = directory.quantization
    stated = {
        key: str(config[key]).lower() for key in ("checkpoint_format", "format") if config.get(key)
    }
    if config.get("is_marlin_format") or str(config.get("quant_method")).lower() == "marlin":
        stated["is_marlin_format"] = "marlin"
        stated = {key: value for key, value in stated.items() if value != "gptq"}
    names = sorted(set(stated.values())) or ["gptq"]
    word = config.get("pack_dtype") or "int32"
    if len(names) > 1 or names[0] not in _FORMATS or word != "int32":
        why = next((f": {_UNDECODED[name]}" for name in names if name in _UNDECODED), "")
        raise UnsupportedModel(
            f"{directory.name}: GPTQ checkpoint format `{', '.join(names)}` in {word}{why}; "
            f"expected one of {', '.join(_FORMATS)} in int32",
            hint="convert the model with GPTQModel, or quantize it again",
        )
    if config.get("rotation"):
        raise UnsupportedModel(
            f"{directory.name}: the model is rotated (`{config['rotation']}`)",
            hint="quantize it again without rotation: rotated weights need another module graph",
        )
    return names[0]


def calibration(config: dict[str, Any]) -> str | None:
    """The calibration text's name, where transformers or the writer recorded one."""
    meta = config.get("meta")
    for source in (config, meta if isinstance(meta, dict) else {}):
        for key in ("dataset", "calibration", "calibration_dataset"):
            if isinstance(source.get(key), str):
                return str(source[key])
    return None
