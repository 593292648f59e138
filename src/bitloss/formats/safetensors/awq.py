"""AWQ as AutoAWQ and GPTQModel write it: layouts gemm, gemv, gemv_fast, llm-awq and Marlin's.

`bitloss.formats.safetensors.awq_layers` describes ``gemm``, which most files have; ``awq_gemv`` and
``marlin`` beside it describe the others. Versions named after a runtime (``exllama``, ``ipex``)
store ``gemm``. Source: GPTQModel 7.6, ``quantization/awq/utils/packing_utils.py`` and
``nn_modules/qlinear/gemv_awq.py``, ``gemv_fast_awq.py``; AutoAWQ 0.2, ``modules/linear``. ``gemm``
gives the weights of GPTQModel's ``dequantize_gemm``, bit for bit, when rounded to the scales' type.
"""

from __future__ import annotations

from pathlib import Path

from bitloss.errors import UnsupportedModel
from bitloss.formats.safetensors import awq_gemv, marlin
from bitloss.formats.safetensors.awq_layers import (
    PARTS,
    Layer,
    bits_of,
    decode,
    group_size_of,
    layer_of,
    parameters,
)
from bitloss.formats.storage.checkpoint import (
    DecodedCheckpoint,
    Facts,
    quantized_checkpoint,
    quantized_modules,
)
from bitloss.formats.storage.directory import ModelDirectory, open_directory, quant_method
from bitloss.formats.storage.payload import refuse_listed, refuse_orphans, require_modules
from bitloss.formats.storage.quant_config import settings_for

__all__ = ["Layer", "decode", "matches", "open_checkpoint"]

_LAYOUTS = {
    "gemm": "gemm", "gemv": "gemv", "gemv_fast": "gemv_fast", "llm-awq": "gemv_fast",
    "llm_awq": "gemv_fast", "marlin": "marlin",
    # What a runtime makes of a file in memory; the file is in `gemm`.
    "exllama": "gemm", "exllamav2": "gemm", "ipex": "gemm",
}  # fmt: skip


def matches(path: Path) -> bool:
    """Whether the path is a directory whose quantization method is AWQ."""
    return quant_method(path) == "awq"


def open_checkpoint(path: Path, name: str | None = None) -> DecodedCheckpoint:
    """Open an AWQ model.

    Raises:
        CheckpointError: files are missing or damaged, or tensors contradict the config.
        UnsupportedModel: a layout that is not decoded here.
    """
    directory = open_directory(path, name)
    config = directory.quantization
    layout = _layout(directory)
    modules = quantized_modules(directory, "qweight")
    require_modules(directory, modules, "qweight")
    refuse_listed(directory, modules, "modules_to_not_convert")
    size = group_size_of(directory, config)
    facts = Facts("awq", bits_of(directory, config), group_size=size)
    if layout in ("gemv", "gemv_fast"):
        return awq_gemv.open_modules(directory, facts, modules, fast=layout == "gemv_fast")
    if layout == "marlin" and quantized_modules(directory, "qzeros") == []:
        return marlin.tiled_checkpoint(
            directory, facts, marlin.Parts("qweight", "scales", "workspace")
        )
    refuse_orphans(directory, modules, PARTS, "qweight")
    layers = {
        module: layer_of(directory, module, settings_for(config, module)) for module in modules
    }
    parts = {f"{module}.{part}" for module in modules for part in PARTS}
    return quantized_checkpoint(directory, facts, parameters(directory, layers), parts)


def _layout(directory: ModelDirectory) -> str:
    config = directory.quantization
    names = {
        str(config[key]).lower()
        for key in ("version", "format", "checkpoint_format")
        if config.get(key)
    } or {"gemm"}
    layouts = {_LAYOUTS.get(name, name) for name in names}
    if len(layouts) > 1 or not layouts <= set(_LAYOUTS.values()):
        raise UnsupportedModel(
            f"{directory.name}: AWQ layout `{', '.join(sorted(names))}`; expected one of "
            f"{', '.join(_LAYOUTS)}",
            hint="quantize again with version `gemm`, which every runtime reads",
        )
    return layouts.pop()
