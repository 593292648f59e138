"""Where a body keeps its layers."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["layer_list", "layers_of"]

# Config values of models whose layers give each other more than a state.
_SHARED = ("num_kv_shared_layers", "cross_attention_layers")


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


def layers_of(body: Any) -> tuple[str, list[Any]]:
    """The path of the body's list of layers, and the layers; none where one layer is not all that
    another one gets its input from, or none is found.
    """
    if any(getattr(body.config, name, None) for name in _SHARED):
        return "", []
    path, layers = layer_list(body)
    return (path, layers) if len({id(one) for one in layers}) == len(layers) else ("", [])
