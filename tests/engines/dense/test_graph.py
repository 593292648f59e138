"""Oracle: transformers' own forward of the same weights, in float32."""

from __future__ import annotations

import json

import pytest
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.engines.dense.scoring.heads import StateLogits
from bitloss.engines.token_scores import score_positions
from bitloss.errors import CheckpointError, Incomparable, NumericalError, UnsupportedModel
from peers.random_models import CONFIGS

IDS = torch.arange(2, 42).reshape(2, 20)


def graph_of(checkpoint, precision="fp32"):
    graph = ModelGraph(checkpoint.config, precision=precision, device="cpu")
    graph.load(checkpoint)
    return graph


@pytest.mark.parametrize("architecture", CONFIGS)
def test_losses_are_those_of_transformers(random_model, architecture):
    model, checkpoint = random_model(architecture)
    with torch.no_grad():
        expected = model(IDS).logits.log_softmax(-1)[:, :-1]
    targets = IDS[:, 1:]
    hidden = graph_of(checkpoint).hidden(IDS)[:, :-1].flatten(0, 1)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    ours, _ = score_positions(targets.flatten(), StateLogits(head, hidden), [])
    nll = -expected.gather(-1, targets.unsqueeze(-1)).flatten()
    torch.testing.assert_close(torch.from_numpy(ours.nll), nll, atol=2e-5, rtol=1e-5)
    entropy = -(expected.exp() * expected).sum(-1).flatten()
    torch.testing.assert_close(torch.from_numpy(ours.entropy), entropy, atol=2e-5, rtol=1e-5)


def test_a_refilled_graph_is_the_new_model_to_the_last_bit(random_model):
    _, first = random_model(seed=1)
    _, second = random_model(seed=2)
    graph = graph_of(first)
    before = graph.hidden(IDS)
    graph.load(second)
    assert not torch.equal(graph.hidden(IDS), before)
    graph.load(first)
    assert torch.equal(graph.hidden(IDS), before)


def test_names_without_the_base_models_prefix_are_found(random_model):
    # The published gpt2 checkpoint has `wte.weight`, not `transformer.wte.weight`.
    _, checkpoint = random_model("gpt2")
    expected = graph_of(checkpoint).hidden(IDS)
    bare = {n.removeprefix("transformer."): t for n, t in checkpoint.tensors.items()}
    checkpoint.tensors = bare
    assert torch.equal(graph_of(checkpoint).hidden(IDS), expected)
    assert load_head(checkpoint, precision="fp32", device="cpu").vocabulary == 101


def test_a_padded_embedding_changes_nothing(random_model):
    _, checkpoint = random_model()
    graph = graph_of(checkpoint)
    expected = graph.hidden(IDS)
    _, padded = random_model()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        padding = torch.full((7, 32), 9.0)
        padded.tensors[name] = torch.cat([padded.tensors[name], padding])
    padded.config["vocab_size"] += 7
    graph.load(padded)
    assert torch.equal(graph.hidden(IDS), expected)


def test_a_missing_parameter_is_named(random_model):
    _, checkpoint = random_model()
    del checkpoint.tensors["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(CheckpointError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        graph_of(checkpoint)


def test_another_shape_than_the_own_config_says(random_model):
    _, checkpoint = random_model()
    checkpoint.tensors["model.norm.weight"] = torch.ones(16)
    words = r"`model.norm.weight`: expected shape \[32\], as the config says, got \[16\]"
    with pytest.raises(CheckpointError, match=words):
        graph_of(checkpoint)


def test_another_shape_than_the_references_is_incomparable(random_model):
    _, checkpoint = random_model()
    config = {**checkpoint.config, "intermediate_size": 40}
    graph = ModelGraph(config, precision="fp32", device="cpu")
    with pytest.raises(Incomparable, match=r"has shape \[.*\], the reference's has \[.*40.*\]"):
        graph.load(checkpoint)


def test_nan_names_the_first_layer(random_model):
    _, checkpoint = random_model()
    checkpoint.tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = torch.nan
    with pytest.raises(NumericalError, match=r"`model\.layers\.1\.mlp\.up_proj`"):
        graph_of(checkpoint).hidden(IDS)


def test_nan_in_a_head_names_the_tensor(random_model):
    _, checkpoint = random_model()
    checkpoint.tensors["lm_head.weight"][0, 0] = torch.inf
    with pytest.raises(NumericalError, match=r"`lm_head\.weight`"):
        load_head(checkpoint, precision="fp32", device="cpu")


def test_an_unknown_model_type_is_refused():
    with pytest.raises(UnsupportedModel, match="no-such-type"):
        ModelGraph({"model_type": "no-such-type"}, precision="fp32", device="cpu")


OWN_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_models_own_code_runs_only_where_it_is_trusted(random_model, tmp_path, monkeypatch):
    # Oracle: the same weights as a plain Llama, which the model's own code derives from.
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "c"))
    _, checkpoint = random_model("llama")
    expected = graph_of(checkpoint).hidden(IDS)
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}
    config = {**checkpoint.config, "model_type": "own", "auto_map": classes}
    (tmp_path / "own.py").write_text(OWN_CODE)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match="`own`"):
        ModelGraph(config, precision="fp32", device="cpu")
    graph = ModelGraph(config, precision="fp32", device="cpu", code=tmp_path)
    graph.load(checkpoint)
    assert torch.equal(graph.hidden(IDS), expected)
