"""Oracle: the properties that make scores independent of how work was cut."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitloss.engines.dense.batches import batches, hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.values import scored_tokens
from bitloss.types import Window


def windows_of(sizes):
    return [Window(np.arange(n, dtype=np.int32), 1 + n // 3) for n in sizes]


@given(st.lists(st.integers(3, 12), max_size=30), st.integers(1, 60))
def test_groups_keep_order_and_length_and_bounds(sizes, batch_tokens):
    windows = windows_of(sizes)
    groups = list(batches(windows, batch_tokens))
    assert [w for group in groups for w in group] == windows
    for group in groups:
        assert len({len(w.ids) for w in group}) == 1
        assert len(group) == 1 or sum(len(w.ids) - 1 for w in group) <= batch_tokens


def test_states_are_those_that_predict_the_scored_tokens(random_model):
    _, checkpoint = random_model()
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    windows = [Window(np.arange(10, dtype=np.int32), 7), Window(np.arange(5, dtype=np.int32), 1)]
    states = torch.cat(list(hidden_states(graph, windows, 64)))
    first = graph.hidden(torch.arange(9).unsqueeze(0))[0, 6:]
    second = graph.hidden(torch.arange(4).unsqueeze(0))[0]
    assert torch.equal(states, torch.cat([first, second]))
    assert scored_tokens(windows).tolist() == [7, 8, 9, 1, 2, 3, 4]
