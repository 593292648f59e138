"""Model directories written by hand, with any tensors and any quantization config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

__all__ = ["write_model"]


def write_model(
    path: Path,
    tensors: dict[str, torch.Tensor],
    quantization: dict[str, Any] | None = None,
    *,
    shards: int = 1,
    metadata: dict[str, str] | None = None,
    **config: Any,
) -> Path:
    """Write ``config.json`` and the tensors, split over `shards` files where more than one.

    Every file's header gets the same `metadata`.
    """
    path.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    values |= config
    if quantization is not None:
        values["quantization_config"] = quantization
    (path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    if shards == 1:
        save_file(tensors, path / "model.safetensors", metadata)
        return path
    where: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(tensors.items())[shard::shards])
        save_file(part, path / file, metadata)
        where |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": where}
    (path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return path
