"""What workers are said to hold, worked out by hand for SmolLM2-135M's sizes.

Measured beside it (`benchmarks/plan.py`; a worker with its interpreter): see each test.
"""

from __future__ import annotations

import pytest

from bitloss.formats.base import ModelIdentity
from bitloss.quantizers import quantizer_of
from bitloss.spec.calibration import Calibration
from bitloss.spec.recipe import parse_recipe
from bitloss.types import ModelInfo

P = 134_515_008
CONFIG = {
    "model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}  # fmt: skip


def held(name: str, *, samples: int = 128, kind: str = "safetensors-fp32") -> int:
    info = ModelInfo(
        name="x", format=kind, bits=32, bits_per_weight=32.0, group_size=None, parameters=P,
        file_bytes=1, digest="0",
    )  # fmt: skip
    recipe = parse_recipe(name, calibration=Calibration(samples=samples), seed=0)
    return quantizer_of(recipe).memory_bytes(recipe, ModelIdentity(info, CONFIG))


def test_gptq_keeps_what_goes_into_a_layer_and_comes_out() -> None:
    """65,536 calibration tokens, four widths of float32; a forward of eight sequences."""
    library, weights = 200 << 20, 4 * P
    forward = 4 * 8 * 512 * (8 * 576 + 3 * 1536)
    assert held("gptq-4") == library + weights + 65_536 * 4 * 4 * 576 + forward
    halved = held("gptq-4", samples=64)
    assert held("gptq-4") - halved == 32_768 * 4 * 4 * 576


def test_awq_keeps_the_inputs_of_a_layers_matrices_twice() -> None:
    """In bf16, whatever the model's; the widest in float32; and what is looked at for clipping."""
    library, weights = 200 << 20, 2 * P
    kept = 65_536 * (2 * (12 * 576 + 2 * 1536) + 4 * 1536)
    assert held("awq-4") == library + weights + kept + 2 * 4 * 512 * 64 * 1536
    assert held("awq-4") == held("awq-4", kind="safetensors-bf16")


def test_gguf_takes_tensors_one_by_one() -> None:
    """Measured with both processes: 1.12 GB, of which 0.95 are theirs before any weight."""
    largest = 2 * 4 * 49_152 * 576
    assert held("gguf-q8_0") == largest
    assert held("gguf-q4_k_m-imatrix") == 4 * P + largest


@pytest.mark.parametrize("name", ["gptq-4", "awq-4", "gguf-q4_k_m-imatrix"])
def test_half_the_text_is_never_more(name: str) -> None:
    assert held(name, samples=64) <= held(name)
