"""Oracle: the inputs of each matrix, recorded by hand while transformers runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bitloss.errors import NumericalError
from bitloss.quantizers.gguf_writer import open_source
from bitloss.quantizers.imatrix import importance_matrix
from peers.tiny import save_tiny

CALIBRATION = [[5, 6, 7, 8, 9], [10, 11, 12]]


def test_mean_squares_of_the_inputs(tmp_path: Path) -> None:
    """The first layer's query input is the normed embedding; its output's input was recorded."""
    model = save_tiny(tmp_path, "qwen2")
    advanced: list[int] = []
    found = importance_matrix(open_source(tmp_path), CALIBRATION, advance=advanced.append)
    assert advanced == [1, 1]
    kinds = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    assert set(found) == {f"blk.{layer}.{kind}.weight" for layer in (0, 1) for kind in kinds}
    layer = model.model.layers[0]
    with torch.inference_mode():
        ids = torch.tensor([token for sequence in CALIBRATION for token in sequence])
        normed = layer.input_layernorm(model.model.embed_tokens(ids))
    expected = (normed.double() ** 2).mean(0).numpy()
    np.testing.assert_allclose(found["blk.0.attn_q.weight"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["blk.0.attn_v.weight"], expected, rtol=1e-5)
    recorded: list[torch.Tensor] = []
    model.model.layers[1].mlp.down_proj.register_forward_pre_hook(
        lambda module, inputs: recorded.append(inputs[0][0])
    )
    with torch.inference_mode():
        for sequence in CALIBRATION:
            model(torch.tensor([sequence]))
    expected = (torch.cat(recorded).double() ** 2).mean(0).numpy()
    np.testing.assert_allclose(found["blk.1.ffn_down.weight"], expected, rtol=1e-5)
    assert found["blk.1.ffn_down.weight"].dtype == np.float32


def test_conv1d_counts_as_a_matrix(tmp_path: Path) -> None:
    save_tiny(tmp_path, "gpt2")
    found = importance_matrix(open_source(tmp_path), CALIBRATION)
    kinds = {"attn_qkv": 64, "attn_output": 64, "ffn_up": 64, "ffn_down": 256}
    assert {name: len(values) for name, values in found.items()} == {
        f"blk.{layer}.{kind}.weight": size for layer in (0, 1) for kind, size in kinds.items()
    }


def test_a_damaged_reference_is_reported(tmp_path: Path) -> None:
    model = save_tiny(tmp_path, "llama")
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight[0, 0] = float("nan")
    model.save_pretrained(tmp_path)
    with pytest.raises(NumericalError, match="NaN or infinite inputs of `blk"):
        importance_matrix(open_source(tmp_path), CALIBRATION)
