"""The linear layers of a model's blocks, found without reading a weight."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.errors import CheckpointError, QuantizationError
from bitloss.formats.gguf.checkpoint import open_checkpoint
from bitloss.formats.gguf.files import find_file

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
        QuantizationError: transformers has no causal language model for it, or its blocks have
            no linear layers.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    try:
        config = _config(model)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"cannot read the config of `{model}`: {error}",
            hint="give a model directory as transformers saves it",
        ) from error
    try:
        with torch.device("meta"):
            shell = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, dtype=torch.float32
            )
    except ValueError as error:
        raise QuantizationError(
            f"`{model}` has model type `{config.model_type}`, which transformers does not know "
            "as a causal language model",
            hint="use a language model such as llama, qwen2 or gpt2",
        ) from error
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
            f"`{model}` (model type `{config.model_type}`) has no linear layers in its blocks",
            hint="choose a model made of ordinary linear layers",
        )
    return tuple(layers)


def _config(model: Path) -> Any:
    from transformers import AutoConfig

    file = find_file(model)
    if file is not None:
        return AutoConfig.for_model(**open_checkpoint(file).config)
    return AutoConfig.from_pretrained(str(model), local_files_only=True)
