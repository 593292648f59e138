"""Embeddings by the rows that are looked up; oracle: the states of the whole model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.shards import shards
from bitloss.engines.dense.streaming import read_by_layers
from bitloss.engines.values import Candidate, Model
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.types import SilentProgress
from peers.tiny_architectures import save_tiny


@pytest.mark.parametrize("name", ["llama", "gemma3n_text", "opt"])
def test_only_rows_of_the_text_are_held(name, tmp_path, windows, monkeypatch):
    save_tiny(name, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    whole = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    whole.load(checkpoint)
    text = windows[:1]
    expected = torch.cat(list(hidden_states(whole, text, 64)))
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    module: Any = graph.body.get_input_embeddings()
    held: list[int] = []
    hidden = graph.hidden

    def watched(ids: torch.Tensor) -> torch.Tensor:
        states = hidden(ids)
        held.append(len(module.weight))
        return states

    monkeypatch.setattr(graph, "hidden", watched)
    candidate = Candidate(Model("tiny", identify(checkpoint), checkpoint), arithmetic="fp32")
    parts = read_by_layers(
        graph, checkpoint, shards(text, 64), candidate,
        batch_tokens=64, memory=1 << 30, progress=SilentProgress(),
    )  # fmt: skip
    assert torch.equal(torch.cat([states for _, states in parts]), expected)
    assert set(held) == {len(set(text[0].ids[:-1].tolist()))}
    assert not module.weight.numel()
    graph.load(checkpoint)
    assert torch.equal(torch.cat(list(hidden_states(graph, text, 64))), expected)
    assert module.padding_idx == whole.body.get_input_embeddings().padding_idx
