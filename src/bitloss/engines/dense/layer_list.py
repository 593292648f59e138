"""Where a body keeps its layers."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["layer_list"]


def layer_list(body: Any) -> tuple[str, list[Any]]:
    """The path of the list that is as long as the config says there are layers, the outermost
    first, and the layers; nothing where there is no such list.

    Args:
        body: transformers' module from token ids to hidden states.
    """
    count = getattr(body.config, "num_hidden_layers", None)
    for path, module in body.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return path, list(module)
    return "", []
