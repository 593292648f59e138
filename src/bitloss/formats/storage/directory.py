"""A model directory in the layout of transformers: config, quantization config, weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.contents.encodings import decode_utf8
from bitloss.contents.kinds import JSON
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.configs.door import check_values
from bitloss.formats.storage.shards import Shards, open_shards
from bitloss.spec.json_text import parse_json

__all__ = [
    "ModelDirectory",
    "open_directory",
    "parse_file",
    "quant_method",
    "read_config",
    "read_quantization",
]

_KEYS = ("quantization_config", "compression_config")  # the second is llmcompressor's before 0.5
# Where other writers put it, and the method that such a file means when it does not say.
_FILES = {
    "quantize_config.json": "gptq", "quant_config.json": "awq", "hf_quant_config.json": "modelopt",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """An opened directory.

    Attributes:
        path: of the directory.
        name: how the user called it.
        config: the transformers config without the quantization config.
        quantization: the quantization config, empty for a dense model.
        shards: the weight files.
    """

    path: Path
    name: str
    config: dict[str, Any]
    quantization: dict[str, Any]
    shards: Shards


def open_directory(path: Path, name: str | None) -> ModelDirectory:
    """Read the configs and the weights' headers.

    Raises:
        CheckpointError: one of them is missing or damaged, or a value of the config cannot be.
    """
    config = _without_quantization(read_config(path))
    if config:  # an empty one is a stub: what is missing first is the weights
        _require_model_type(path, config)
    shards = open_shards(path)
    _require_model_type(path, config)
    check_values(config, str(path / "config.json"), tensors=len(shards.tensors))
    return ModelDirectory(path, name or str(path), config, read_quantization(path), shards)


def _require_model_type(path: Path, config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    if (isinstance(kind, str) and kind) or (kind is None and "auto_map" in config):
        return
    got = "none" if kind is None else repr(kind)
    raise CheckpointError(
        f"{path / 'config.json'}: expected `model_type` to name an architecture, got {got}",
        hint='add it (for example "model_type": "llama"), or download config.json again',
    )


def read_config(path: Path) -> dict[str, Any]:
    """The directory's ``config.json``.

    Raises:
        CheckpointError: it is missing or is not a JSON object.
    """
    return _read_object(path / "config.json")


def read_quantization(path: Path) -> dict[str, Any]:
    """The quantization config from wherever it is kept; empty for a dense model.

    That is the top of ``config.json``, a part of it (``text_config`` of a multimodal model), or a
    file beside it.

    Raises:
        CheckpointError: a file is not a JSON object.
        UnsupportedModel: parts of the model have different quantization configs.
    """
    nested = _quantizations(path / "config.json", read_config(path), "")
    values = list(nested.values())
    if any(value != values[0] for value in values):
        raise UnsupportedModel(
            f"{path / 'config.json'}: expected one quantization config, got different ones in "
            f"{' and '.join(f'`{place}`' for place in nested)}",
            hint="choose a model that is quantized in one way, or remove the config that does not "
            "belong to the language model",
        )
    if values:
        return values[0]
    for name, method in _FILES.items():
        if (path / name).is_file():
            return {"quant_method": method, **_read_object(path / name)}
    return {}


def quant_method(path: Path) -> str | None:
    """The quantization method in lower case, None for a dense model or what is no directory.

    Raises:
        CheckpointError: see `read_quantization`.
    """
    if not (path / "config.json").is_file():
        return None
    quantization = read_quantization(path)
    if not quantization:
        return None
    method = quantization.get("quant_method", quantization.get("method"))
    if method is None:
        producer = quantization.get("producer")
        named = producer.get("name") if isinstance(producer, dict) else None
        method = named or "unknown"  # some of ModelOpt name their producer alone
    return str(method).lower()


def _quantizations(file: Path, config: dict[str, Any], above: str) -> dict[str, dict[str, Any]]:
    """All quantization configs by where they stand, the top one first."""
    here = {
        above + key: _as_object(config[key], file, above + key) for key in _KEYS if config.get(key)
    }
    here = dict(list(here.items())[:1])
    for key, value in config.items():
        if key not in _KEYS and isinstance(value, dict):
            here |= _quantizations(file, value, f"{above}{key}.")
    return here


def _without_quantization(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_quantization(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _KEYS
    }


def _read_object(file: Path) -> dict[str, Any]:
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{file.parent}: no {file.name}",
            hint="give a model directory as transformers saves it, or a .gguf file",
        ) from error
    return _as_object(parse_file(data, file), file, "")


def parse_file(data: bytes, file: Path) -> Any:
    """The JSON value of one of a model's files.

    Raises:
        CheckpointError: it is of another kind (which is named), or no valid JSON.
    """
    text = decode_utf8(data, file, CheckpointError, door=JSON)
    try:
        return parse_json(text)
    except ValueError as error:
        raise CheckpointError(
            f"{file}: not valid JSON: {error}", hint="download or copy it again"
        ) from error


def _as_object(value: Any, file: Path, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{file}: expected {f'`{key}` to be ' if key else ''}a JSON object, "
            f"got {type(value).__name__}",
            hint="download or copy it again",
        )
    return value
