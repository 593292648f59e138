"""What a module graph wants to be filled with, found out without memory for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitloss.errors import CheckpointError
from bitloss.formats.configs.empty_model import empty_model

__all__ = ["parameter_shapes"]


def parameter_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a causal language model's parameters and stored buffers.

    Args:
        config: transformers config as plain values, made from a file's metadata.

    Returns:
        Without those that are tied to others.

    Raises:
        UnsupportedModel: transformers has no such model.
        CheckpointError: the values contradict each other.
    """
    try:
        model = empty_model(config)
    except CheckpointError as error:
        raise CheckpointError(
            error.message.replace("of the config", "from the metadata"),
            hint="download the file again, or convert the model again with a current llama.cpp",
        ) from error
    tied = set(model.all_tied_weights_keys) if config.get("tie_word_embeddings") else set()
    return {
        name: tuple(value.shape) for name, value in model.state_dict().items() if name not in tied
    }
