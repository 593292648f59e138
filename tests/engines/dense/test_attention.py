"""Oracle: transformers' own bf16 forward, and the float32 one that both approximate."""

from __future__ import annotations

import pytest
import torch

from bitloss.engines.dense import attention
from bitloss.engines.dense.graph import ModelGraph

IDS = torch.arange(2, 62).reshape(2, 30)


def hidden(checkpoint, precision):
    graph = ModelGraph(checkpoint.config, precision=precision, device="cpu")
    graph.load(checkpoint)
    return graph.body.config._attn_implementation, graph.hidden(IDS).float()


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3", "gpt2"])
def test_float32_attention_is_nearer_to_float32(random_model, monkeypatch, architecture):
    _, checkpoint = random_model(architecture)
    _, exact = hidden(checkpoint, "fp32")
    errors = {}
    for amx in (True, False):
        monkeypatch.setattr(attention, "has_amx", lambda amx=amx: amx)
        used, states = hidden(checkpoint, "bf16")
        assert (used == "sdpa") == amx
        errors[amx] = float((states - exact).abs().mean())
    # Causality and Mistral's window of 8 are kept: without them the error is of the states' size.
    assert errors[False] < 1.1 * errors[True] < 0.1 * float(exact.abs().mean())


def test_models_without_that_attention_are_left_alone(random_model, monkeypatch):
    _, checkpoint = random_model("gemma2")
    monkeypatch.setattr(attention, "has_amx", lambda: False)
    assert hidden(checkpoint, "bf16")[0] == "eager"


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3"])
def test_repeated_key_heads_are_the_same_attention(random_model, monkeypatch, architecture):
    """What a card uses in float32, here on a CPU; two heads share one of keys."""
    _, checkpoint = random_model(architecture)
    _, expected = hidden(checkpoint, "fp32")
    monkeypatch.setattr(attention, "is_cuda", lambda device: True)
    calls = []
    repeated = attention.repeated_attention

    def watched(module, query, key, *args, **options):
        calls.append((query.shape[1], key.shape[1]))
        return repeated(module, query, key, *args, **options)

    monkeypatch.setattr(attention, "repeated_attention", watched)
    used, states = hidden(checkpoint, "fp32")
    assert used == "bitloss_repeated_sdpa"
    assert set(calls) == {(4, 2)}
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
