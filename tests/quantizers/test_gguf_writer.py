"""Oracles: llama.cpp's own logits of the written file against transformers' of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.errors import UnsupportedModel
from bitloss.formats.gguf import open_checkpoint
from bitloss.formats.gguf.decoding import read_tensor
from bitloss.formats.gguf.header import read_header
from bitloss.quantizers.gguf_metadata import WRITTEN
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from peers import llama_cpp
from peers.gguf_cases import CASES, build
from peers.gguf_family import RECORD, digest
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
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
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
        ("opt", {"ffn_dim": 96, "word_embed_proj_dim": 64}, "model type `opt`"),
        ("llama", {"hidden_act": "gelu"}, "has `hidden_act` silu, .* has gelu"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("llama", {"rope_parameters": {**YARN, "attention_factor": 2.0}}, "rope_parameters"),
        ("granite", {"hidden_act": "relu"}, "has `hidden_act` silu, .* has relu"),
        (
            "qwen3_moe",
            {**EXPERTS, "norm_topk_prob": False},
            "has `norm_topk_prob` True, .* has False",
        ),
        ("gemma2", {"query_pre_attn_scalar": 99}, "has `query_pre_attn_scalar` 256, .* has 99"),
        ("gemma3_text", {"layer_types": ["full_attention"] * 2}, r"has `layer_types\[0\]`"),
        ("smollm3", {"no_rope_layers": [1, 0], "pad_token_id": 0}, r"has `no_rope_layers\[1\]`"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "rope_parameters",
        ),
    ],
)
def test_what_gguf_cannot_say_is_refused(
    tmp_path: Path, kind: str, options: dict[str, Any], words: str
) -> None:
    save_tiny(tmp_path, kind, **options)
    with pytest.raises(UnsupportedModel, match=words):
        open_source(tmp_path)


# What llama.cpp's loader takes where a file is silent (src/llama-model.cpp, `load_hparams`).
def _silent(config: Any) -> dict[str, Any]:
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return {
        "vocab_size": config.vocab_size,
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.head_count_kv": heads,
        "rope.dimension_count": width,
        "rope.freq_base": 10000.0,
    }


# Two layers of norms per head are one tensor in a file: the one case that is refused.
FAMILIES = [case for case, (kind, _) in CASES.items() if kind in WRITTEN and case != "stablelm-12b"]


@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
@pytest.mark.parametrize("case", FAMILIES)
def test_a_family_is_written_as_llama_cpps_converter_writes_it(case: str, tmp_path: Path) -> None:
    """Oracle: metadata and tensors of `convert_hf_to_gguf.py`, recorded for the same models."""
    build(case, tmp_path / "model")
    source = open_source(tmp_path / "model")
    write_gguf(source, tmp_path / "model.gguf")
    header = read_header(tmp_path / "model.gguf")
    record = RECORD[case]
    assert header.metadata["general.architecture"] == record["arch"]
    prefix = f"{record['arch']}."
    written = {
        key.removeprefix(prefix): value
        for key, value in header.metadata.items()
        if key.startswith(prefix)
    }
    expected = {**_silent(source.config), **record["metadata"]}
    if source.config.model_type == "falcon":
        # The converter's context is a constant.
        written["context_length"] = expected["context_length"]
    assert record["metadata"].keys() <= written.keys()
    assert written == {key: expected[key] for key in written}
    assert (
        digest({tensor.name: read_tensor(tensor) for tensor in header.tensors})
        == (record["digest"])
    )


@pytest.mark.parametrize("case", ["gemma3", "qwen3moe", "phi3", "granite", "olmo2"])
def test_llama_cpp_computes_a_familys_logits(case: str, tmp_path: Path) -> None:
    """Oracle: transformers. llama.cpp's table of GELU has 16 bits, hence the bound."""
    from transformers import AutoModelForCausalLM

    build(case, tmp_path / "model")
    write_gguf(open_source(tmp_path / "model"), tmp_path / "model.gguf")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    ids = np.random.default_rng(1).integers(5, 320, 48).tolist()
    with torch.inference_mode():
        expected = model.eval()(torch.tensor([ids])).logits[0].numpy()
    (logits,) = llama_cpp.logits(tmp_path / "model.gguf", [ids])
    assert _kl_divergence(expected, logits) < 1e-6


def test_norms_per_head_of_several_parameters_are_refused(tmp_path: Path) -> None:
    build("stablelm-12b", tmp_path)
    with pytest.raises(UnsupportedModel, match="several parameters"):
        open_source(tmp_path)


def test_a_refusal_lists_what_is_written_and_says_how_else(tmp_path: Path) -> None:
    save_tiny(tmp_path, "opt", ffn_dim=96, word_embed_proj_dim=64)
    with pytest.raises(UnsupportedModel) as caught:
        open_source(tmp_path)
    assert "gemma3_text, glm4" in caught.value.hint
    assert "convert_hf_to_gguf.py and give the .gguf file as the reference" in caught.value.hint


def test_small_norms_keep_their_bits_where_gguf_adds_one(tmp_path: Path) -> None:
    """1 + w in bfloat16 would round w away; the converter widens first, too."""
    folder = tmp_path / "model"
    model = save_tiny(folder, "gemma2", dtype=torch.bfloat16, sliding_window=64,
                      query_pre_attn_scalar=16, head_dim=16,
                      layer_types=["sliding_attention", "full_attention"],
                      hidden_activation="gelu_pytorch_tanh")  # fmt: skip
    write_gguf(open_source(folder), folder / "model.gguf")
    name = "model.norm.weight"
    read = open_checkpoint(folder / "model.gguf").read(name)
    torch.testing.assert_close(read, model.state_dict()[name].float(), rtol=0, atol=2e-7)
