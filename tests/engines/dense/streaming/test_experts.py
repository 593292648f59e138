"""Experts a group at a time; oracle: the same states with all experts at hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.dense.architecture import named_state
from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.graph_weights import GraphWeights
from bitloss.engines.dense.scoring.shards import shards
from bitloss.engines.dense.streaming import read_by_layers
from bitloss.engines.dense.streaming.budget import LayerSize
from bitloss.engines.dense.streaming.layers import layer_sizes
from bitloss.engines.dense.streaming.shapes import sizes_by_config
from bitloss.engines.values import Candidate, Model
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.types import SilentProgress, Window
from peers.tiny_architectures import save_tiny

# gpt-oss has biases and turned weights, DeepSeek experts that all tokens go to besides.
NAMES = ("qwen3_moe", "mixtral", "gpt_oss", "deepseek_v3", "granitemoe")


def read(graph: ModelGraph, checkpoint: Any, windows: list[Window], memory: int) -> torch.Tensor:
    candidate = Candidate(
        Model("tiny", identify(checkpoint), checkpoint), arithmetic=graph.precision
    )
    parts = read_by_layers(
        graph, checkpoint, shards(windows, 64), candidate,
        batch_tokens=64, memory=memory, progress=SilentProgress(),
    )  # fmt: skip
    return torch.cat([states for _, states in parts])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The groups that are read."""
    groups: list[list[int]] = []
    experts = GraphWeights.experts

    def watched(self: GraphWeights, names: Any, chosen: Any, advance: Any) -> Any:
        groups.append(list(chosen))
        return experts(self, names, chosen, advance)

    monkeypatch.setattr(GraphWeights, "experts", watched)
    return groups


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_states_are_those_of_all_experts(name, precision, tmp_path, windows, asked):
    save_tiny(name, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    whole = ModelGraph(checkpoint.config, precision=precision, device="cpu")
    whole.load(checkpoint)
    expected = torch.cat(list(hidden_states(whole, windows, 64)))
    graph = ModelGraph(checkpoint.config, precision=precision, device="cpu")
    for memory, size in ((1, 1), (60_000, 2)):
        asked.clear()
        assert torch.equal(read(graph, checkpoint, windows, memory), expected)
        assert asked
        assert max(map(len, asked)) <= size
    assert all(not p.numel() for layer in graph.body.layers for p in layer.parameters())
    graph.load(checkpoint)  # whole again
    assert torch.equal(torch.cat(list(hidden_states(graph, windows, 64))), expected)


def test_experts_that_no_token_is_sent_to_are_not_read(tmp_path, asked):
    save_tiny("qwen3_moe", tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    read(graph, checkpoint, [Window(np.array([5, 9], dtype=np.int32), 1)], 1)
    # One token is read: two experts in each of two layers, for each of two products.
    assert len(asked) == 2 * 2 * 2
    assert all(len(group) == 1 for group in asked)


@pytest.mark.parametrize("name", [*NAMES, "llama4_text", "llama"])
def test_sizes_of_layers(name, tmp_path):
    """By the config as by the weights; all that a layer has is counted."""
    save_tiny(name, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    graph = ModelGraph(checkpoint.config, precision="bf16", device="cpu")
    sizes = layer_sizes(graph, graph.begin(checkpoint))
    graph.load(checkpoint)
    planned = sizes_by_config(checkpoint.config, 2)
    state = [named_state(layer) for layer in graph.body.layers]
    parts = [sum(tensor.nbytes for tensor in layer.values()) for layer in state]
    assert [size.total for size in sizes] == parts
    # Routers that are kept in float32 are counted as the rest.
    for size, by_config in zip(sizes, planned, strict=True):
        assert by_config.total == pytest.approx(size.total, rel=0.02)
        assert (by_config.experts, by_config.extra) == (size.experts, size.extra)
    if name in ("llama4_text", "llama"):  # no experts, or ones that are run in another way
        assert all(size == LayerSize(size.total) for size in sizes)
    else:
        assert dataclasses.asdict(sizes[-1])["experts"] == 4
