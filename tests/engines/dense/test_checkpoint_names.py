"""Oracles: transformers' forward of the same tensors, and errors that name what is at fault."""

from __future__ import annotations

import json
import logging
import weakref

import pytest
import torch
from safetensors.torch import load_file, save_file

from bitloss.engines.dense import architecture
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.prefix_tree.packed import can_pack
from bitloss.engines.dense.rope import depends_on_length
from bitloss.engines.dense.scoring.head import load_head
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from peers.random_models import CONFIGS, SIZES
from peers.tiny_architectures import save_tiny

IDS = torch.randint(3, 96, (2, 21), generator=torch.Generator().manual_seed(1))


def graph_of(checkpoint, **options):
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu", **options)
    graph.load(checkpoint)
    return graph


def change(path, *, config=None, tensors=None):
    """Change values of the config, or the dictionary of tensors, of a saved model."""
    if config:
        values = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**values, **config}))
    if tensors:
        stored = load_file(path / "model.safetensors")
        tensors(stored)
        save_file(stored, path / "model.safetensors")
    return open_checkpoint(path)


@pytest.fixture
def notes(caplog):
    architecture.say_once.cache_clear()
    caplog.set_level(logging.WARNING, logger="bitloss")
    return caplog


def test_experts_are_read_one_at_a_time(tmp_path):
    """A tensor that was read is gone before the next one: one stands beside the graph."""
    save_tiny("qwen3_moe", tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    class Watched:
        info, config = checkpoint.info, checkpoint.config
        names, shape = checkpoint.names, checkpoint.shape

        def read(self, name, dtype=None):
            nonlocal most
            tensor = checkpoint.read(name, dtype)
            alive.append(weakref.ref(tensor))
            most = max(most, sum(reference() is not None for reference in alive))
            return tensor

    graph = graph_of(Watched())
    assert len(alive) > 20
    assert most <= 2  # the one at hand, and the last one until its name is bound anew
    assert torch.equal(graph.hidden(IDS), graph_of(checkpoint).hidden(IDS))


def test_an_expert_that_is_missing_is_named(tmp_path):
    save_tiny("mixtral", tmp_path)
    gone = "model.layers.1.block_sparse_moe.experts.3.w1.weight"
    checkpoint = change(tmp_path, tensors=lambda tensors: tensors.pop(gone))
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.experts\.gate_up_proj.*\[3, 4\]"):
        graph_of(checkpoint)


def test_layers_beyond_the_configs_count_are_refused(tmp_path):
    save_tiny("llama", tmp_path)
    checkpoint = change(tmp_path, config={"num_hidden_layers": 1})
    with pytest.raises(CheckpointError, match=r"expected 1 layers.*`model\.layers\.1\."):
        graph_of(checkpoint)


def test_layers_that_predict_further_tokens_are_left_out(tmp_path, notes):
    model = save_tiny("glm4_moe", tmp_path)
    extra = {"model.layers.2.eh_proj.weight": torch.ones(4, 4)}
    checkpoint = change(
        tmp_path, config={"num_nextn_predict_layers": 1}, tensors=lambda t: t.update(extra)
    )
    states = graph_of(checkpoint).hidden(IDS)
    with torch.no_grad():
        torch.testing.assert_close(states, model.base_model(IDS).last_hidden_state)
    assert "layers.2 (1 tensors)" in notes.text


def test_parameters_that_the_class_lacks_are_refused_unless_they_are_zero(tmp_path):
    save_tiny("llama", tmp_path)
    name = "model.layers.0.self_attn.q_proj.bias"
    zeros = change(tmp_path, tensors=lambda t: t.update({name: torch.zeros(32)}))
    graph_of(zeros)
    ones = change(tmp_path, tensors=lambda t: t.update({name: torch.ones(32)}))
    with pytest.raises(CheckpointError, match=r"no place for `model\.layers\.0\.self_attn\.q_proj"):
        graph_of(ones)


def test_other_parts_are_left_out_and_named(tmp_path, notes):
    save_tiny("gemma3", tmp_path)
    graph_of(open_checkpoint(tmp_path))
    assert "only the text model of `Gemma3ForConditionalGeneration` is evaluated" in notes.text
    assert "vision_tower (" in notes.text


def test_a_wrapper_and_its_text_model_alone_fill_the_same_graph(tmp_path):
    """A variant may be the text model alone, or its reference."""
    model = save_tiny("gemma3", tmp_path / "both")
    wrapper = open_checkpoint(tmp_path / "both")
    tensors = {
        f"model.{name}": value.clone()
        for name, value in model.model.language_model.state_dict().items()
    }
    (tmp_path / "text").mkdir()
    save_file(tensors, tmp_path / "text/model.safetensors")
    config = {**wrapper.config["text_config"], "architectures": ["Gemma3ForCausalLM"]}
    (tmp_path / "text/config.json").write_text(json.dumps(config))
    text = open_checkpoint(tmp_path / "text")
    graph = ModelGraph(wrapper.config, precision="fp32", device="cpu")
    graph.load(wrapper)
    expected = graph.hidden(IDS)
    graph.load(text)
    assert torch.equal(graph.hidden(IDS), expected)
    assert torch.equal(graph_of(text).hidden(IDS), expected)


# Heads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpt_neox", "llama"])
def test_a_head_that_is_missing_is_never_the_embedding(name, tmp_path):
    save_tiny(name, tmp_path, tie_word_embeddings=False)
    head = {"gpt_neox": "embed_out.weight", "llama": "lm_head.weight"}[name]
    checkpoint = change(tmp_path, tensors=lambda tensors: tensors.pop(head))
    with pytest.raises(CheckpointError, match=r"no head.*does not tie it"):
        load_head(checkpoint, precision="fp32", device="cpu")


def test_a_zeroed_head_of_another_name_is_read(tmp_path):
    save_tiny("gpt_neox", tmp_path, tie_word_embeddings=False)
    checkpoint = change(tmp_path, tensors=lambda tensors: tensors["embed_out.weight"].zero_())
    assert not load_head(checkpoint, precision="fp32", device="cpu").weight.any()


def test_a_tied_head_is_the_embedding(tmp_path):
    model = save_tiny("opt", tmp_path, tie_word_embeddings=True)
    checkpoint = open_checkpoint(tmp_path)
    assert not [name for name in checkpoint.names() if "lm_head" in name]
    head = load_head(checkpoint, precision="fp32", device="cpu")
    assert torch.equal(head.weight, model.get_input_embeddings().weight)


def test_a_class_that_does_more_after_its_head_is_refused_by_name(tmp_path, monkeypatch):
    from transformers import LlamaForCausalLM

    original = LlamaForCausalLM.forward

    def shifted(self, *args, **options):
        output = original(self, *args, **options)
        output.logits = output.logits + 1
        return output

    save_tiny("llama", tmp_path)
    checkpoint = change(tmp_path, config={"rms_norm_eps": 3e-6})  # no other test's architecture
    monkeypatch.setattr(LlamaForCausalLM, "forward", shifted)
    with pytest.raises(UnsupportedModel, match="`LlamaForCausalLM` makes its logits"):
        load_head(checkpoint, precision="fp32", device="cpu")


# Rotary tables that depend on lengths -------------------------------------------------------------

DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
LONG = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4, "original_max_position_embeddings": 16, "factor": 4.0,
}  # fmt: skip


@pytest.mark.parametrize("rope", [DYNAMIC, LONG], ids=["dynamic", "longrope"])
def test_lengths_of_earlier_windows_change_nothing(random_model, monkeypatch, rope):
    sizes = {**SIZES, "max_position_embeddings": 16 if rope is DYNAMIC else 64}
    monkeypatch.setitem(CONFIGS, "rope", {"model_type": "llama", **sizes, "rope_parameters": rope})
    _, checkpoint = random_model("rope")
    graph = graph_of(checkpoint)
    assert depends_on_length(graph.body.config)
    assert not can_pack(graph)
    for size in (20, 40, 24, 12, 20):  # transformers keeps the table of 40 for 24
        with torch.no_grad():
            fresh, _ = random_model("rope")
            expected = fresh.base_model(IDS.repeat(1, 2)[:, :size]).last_hidden_state
        found = graph.hidden(IDS.repeat(1, 2)[:, :size])
        assert (found - expected).abs().max() <= 2e-6 * expected.abs().max(), size


HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.mark.parametrize(("name", "rows"), [(HEAD, 80), (HEAD, 112), (EMBEDDING, 80)])
def test_rows_that_the_config_does_not_say_are_refused(tmp_path, name, rows):
    """Missing ones would be whatever is in memory; further ones change every distribution."""
    save_tiny("llama", tmp_path)

    def resize(tensors):
        tensors[name] = torch.cat([tensors[name], tensors[name]])[:rows].clone()

    checkpoint = change(tmp_path, tensors=resize)
    with pytest.raises(CheckpointError, match=rf"`{name}`: expected shape \[96, 32\], .*\[{rows}"):
        graph_of(checkpoint)


def test_adapters_that_are_not_merged_are_refused(tmp_path):
    """peft saves them beside the weights, under names that begin otherwise."""
    save_tiny("llama", tmp_path)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    checkpoint = change(tmp_path, tensors=lambda tensors: tensors.update({name: torch.ones(2, 32)}))
    with pytest.raises(UnsupportedModel, match=r"adapters are not applied: .*lora_A"):
        graph_of(checkpoint)
