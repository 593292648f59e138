"""A causal language model without weights: its modules, names and shapes, and no memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from bitloss.formats.configs.parsing import invalid_config, parse_config, unknown_model

__all__ = ["empty_model"]


def empty_model(config: Mapping[str, Any]) -> Any:
    """transformers' model of a config, on torch's meta device, in float32.

    transformers sets globals of torch and of its own while it builds a model, for all threads of
    the process: call this where no other thread builds one or computes.

    Args:
        config: transformers config as plain values.

    Raises:
        UnsupportedModel: transformers has no causal language model of this type.
        CheckpointError: it can make none of the values.
    """
    # Imported with a model class by way of transformers; reports kernels it cannot load on stderr.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import torch
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    parsed = parse_config(config, None)
    if type(parsed) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        reason = ValueError("transformers has it for other purposes only")
        raise unknown_model(parsed.model_type, reason)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                parsed, dtype=torch.float32
            )
    # transformers raises whatever its checks of a config, and its modules, raise.
    except Exception as error:
        raise invalid_config(parsed.model_type, error, config) from error
