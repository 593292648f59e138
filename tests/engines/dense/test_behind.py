"""Work that another thread does; oracle: what comes of it in the same order here."""

from __future__ import annotations

import threading

import pytest
import torch

from bitloss.engines.dense import graph_weights
from bitloss.engines.dense.behind import behind
from bitloss.engines.dense.graph import ModelGraph
from bitloss.errors import BitlossError
from peers.random_models import MemoryCheckpoint


@pytest.mark.parametrize("threaded", [False, True])
def test_all_is_done_in_order_at_the_end(threaded):
    found, where = [], set()
    with behind(threaded=threaded) as hand:
        for number in range(6):
            hand(lambda number=number: (found.append(number), where.add(threading.get_ident())))
    assert found == list(range(6))
    assert (where == {threading.get_ident()}) is not threaded


def test_what_it_raises_is_raised_here():
    def fails():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), behind(threaded=True) as hand:
        hand(fails)


def test_no_thread_is_left_by_an_error_of_the_block():
    before = threading.active_count()

    def interrupted():
        with behind(threaded=True) as hand:
            hand(lambda: None)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert threading.active_count() == before


@pytest.fixture
def elsewhere(monkeypatch):
    """As if parameters were in another memory."""
    monkeypatch.setattr(graph_weights, "_apart", lambda tensor: True)


def loaded(checkpoint, given=None):
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(given or checkpoint)
    return dict(graph.body.named_parameters())


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_weights_are_those_that_are_copied_at_once(random_model, architecture, request):
    _, checkpoint = random_model(architecture)
    expected = loaded(checkpoint)
    request.getfixturevalue("elsewhere")
    found = loaded(checkpoint)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_another_shape_is_still_an_error(random_model, elsewhere):
    _, checkpoint = random_model("llama")
    cut = {**checkpoint.tensors, "model.norm.weight": torch.ones(3)}
    with pytest.raises(BitlossError, match=r"model\.norm\.weight"):
        loaded(checkpoint, MemoryCheckpoint("cut", checkpoint.config, cut))
