"""Oracles: llama.cpp's own logits of the written file against transformers' of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.errors import UnsupportedModel
from bitloss.formats.gguf import open_checkpoint
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from peers import llama_cpp
from peers.tiny import VOCABULARY, save_tiny

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-tied-biases": (
        "llama",
        {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "llama3-rope": ("llama", {"rope_parameters": LLAMA3}),
    "llama-linear-rope": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}},
    ),
    "mistral-window": ("mistral", {"sliding_window": 64, "head_dim": 32}),
    "qwen2": ("qwen2", {}),
    "qwen2-tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2-yarn": ("qwen2", {"rope_parameters": YARN}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "gpt2": ("gpt2", {}),
}


def _kl_divergence(ours: np.ndarray, theirs: np.ndarray) -> float:
    p = torch.log_softmax(torch.from_numpy(ours).double(), -1)
    q = torch.log_softmax(torch.from_numpy(theirs).double(), -1)
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.fixture(scope="module", params=list(MODELS))
def written(request: Any, tmp_path_factory: Any) -> tuple[Any, Path, Path]:
    kind, options = MODELS[request.param]
    folder = tmp_path_factory.mktemp("model")
    model = save_tiny(folder, kind, **options)
    out = folder / "model.gguf"
    write_gguf(open_source(folder), out)
    return model, folder, out


def test_llama_cpp_computes_the_logits_of_transformers(written: tuple[Any, Path, Path]) -> None:
    model, _, out = written
    ids = np.random.default_rng(1).integers(0, VOCABULARY, 48).tolist()
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    (logits,) = llama_cpp.logits(out, [ids])
    assert logits.shape == expected.shape
    assert expected.std() > 0.5
    assert _kl_divergence(expected, logits) < 1e-6
    assert np.abs(expected - logits).max() < 2e-3 * np.abs(expected).max()


def test_the_file_reads_back_as_the_model_that_was_written(
    written: tuple[Any, Path, Path],
) -> None:
    """The state dict is the oracle of names, shapes and values; the logits of the config."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model, _, out = written
    checkpoint = open_checkpoint(out)
    state = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    assert set(checkpoint.names()) == set(state)
    for name, value in state.items():
        assert checkpoint.shape(name) == tuple(value.shape)
        read = checkpoint.read(name)
        assert read.dtype == torch.float32
        assert read.is_contiguous()
        assert torch.equal(read, value), name
    again: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**checkpoint.config)).eval()
    again.load_state_dict(model.state_dict())
    ids = torch.arange(5, 100).reshape(1, -1)
    with torch.inference_mode():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)


def test_the_config_is_read_back(written: tuple[Any, Path, Path]) -> None:
    model, _, out = written
    config, original = open_checkpoint(out).config, model.config.to_dict()
    for key, value in config.items():
        if key not in ("rope_parameters", "pad_token_id"):
            assert original[key] == value or (key, original[key]) in (("n_inner", None),), key


def test_half_precision_is_kept(tmp_path: Path) -> None:
    for dtype, kind in ((torch.bfloat16, "BF16"), (torch.float16, "F16")):
        folder = tmp_path / kind
        model = save_tiny(folder, "qwen2", dtype=dtype)
        write_gguf(open_source(folder), folder / "model.gguf")
        checkpoint = open_checkpoint(folder / "model.gguf")
        types = {name: tensor.type for name, tensor in checkpoint.files.tensors.items()}
        assert types["token_embd.weight"] == kind
        assert types["output_norm.weight"] == types["blk.0.attn_q.bias"] == "F32"
        for name, value in model.state_dict().items():
            assert torch.equal(checkpoint.read(name), value.float())


def test_parameters_may_lack_the_base_models_prefix(tmp_path: Path) -> None:
    """GPT-2's own checkpoint names them so (``h.0.ln_1.weight``)."""
    from safetensors.torch import load_file, save_file

    model = save_tiny(tmp_path, "gpt2")
    file = tmp_path / "model.safetensors"
    bare = {name.removeprefix("transformer."): value for name, value in load_file(file).items()}
    save_file(bare, file, metadata={"format": "pt"})
    write_gguf(open_source(tmp_path), tmp_path / "model.gguf")
    checkpoint = open_checkpoint(tmp_path / "model.gguf")
    assert torch.equal(
        checkpoint.read("transformer.h.1.attn.c_attn.weight"),
        model.state_dict()["transformer.h.1.attn.c_attn.weight"],
    )


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("gpt_neox", {}, "model type `gpt_neox`"),
        ("llama", {"hidden_act": "gelu"}, "activation `gelu`"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scaling of the attention"),
        ("llama", {"rope_parameters": {**YARN, "attention_factor": 2.0}}, "attention factor"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "rope type `dynamic`",
        ),
    ],
)
def test_what_gguf_cannot_say_is_refused(
    tmp_path: Path, kind: str, options: dict[str, Any], words: str
) -> None:
    save_tiny(tmp_path, kind, **options)
    with pytest.raises(UnsupportedModel, match=words):
        open_source(tmp_path)
