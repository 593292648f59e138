"""Linear layers of a model without its weights. Oracle: the config's sizes, by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from bitloss.quantizers.linear_layers import LinearLayer, linear_layers


def test_the_layers_of_a_llama(pocket: Path) -> None:
    found = linear_layers(pocket)
    assert len(found) == 4 * 7
    assert found[:2] == (
        LinearLayer("model.layers.0.self_attn.q_proj", 256, 256),
        LinearLayer("model.layers.0.self_attn.k_proj", 256, 128),
    )
    assert found[-1] == LinearLayer("model.layers.3.mlp.down_proj", 768, 256)


def test_recipes_side_by_side_leave_torch_as_it_was(pocket: Path) -> None:
    """transformers builds a bf16 model by changing torch's default dtype, for all threads."""
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert len(set(pool.map(linear_layers, [pocket] * 8))) == 1
            assert torch.get_default_dtype() == torch.float32
