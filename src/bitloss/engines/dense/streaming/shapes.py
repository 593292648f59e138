"""Sizes of a model's layers by its config alone, for estimates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitloss.engines.dense.architecture import architecture_of
from bitloss.engines.dense.layer_list import layer_list
from bitloss.engines.dense.scoring.keys import state_width
from bitloss.engines.dense.streaming.budget import LayerSize, chosen_experts
from bitloss.engines.dense.streaming.experts import expert_module, extra_states

__all__ = ["sizes_by_config"]


def sizes_by_config(config: Mapping[str, Any], size: int) -> list[LayerSize]:
    """Bytes of each layer's weights; experts are taken to be stored one by one.

    Args:
        config: transformers config as plain values.
        size: bytes of a number.

    Raises:
        UnsupportedModel: transformers has no language model for the config.
    """
    architecture = architecture_of(config)
    _, layers = layer_list(architecture.model.get_submodule(architecture.body))
    extra = chosen_experts(config)
    sizes = []
    for layer in layers:
        total = size * sum(parameter.numel() for parameter in layer.parameters())
        found = expert_module(layer)
        if found is None:
            sizes.append(LayerSize(total))
            continue
        module = found[1]
        stacked = size * sum(parameter.numel() for parameter in module.parameters())
        more = extra_states(module, state_width(config), extra)
        count = module.num_experts
        sizes.append(LayerSize(total - stacked, count, stacked // count, more))
    return sizes
