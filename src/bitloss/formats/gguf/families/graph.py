"""What a module graph wants to be filled with, found out without memory for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from bitloss.errors import CheckpointError, UnsupportedModel

__all__ = ["parameter_shapes"]


def parameter_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a causal language model's parameters and stored buffers.

    Args:
        config: transformers config as plain values.

    Returns:
        Without those that are tied to others.

    Raises:
        UnsupportedModel: transformers has no such model.
        CheckpointError: the values contradict each other.
    """
    # Imported with a model class by way of transformers; reports kernels it cannot load on stderr.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = config["model_type"]
    try:
        parsed = AutoConfig.for_model(**config)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(parsed)  # type: ignore[no-untyped-call]
    except (KeyError, ImportError) as error:
        raise UnsupportedModel(
            f"transformers has no causal language model for `{kind}`: {error}"[:300],
            hint="install a newer transformers",
        ) from error
    except Exception as error:
        # Counts that no check of ours foresaw: transformers says which, in its own words.
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"no `{kind}` model can be made from the metadata: {reason}"[:300],
            hint="download the file again, or convert the model again with a current llama.cpp",
        ) from error
    tied = set(model.all_tied_weights_keys) if config.get("tie_word_embeddings") else set()
    return {
        name: tuple(value.shape) for name, value in model.state_dict().items() if name not in tied
    }
