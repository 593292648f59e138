"""Linear layers of a model without its weights. Oracle: the config's sizes, by hand."""

from __future__ import annotations

from pathlib import Path

from bitloss.quantizers.linear_layers import LinearLayer, linear_layers


def test_the_layers_of_a_llama(pocket: Path) -> None:
    layers = linear_layers(pocket)
    assert len(layers) == 4 * 7
    assert layers[:2] == (
        LinearLayer("model.layers.0.self_attn.q_proj", 256, 256),
        LinearLayer("model.layers.0.self_attn.k_proj", 256, 128),
    )
    assert layers[-1] == LinearLayer("model.layers.3.mlp.down_proj", 768, 256)
