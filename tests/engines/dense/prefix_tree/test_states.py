"""Oracle: transformers' own forward of every window alone, in float32."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from bitloss.engines.dense.batches import hidden_states, shared_tree
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.prefix_tree import attention as tree_attention
from bitloss.engines.dense.prefix_tree import forwards as tree_forwards
from bitloss.engines.dense.prefix_tree import packed
from bitloss.engines.dense.prefix_tree.partial_attention import attend
from bitloss.engines.dense.prefix_tree.tree import grow
from bitloss.errors import NumericalError
from bitloss.types import Window
from peers.random_models import CONFIGS


def graph_of(checkpoint, precision="fp32"):
    graph = ModelGraph(checkpoint.config, precision=precision, device="cpu")
    graph.load(checkpoint)
    return graph


def questions():
    """Two preambles, questions of many lengths below them, options of one and of many tokens."""
    rng = np.random.default_rng(1)

    def some(n):
        return rng.integers(2, 100, n).astype(np.int32)

    windows = []
    for length in (23, 9):
        preamble = some(length)
        for _ in range(6):
            question = np.concatenate([preamble, some(rng.integers(2, 12))])
            for option in (some(1), some(1), some(4), some(rng.integers(2, 9))):
                windows.append(Window(np.concatenate([question, option]), len(question)))
    order = rng.permutation(len(windows))
    return [windows[i] for i in order]


def oracle(model, windows):
    states = []
    for window in windows:
        with torch.no_grad():
            body = model.base_model(torch.from_numpy(window.ids[None, :-1]).long())
        states.append(body.last_hidden_state[0, window.first - 1 :])
    return torch.cat(states)


# Tokens in a forward, tokens in a tile: keys kept over many forwards, links only, tiles only.
CUTS = [(11, 1), (64, 24), (1000, 1), (1000, 128)]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_shared_states_are_those_of_each_window_alone(random_model, monkeypatch, architecture):
    model, checkpoint = random_model(architecture)
    graph, windows = graph_of(checkpoint), questions()
    expected = oracle(model, windows)
    for batch_tokens, tile in CUTS:
        monkeypatch.setattr(tree_forwards, "TILE_TOKENS", tile)
        tree = shared_tree(windows, batch_tokens)
        states = torch.cat(list(hidden_states(graph, windows, batch_tokens, share_prefixes=True)))
        assert graph.packs
        assert len(states) == len(tree.scored) < len(tree.rows)
        torch.testing.assert_close(states[tree.rows], expected, atol=3e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
def test_bf16_is_as_near_to_float32_as_a_window_alone(random_model, architecture):
    model, checkpoint = random_model(architecture)
    windows = questions()
    expected = oracle(model, windows)
    graph = graph_of(checkpoint, "bf16")
    tree = shared_tree(windows, 64)
    errors = {}
    for alone in (True, False):
        states = torch.cat(
            list(hidden_states(graph, windows, 64, share_prefixes=True, alone=alone))
        )
        errors[alone] = (states[tree.rows].float() - expected).abs().mean()
    assert graph.packs
    # Which products come out nearer is chance, and differs between processors.
    assert errors[False] < 1.25 * errors[True]


def test_alone_and_unpackable_give_the_same_states(random_model, monkeypatch):
    model, checkpoint = random_model()
    graph, windows = graph_of(checkpoint), questions()
    expected = oracle(model, windows)
    tree = shared_tree(windows, 64)
    module = sys.modules["bitloss.engines.dense.batches"]  # the package has a function of its name
    monkeypatch.setattr(module, "tree_states", lambda *args: pytest.fail("packed"))
    (alone,) = hidden_states(graph, windows, 64, share_prefixes=True, alone=True)
    graph.packs = False
    (flat,) = hidden_states(graph, windows, 64, share_prefixes=True)
    for states in (alone, flat):
        assert len(states) == len(tree.scored)
        torch.testing.assert_close(states[tree.rows], expected, atol=3e-5, rtol=1e-4)


def test_running_text_goes_on_as_it_was(random_model):
    _, checkpoint = random_model()
    graph = graph_of(checkpoint)
    rng = np.random.default_rng(0)
    windows = [Window(rng.integers(2, 100, 33).astype(np.int32), 1 + n % 9) for n in range(11)]
    windows.append(Window(windows[-1].ids[:12], 3))  # ragged, and a prefix of its neighbour
    assert shared_tree(windows, 64) is None
    plain = torch.cat(list(hidden_states(graph, windows, 64)))
    assert torch.equal(
        torch.cat(list(hidden_states(graph, windows, 64, share_prefixes=True))), plain
    )
    assert graph.packs is None


def test_short_texts_of_many_lengths_run_together():
    rng = np.random.default_rng(0)
    windows = [Window(rng.integers(2, 100, 9 + n).astype(np.int32), 5) for n in range(20)]
    tree = shared_tree(windows, 2048)
    assert tree is not None
    assert tree.tokens > 0.9 * tree.read


def changed_attention(query, key, value, **options):
    out, log = attend(query, key, value, **options)
    return 1.1 * out, log


def more_for_attention(monkeypatch):
    original = packed._planned_attention

    def attention(*args, **options):
        return original(*args, **options, s_aux=torch.zeros(4))

    monkeypatch.setattr(packed, "_planned_attention", attention)


def no_such_plan(monkeypatch):
    monkeypatch.setattr(tree_attention.TreeAttention, "attend", None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda patch: patch.setattr(tree_attention, "attend", changed_attention),
        more_for_attention,
        no_such_plan,
    ],
    ids=["wrong", "attention sinks", "crash"],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_probe_finds_models_that_cannot_be_packed(random_model, monkeypatch, spoil, precision):
    model, checkpoint = random_model("qwen3")
    graph, windows = graph_of(checkpoint, precision), questions()
    tree = shared_tree(windows, 64)
    spoil(monkeypatch)
    states = torch.cat(list(hidden_states(graph, windows, 64, share_prefixes=True)))
    assert graph.packs is False
    close = {"atol": 3e-5, "rtol": 1e-4} if precision == "fp32" else {"atol": 0.3, "rtol": 0.1}
    torch.testing.assert_close(states[tree.rows].float(), oracle(model, windows), **close)


def test_nan_names_the_layer(random_model):
    _, checkpoint = random_model()
    checkpoint.tensors["model.embed_tokens.weight"][99] = torch.nan  # not one of the probe's
    windows = [Window(np.array([5, 6, 99, n, 8], np.int32), 3) for n in range(9)]
    graph = graph_of(checkpoint)
    with pytest.raises(NumericalError, match=r"`model\.embed_tokens`"):
        list(hidden_states(graph, windows, 64, share_prefixes=True))


def test_only_one_path_is_held():
    # By hand: 40 tokens of preamble, questions of 10; forwards of 30 tokens keep the preamble.
    preamble = np.arange(40)
    windows = [Window(np.r_[preamble, np.full(11, 50 + n)].astype(np.int32), 50) for n in range(6)]
    tree = grow(windows)
    plan = tree_attention.TreeAttention(tree, torch.device("cpu"))
    held = []
    for forward in tree_forwards.plan_forwards(tree, 30):
        plan.begin(forward)
        states = torch.randn(2, forward.stop - forward.start, 8)
        plan.attend(0, states, states, states, scale=1.0, soft_cap=None, window=None)
        held.append(sum(key.shape[1] for key, _ in plan._held[0].values()))
        storage = [key.untyped_storage().nbytes() for key, _ in plan._held[0].values()]
        assert sum(storage) == 2 * 8 * 4 * held[-1]
    assert held == [30, 40, 40, 0]
