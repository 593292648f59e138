"""Tiny random models of every architecture, opened without files; fixtures for a `conftest.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.values import Model
from bitloss.formats.base import identify
from bitloss.types import ModelInfo, Window

__all__ = ["CONFIGS", "MemoryCheckpoint", "models", "opened", "random_model", "windows"]

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 101,
    "max_position_embeddings": 64,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 101, "n_positions": 64}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", **SIZES},
    "llama-tied": {"model_type": "llama", **SIZES, "tie_word_embeddings": True},
    "mistral": {"model_type": "mistral", **SIZES, "sliding_window": 8},
    "qwen2": {"model_type": "qwen2", **SIZES},
    "qwen3": {"model_type": "qwen3", **SIZES},
    "gpt2": {"model_type": "gpt2", **GPT2},
    "gemma2": {"model_type": "gemma2", **SIZES, "final_logit_softcapping": 3.0, "pad_token_id": 0},
    "cohere": {"model_type": "cohere", **SIZES, "logit_scale": 0.25, "pad_token_id": 0},
    "granite": {"model_type": "granite", **SIZES, "logits_scaling": 4.0},
    "phi": {"model_type": "phi", **SIZES, "pad_token_id": 0},
    "gpt_neox": {"model_type": "gpt_neox", **SIZES},
}


class MemoryCheckpoint:
    """A `Checkpoint` over tensors in memory."""

    def __init__(self, name: str, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        self.info = ModelInfo(name, name, "memory", 32, 32.0, 0, 0)
        self.config = config
        self.tensors = tensors

    def names(self) -> tuple[str, ...]:
        return tuple(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        return self.tensors[name]


def opened(checkpoint: MemoryCheckpoint) -> Model:
    """The checkpoint as engines get it."""
    name = checkpoint.info.name
    return Model(name, identify(checkpoint), checkpoint, Path(name))


@pytest.fixture
def random_model() -> Callable[..., tuple[Any, MemoryCheckpoint]]:
    """A function: architecture and seed to transformers' model and the same as a checkpoint."""

    def make(architecture: str = "llama", seed: int = 0) -> tuple[Any, MemoryCheckpoint]:
        from transformers import AutoConfig, AutoModelForCausalLM

        config = CONFIGS[architecture]
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        tied = model.config.tie_word_embeddings
        tensors = {
            name: value.detach().clone()
            for name, value in model.state_dict().items()
            if not (tied and name == "lm_head.weight")
        }
        full = {**model.config.to_dict(), "model_type": config["model_type"]}
        return model, MemoryCheckpoint(f"{architecture}-{seed}", full, tensors)

    return make


@pytest.fixture
def models(random_model: Any) -> dict[str, Model]:
    """A reference, two noisy variants (one with its own head) and four that are at fault."""
    _, checkpoint = random_model(seed=0)
    checkpoint.info = ModelInfo("reference", "reference", "memory", 32, 32.0, 0, 0)
    torch.manual_seed(5)

    def variant(
        name: str,
        *,
        head: bool,
        broken: Callable[[dict[str, torch.Tensor]], object] = lambda tensors: None,
    ) -> Model:
        tensors = {
            key: value + 0.05 * torch.randn_like(value) if head or "lm_head" not in key else value
            for key, value in checkpoint.tensors.items()
        }
        broken(tensors)
        return opened(MemoryCheckpoint(name, dict(checkpoint.config), tensors))

    def put_nan(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = torch.nan

    def put_infinity(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"][3] = torch.inf

    def overflow(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] *= 1e30
        tensors["model.norm.weight"] *= 1e15

    return {
        "reference": opened(checkpoint),
        "a": variant("a", head=False),
        "b": variant("b", head=True),
        "nan": variant("nan", head=False, broken=put_nan),
        "head": variant("head", head=True, broken=put_infinity),
        "overflow": variant("overflow", head=True, broken=overflow),
        "gap": variant("gap", head=False, broken=lambda t: t.pop("model.norm.weight")),
    }


@pytest.fixture
def windows() -> list[Window]:
    """40 windows of up to 24 tokens."""
    rng = np.random.default_rng(0)
    return [
        Window(rng.integers(2, 100, size=24 if i < 38 else 9).astype(np.int32), 1 + i % 4)
        for i in range(40)
    ]
