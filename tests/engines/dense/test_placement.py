"""One model on several devices; oracle: the states and texts of the same model on one.

Numbers are compared on devices that are all the CPU. That nothing is left on another device is seen
where later layers are on `meta`, which refuses to compute with tensors of the CPU.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitloss.engines.dense import placement
from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.placement import place_layers
from bitloss.engines.dense.scoring.head import load_head
from peers.random_models import CONFIGS
from peers.scoring import question_windows
from peers.writing import prompts, requests, run, talker

__all__ = ["talker"]


@pytest.mark.parametrize(
    ("layers", "rest", "rooms", "found"),
    [
        ([10] * 4, 0, [40, 40], [0, 0, 0, 1]),  # a share of 20, and a layer more
        ([10] * 4, 20, [40, 40], [0, 0, 1, 1]),
        ([10] * 4, 0, [20, 20], [0, 0, 1, 1]),
        ([10] * 6, 5, [25, 10, 90], [0, 1, 2, 2, 2, 2]),
        ([30, 5, 5], 0, [10, 40], [1, 1, 1]),
        ([10] * 4, 0, [20, 15], None),
        ([10], 30, [20, 90], None),  # what is in no layer is on the first
        ([100], 0, [60, 60], None),
    ],
)
def test_layers_are_placed_by_memory(layers, rest, rooms, found):
    assert place_layers(layers, rest, rooms) == found


def graph_on(checkpoint, rooms, precision="fp32"):
    graph = ModelGraph(
        checkpoint.config, precision=precision, device=next(iter(rooms)), rooms=rooms
    )
    assert sum(p.nbytes for p in graph.body.parameters()) == 0  # before anything is read
    graph.load(checkpoint)
    return graph


def half_of(checkpoint):
    """Bytes of all tensors but a third, in float32: neither device has room for all."""
    return sum(tensor.numel() for tensor in checkpoint.tensors.values()) * 4 * 2 // 3


def moves(graph):
    return sum(len(module._forward_pre_hooks) for module in graph.body.modules())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("architecture", CONFIGS)
def test_states_are_those_of_one_device(random_model, architecture, shared):
    _, checkpoint = random_model(architecture)
    windows = question_windows(4)
    size = half_of(checkpoint)
    spread = graph_on(checkpoint, {"cpu:0": size, "cpu:1": size})
    alone = graph_on(checkpoint, {"cpu": 1})
    assert moves(spread) > 1
    assert (spread.spread, alone.spread) == (True, False)
    assert moves(alone) == 0
    states = [
        torch.cat(list(hidden_states(graph, windows, 64, share_prefixes=shared)))
        for graph in (spread, alone)
    ]
    assert torch.equal(*states)


def test_texts_are_those_of_one_device(talker):
    _, checkpoint = talker("gemma2")
    asked = requests([*prompts([1, 3, 20]), *prompts([2, 8], shared=35)])
    size = half_of(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    graphs = [
        graph_on(checkpoint, {"cpu:0": size, "cpu:1": size}),
        graph_on(checkpoint, {"cpu": 1}),
    ]
    assert run((graphs[0], head), asked, slots=3) == run((graphs[1], head), asked, slots=3)


@pytest.fixture
def elsewhere(monkeypatch):
    """Lets states come back from `meta`, where numbers are not kept, as zeros."""
    real = placement._moved

    def moved(value, device):
        if torch.is_tensor(value) and value.is_meta and device.type == "cpu":
            return torch.zeros(value.shape, dtype=value.dtype)
        return real(value, device)

    monkeypatch.setattr(placement, "_moved", moved)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_nothing_of_a_layer_is_left_on_another_device(random_model, architecture, elsewhere):
    _, checkpoint = random_model(architecture)
    size = half_of(checkpoint)
    graph = graph_on(checkpoint, {"cpu": size, "meta": size})
    assert [device.type for device in graph.devices] == ["cpu", "meta"]
    kinds = {name: one.device.type for name, one in graph.body.named_parameters()}
    inside = [kind for name, kind in kinds.items() if name.startswith(("layers.", "h."))]
    assert sorted(set(inside)) == ["cpu", "meta"]
    assert {kind for name, kind in kinds.items() if "norm" in name and name.count(".") == 1} <= {
        "cpu"
    }
    windows = question_windows(4)
    for shared in (False, True):
        parts = list(hidden_states(graph, windows, 64, share_prefixes=shared))
        assert {part.device.type for part in parts} == {"cpu"}
    head = load_head(checkpoint, precision="fp32", device="cpu")
    asked = requests([*prompts([1, 3, 20]), *prompts([2, 8], shared=35)], count=3)
    found = list(
        generate(graph, head, asked, decode=str, eos_ids=(), context=64, slots=3, batch_tokens=64)
    )
    assert len(found) == len(asked)


def test_a_model_that_fits_stays_on_the_first_device(random_model):
    _, checkpoint = random_model("llama")
    graph = graph_on(checkpoint, {"cpu": 1 << 30, "meta": 1 << 30})
    assert [device.type for device in graph.devices] == ["cpu"]
    assert np.isfinite(graph.hidden(torch.tensor([[3, 4]])).numpy()).all()
