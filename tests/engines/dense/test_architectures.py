"""Oracle: transformers' `from_pretrained` of the same directory, for every architecture listed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitloss.engines.dense.batches import hidden_states, shared_tree
from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.prefix_tree.states import packs
from bitloss.engines.dense.scoring.head import load_head
from bitloss.engines.dense.scoring.shards import shards
from bitloss.engines.dense.streaming import can_stream, read_by_layers
from bitloss.engines.values import Candidate, Model
from bitloss.formats import open_checkpoint
from bitloss.formats.architectures import ARCHITECTURES, ONE_AT_A_TIME
from bitloss.formats.base import identify
from bitloss.requests import Decoding, GenerateRequest
from bitloss.types import SilentProgress, Window
from peers.tiny_architectures import TINY, save_tiny

# Of the largest value; float32 has 1.2e-7.
ROUNDING = 2e-6


def test_the_table_is_what_is_tested():
    assert set(TINY) == set(ARCHITECTURES)
    assert set(ARCHITECTURES) >= ONE_AT_A_TIME


def close(found, expected):
    return float((found - expected).abs().max()) <= ROUNDING * float(expected.abs().max())


def words(ids):
    return " ".join(map(str, ids))


def greedy(model, prompt, count):
    ids = torch.from_numpy(prompt.astype(np.int64)).unsqueeze(0)
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return words(made[0, len(prompt) :].tolist())


def by_layers(graph, checkpoint, windows, memory):
    """States of windows read a layer at a time."""
    model = Model("tiny", identify(checkpoint), checkpoint)
    parts = read_by_layers(
        graph, checkpoint, shards(windows, 64), Candidate(model, arithmetic="fp32"),
        batch_tokens=64, memory=memory, progress=SilentProgress(),
    )  # fmt: skip
    return torch.cat([states for _, states in parts])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_states_logits_sharing_and_texts(name, tmp_path):
    model = save_tiny(name, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")

    ids = torch.randint(3, 96, (2, 21), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(input_ids=ids, output_hidden_states=True, use_cache=False)
    states = graph.hidden(ids)
    logits = head.logits(states.flatten(0, 1), 0, head.vocabulary)
    assert close(logits.view_as(expected.logits), expected.logits)
    last = None if expected.hidden_states is None else expected.hidden_states[-1]
    if name != "gemma3n_text":  # its last ones are of several streams, before the norm
        assert close(states, last)

    # Windows that begin alike, of lengths beyond the sliding window: shared as alone.
    rng = np.random.default_rng(0)
    common = rng.integers(3, 96, 14)
    windows = [
        Window(np.concatenate([common[: 14 - n], rng.integers(3, 96, 6 + n)]).astype(np.int32), 15)
        for n in range(4)
    ]
    shared = torch.cat(list(hidden_states(graph, windows, 32, share_prefixes=True)))
    assert graph.packs == packs(graph) == (name not in ONE_AT_A_TIME)
    rows = shared_tree(windows, 32).rows
    alone = torch.cat(list(hidden_states(graph, windows, 1)))
    # Merged attention adds up in another order; a wrong key would show at 0.1.
    torch.testing.assert_close(shared[torch.from_numpy(rows).long()], alone, atol=1e-4, rtol=1e-4)

    prompts = [window.ids[:size] for window, size in zip(windows, (1, 12, 17), strict=False)]
    requests = [GenerateRequest(prompt, Decoding(5), seed=0) for prompt in prompts]
    texts = dict(generate(graph, head, requests, decode=words, eos_ids=(), context=64))
    for index, prompt in enumerate(prompts):
        assert texts[index].text == greedy(model, prompt, 5)

    assert can_stream(graph, checkpoint.config)
    whole = torch.cat(list(hidden_states(graph, windows, 64)))
    for memory in (1 << 30, 1):  # layers held whole; experts one by one, and states on disk
        assert torch.equal(by_layers(graph, checkpoint, windows, memory), whole), memory
