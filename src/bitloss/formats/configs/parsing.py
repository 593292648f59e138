"""A config's plain values as transformers' config class, which knows defaults and old spellings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import Checkpoint, text_config
from bitloss.formats.configs.door import check_relations, check_weights, explain_refusal

__all__ = ["invalid_config", "parse_config", "require_valid", "unknown_model"]


def parse_config(config: Mapping[str, Any], code: Path | None) -> Any:
    """The config class of a model type, filled.

    Args:
        config: transformers config as plain values.
        code: directory of a model whose own Python code is trusted to run: its config is returned.

    Raises:
        UnsupportedModel: transformers does not know the model type.
        CheckpointError: it can make no config of the values.
    """
    from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

    if code is not None:
        return AutoConfig.from_pretrained(code, trust_remote_code=True)
    values = {key: value for key, value in config.items() if key != "quantization_config"}
    kind = values.get("model_type")
    if not isinstance(kind, str) or not kind:
        got = "none" if kind is None else repr(kind)
        raise UnsupportedModel(
            f"expected `model_type` in config.json to name an architecture, got {got}",
            hint='add it (for example "model_type": "llama"), or download config.json again',
        )
    if kind not in CONFIG_MAPPING:
        known = "transformers does not know it"
        raise unknown_model(kind, ValueError(known))
    try:
        # JSON has no infinity: transformers writes it as an object.
        return AutoConfig.for_model(**_with_tuples(PreTrainedConfig._decode_special_floats(values)))
    except Exception as error:
        # Classes check their values with exceptions of many kinds, one of the hub library's own.
        raise invalid_config(kind, error, config) from error


def require_valid(checkpoint: Checkpoint, code: Path | None) -> None:
    """Refuse a config that transformers can make nothing of, before anything is made of it.

    Raises:
        UnsupportedModel: transformers does not know the model type.
        CheckpointError: values cannot be, or do not fit to each other or to the weights.
    """
    parsed = parse_config(checkpoint.config, code).get_text_config(decoder=True)
    config = text_config(checkpoint.config)
    if code is None:  # what a class of the model's own means by its keys is not known
        check_relations(config, parsed, checkpoint.info.name)
    check_weights(config, parsed, checkpoint)


def invalid_config(kind: Any, fault: Exception, config: Mapping[str, Any]) -> CheckpointError:
    """The error for values that transformers can make no config or model of, in its own words
    unless heads are the reason.
    """
    heads = explain_refusal(text_config(config), f"the config of `{kind}`")
    if heads is not None:
        return heads
    first: BaseException = fault
    while first.__cause__ is not None:
        first = first.__cause__
    reason = " ".join(str(first).split()) or type(first).__name__
    if isinstance(first, KeyError):  # whose message is the key alone
        reason = f"it has no {reason}"
    return CheckpointError(
        f"no `{kind}` model can be made of the config: {reason}"[:300],
        hint="download config.json again, or correct the value",
    )


def unknown_model(kind: Any, fault: Exception) -> UnsupportedModel:
    """The error for a model type without a language model, in transformers' own words."""
    reason = str(fault).partition(" Should contain one of")[0]  # every type there is follows
    return UnsupportedModel(
        f"no causal language model for model type `{kind}`: {reason}"[:300],
        hint="choose a decoder-only model that transformers knows (`bitloss list architectures`)",
    )


def _with_tuples(values: Any) -> Any:
    """Limits with an infinity as tuples, the one form that every config class takes."""
    if isinstance(values, dict):
        return {key: _with_tuples(value) for key, value in values.items()}
    if isinstance(values, list) and math.inf in values:
        return tuple(values)
    return values
