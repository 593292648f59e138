"""Tiny models with files' facts, scored without files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from bitloss.spec.model import ModelRef
from bitloss.types import Window

_path = Path(__file__).parents[1] / "engines" / "dense" / "conftest.py"
_spec = importlib.util.spec_from_file_location("tiny_models", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
random_model = _module.random_model
MemoryCheckpoint = _module.MemoryCheckpoint


@pytest.fixture
def models(random_model):
    """A reference, two noisy variants (one with its own head) and one with NaN inside."""
    import torch

    from bitloss.runner.models import Model

    _, checkpoint = random_model(seed=0)
    torch.manual_seed(5)

    def variant(name, *, head, broken=lambda tensors: None):
        tensors = {
            key: value + 0.05 * torch.randn_like(value) if head or "lm_head" not in key else value
            for key, value in checkpoint.tensors.items()
        }
        broken(tensors)
        opened = MemoryCheckpoint(name, dict(checkpoint.config), tensors)
        return Model(name, ModelRef(name, "path"), Path(name), opened)

    def put_nan(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = torch.nan

    def put_infinity(tensors):
        tensors["lm_head.weight"][3] = torch.inf

    def overflow(tensors):
        tensors["lm_head.weight"] *= 1e30
        tensors["model.norm.weight"] *= 1e15

    reference = Model("reference", ModelRef("reference", "path"), Path("r"), checkpoint)
    return {
        "reference": reference,
        "a": variant("a", head=False),
        "b": variant("b", head=True),
        "nan": variant("nan", head=False, broken=put_nan),
        "head": variant("head", head=True, broken=put_infinity),
        "overflow": variant("overflow", head=True, broken=overflow),
        "gap": variant("gap", head=False, broken=lambda t: t.pop("model.norm.weight")),
    }


@pytest.fixture
def windows():
    """40 windows of up to 24 tokens."""
    rng = np.random.default_rng(0)
    return [
        Window(rng.integers(2, 100, size=24 if i < 38 else 9).astype(np.int32), 1 + i % 4)
        for i in range(40)
    ]
