"""States that a device keeps beside the store; oracle: records of a run whose device keeps none."""

from __future__ import annotations

import pytest
import torch

from bitloss.engines.dense.scoring.state_cache import StateCache
from bitloss.engines.evaluate import evaluate
from bitloss.errors import StorageError
from bitloss.runner import RunStore
from bitloss.runner.executors.worker import MemoryStore
from peers.scoring import candidates, contents, dense_scorer, score


def kept(store, *sizes):
    """Kept states of three tensors, where the device has so many bytes free when asked."""
    room = iter(sizes)
    own = StateCache(store, "cpu", lambda: next(room))
    tensors = {name: torch.full((2, 4), float(n)) for n, name in enumerate("abc")}
    with own.writing() as keep:
        for name, states in tensors.items():
            keep(name, states)
    return own, tensors


def test_what_fits_is_not_read_from_the_store(tmp_path):
    store = RunStore(tmp_path)
    own, tensors = kept(store, 32, 31, 32)
    for name, states in tensors.items():
        assert torch.equal(store.read_states(name), states)
    assert own.read("a") is tensors["a"]
    assert own.read("c") is tensors["c"]
    assert own.read("b") is not tensors["b"]
    assert torch.equal(own.read("b"), tensors["b"])
    own.drop("a")
    assert not store.has_states("a")
    assert own.let_go()
    assert not own.let_go()
    assert torch.equal(own.read("c"), tensors["c"])


def test_a_cpu_keeps_nothing_besides(tmp_path):
    own = StateCache(RunStore(tmp_path), "cpu")
    states = torch.ones(2)
    with own.writing() as keep:
        keep("a", states)
    assert own.read("a") is not states


def test_what_the_store_has_no_more_is_let_go():
    """A worker's store begins empty with each part."""
    store = MemoryStore()
    own, _ = kept(store, 32, 32, 32)
    store.clear()
    with own.writing():
        pass
    assert not own.let_go()


def test_a_store_that_fails_is_an_error(tmp_path, monkeypatch):
    def full(*arguments):
        raise StorageError("no space left", hint="free some")

    monkeypatch.setattr(RunStore, "write_states", full)
    with pytest.raises(StorageError, match="no space left"):
        kept(RunStore(tmp_path), 32, 32, 32)


@pytest.mark.parametrize("free", [1 << 40, 3000])
def test_records_are_the_same_wherever_states_are(tmp_path, models, windows, free):
    apart, together = RunStore(tmp_path / "apart"), RunStore(tmp_path / "together")
    score(apart, models, windows, "a", "b")
    scorer = dense_scorer(together, models)
    scorer._states._room = lambda: free
    evaluate(scorer, scorer.pieces(windows), candidates(models, "a", "b"))
    assert contents(together.root) == contents(apart.root)


def test_a_full_device_lets_go_of_states_and_reads_again(tmp_path, models, windows, monkeypatch):
    from bitloss.engines.dense.scoring.heads import Heads

    apart, together = RunStore(tmp_path / "apart"), RunStore(tmp_path / "together")
    score(apart, models, windows, "a", "b")
    scorer = dense_scorer(together, models)
    scorer._states._room = lambda: 1 << 40
    real, full = Heads._positions, iter([True])

    def positions(*arguments):
        if next(full, False):
            raise torch.OutOfMemoryError("full")
        return real(*arguments)

    monkeypatch.setattr(Heads, "_positions", positions)
    evaluate(scorer, scorer.pieces(windows), candidates(models, "a", "b"))
    assert not scorer._states.let_go()
    assert contents(together.root) == contents(apart.root)
