"""Oracle: transformers saves the models; shapes and names are compared with its own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from peers.checkpoints import write_model

EMBEDDING = torch.arange(24, dtype=torch.float32).view(6, 4)


def tiny(kind: str, **extra: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "llama": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
                  "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 32},
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 32, "n_positions": 32},
    }[kind]  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, **extra))


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 32), ("float16", 16), ("bfloat16", 16)])
@pytest.mark.parametrize(("kind", "tied"), [("llama", False), ("llama", True), ("gpt2", True)])
def test_what_transformers_saves(
    kind: str, tied: bool, dtype: str, bits: int, tmp_path: Path
) -> None:
    model = tiny(kind, tie_word_embeddings=tied).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    expected = dict(model.named_parameters())  # a tied head is listed once
    checkpoint = open_checkpoint(tmp_path)
    assert set(checkpoint.names()) == set(expected)
    for name, parameter in expected.items():
        assert checkpoint.shape(name) == tuple(parameter.shape)
        assert torch.equal(checkpoint.read(name), parameter)
    info = checkpoint.info
    label = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[dtype]
    assert (info.format, info.bits) == (f"safetensors-{label}", bits)
    assert info.bits_per_weight == bits
    assert info.parameters == sum(parameter.numel() for parameter in expected.values())
    assert info.architecture == type(model).__name__
    assert info.file_bytes == sum(f.stat().st_size for f in tmp_path.glob("*.safetensors"))
    assert len(list(tmp_path.glob("*.safetensors"))) > 1


@pytest.mark.parametrize(("other", "names"), [(0.0, 1), (1.0, 2)])
def test_head_that_the_config_ties_and_the_file_repeats(
    other: float, names: int, tmp_path: Path
) -> None:
    """transformers ties it where both are equal, and keeps it where they differ."""
    tensors = {"model.embed_tokens.weight": EMBEDDING, "lm_head.weight": EMBEDDING + other}
    path = write_model(tmp_path, tensors, tie_word_embeddings=True)
    info = open_checkpoint(path).info
    assert len(open_checkpoint(path).names()) == names
    assert (info.parameters, info.bits_per_weight) == (24 * names, 32)


def test_old_buffers_are_no_parameters(tmp_path: Path) -> None:
    tensors = {
        "wte.weight": EMBEDDING,
        "h.0.attn.bias": torch.ones((1, 1, 4, 4)).tril(),
        "h.0.attn.masked_bias": torch.tensor(-1e4),
        "h.0.attn.c_attn.bias": torch.ones(12),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2),
    }
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, model_type="gpt2"))
    assert set(checkpoint.names()) == {"wte.weight", "h.0.attn.c_attn.bias"}
    assert checkpoint.info.bits_per_weight == 32


def test_majority_names_the_format(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.ones(5, dtype=torch.bfloat16), "b.weight": torch.ones(4)}
    assert open_checkpoint(write_model(tmp_path, tensors)).info.format == "safetensors-bf16"


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    paths = [write_model(tmp_path / name, {"a.weight": EMBEDDING}) for name in "xy"]
    write_model(tmp_path / "z", {"a.weight": EMBEDDING + 1})
    first, second, third = (open_checkpoint(path).info.digest for path in (*paths, tmp_path / "z"))
    file = hashlib.sha256((paths[0] / "model.safetensors").read_bytes()).digest()
    assert first == hashlib.sha256(file + hashlib.sha256(b"{}").digest()).hexdigest()
    assert first == second != third


def test_types_that_are_not_dense(tmp_path: Path) -> None:
    weight = EMBEDDING.to(torch.float8_e4m3fn)
    with pytest.raises(UnsupportedModel, match=r"`a\.weight` is stored as F8_E4M3; expected"):
        open_checkpoint(write_model(tmp_path, {"a.weight": weight}))


def test_unknown_parameter(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_model(tmp_path, {"a.weight": EMBEDDING}), name="mine")
    with pytest.raises(CheckpointError, match=r"mine: no parameter `b\.weight`"):
        checkpoint.read("b.weight")


def test_a_trained_model(pocket: Path) -> None:
    """Sizes computed by hand from its config: 256 wide, 768 inside, 4 layers, 2 of 4 heads kv."""
    layer = 256 * (256 + 128 + 128 + 256) + 3 * 256 * 768 + 2 * 256
    checkpoint = open_checkpoint(pocket)
    info = checkpoint.info
    assert info.parameters == 2 * 2048 * 256 + 4 * layer + 256 == 4_196_608
    assert (info.format, info.bits_per_weight) == ("safetensors-bf16", 16)
    assert info.architecture == "LlamaForCausalLM"
    assert info.digest == open_checkpoint(pocket).info.digest
    assert checkpoint.config["hidden_size"] == 256
    assert len(checkpoint.names()) == 3 + 4 * 9
    assert checkpoint.shape("model.layers.3.mlp.down_proj.weight") == (256, 768)
    assert checkpoint.read("lm_head.weight").dtype == torch.bfloat16


def test_a_real_tied_model(shared: Path) -> None:
    checkpoint = open_checkpoint(shared / "models" / "stories260K")
    assert "lm_head.weight" not in checkpoint.names()
    assert checkpoint.info.format == "safetensors-fp32"
