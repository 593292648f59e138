"""The linear layers of a model's blocks, found without reading a weight."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bitloss.errors import QuantizationError
from bitloss.formats.configs.empty_model import empty_model
from bitloss.formats.gguf.checkpoint import open_checkpoint
from bitloss.formats.gguf.files import find_file
from bitloss.formats.storage.directory import read_config

__all__ = ["LinearLayer", "linear_layers"]

# A module of a numbered block, which is what quantizers touch: `model.layers.0.mlp.up_proj`.
_IN_BLOCK = re.compile(r"\.\d+\.")
# What chooses experts, which quantizers keep dense.
_ROUTER = re.compile(r"\.(gate|router|shared_expert_gate)$")


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """One matrix: the module's name and its sizes."""

    name: str
    inputs: int
    outputs: int


def linear_layers(model: Path) -> tuple[LinearLayer, ...]:
    """Linear layers inside the model's blocks, in the module tree's order.

    Embeddings and the head are left out: GPTQ and AWQ keep them dense.

    transformers sets globals of torch and of its own while it builds a model, for all threads of
    the process; call this where no other thread builds one or computes.

    Args:
        model: directory with ``config.json``, or a GGUF file.

    Raises:
        CheckpointError: no readable config.
        UnsupportedModel: transformers has no causal language model for it.
        QuantizationError: its blocks have no linear layers.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    file = find_file(model)
    shell = empty_model(read_config(model) if file is None else open_checkpoint(file).config)
    layers = []
    for name, module in shell.named_modules():
        if _ROUTER.search(name):
            continue
        if _IN_BLOCK.search(name) and isinstance(module, torch.nn.Linear | Conv1D):
            rows, columns = module.weight.shape
            # GPT-2's Conv1D keeps its weight the other way round.
            inputs, outputs = (rows, columns) if isinstance(module, Conv1D) else (columns, rows)
            layers.append(LinearLayer(name, int(inputs), int(outputs)))
    if not layers:
        raise QuantizationError(
            f"`{model}` (model type `{shell.config.model_type}`) has no linear layers in its "
            "blocks",
            hint="choose a model made of ordinary linear layers",
        )
    return tuple(layers)
