"""A text read in parts, as workers read it; oracle: the same text read at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring import shards as shards_module
from bitloss.runner import RunStore
from peers.scoring import candidates, contents, dense_scorer, score


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 150)


@pytest.fixture
def loads(monkeypatch):
    """Names of the models that are loaded, in order."""
    load, names = ModelGraph.load, []

    def counted(self, checkpoint, *arguments, **choices):
        names.append(checkpoint.info.name)
        return load(self, checkpoint, *arguments, **choices)

    monkeypatch.setattr(ModelGraph, "load", counted)
    return names


def test_a_model_stays_loaded_from_part_to_part(tmp_path, models, windows, loads):
    score(RunStore(tmp_path / "whole"), models, windows, "a")
    del loads[:]
    scorer = dense_scorer(RunStore(tmp_path / "parts"), models)
    (group,) = [candidates(models, "a")]
    pieces = scorer.pieces(windows)
    assert len(pieces) > 2
    for candidate in (scorer.reference, *group):
        for piece in pieces:
            scorer.prepare([piece], candidate, group)
    assert loads == [models["reference"].identity.info.name, models["a"].identity.info.name]
    for piece in pieces:
        scorer.score([piece], group)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", [{"nudged": True}, {"arithmetic": "bf16"}])
def test_what_changes_the_graph_is_loaded_again(tmp_path, models, windows, loads, change):
    scorer = dense_scorer(RunStore(tmp_path), models)
    (plain,) = candidates(models, "a")
    changed = replace(plain, **change)
    for candidate in (plain, changed, changed):
        scorer.prepare(scorer.pieces(windows)[:1], candidate, [candidate])
        scorer.store.drop_states(scorer.kept_states(scorer.pieces(windows)[:1], candidate)[0])
    # A nudged one is loaded each time: its random numbers start over.
    assert len(loads) == (3 if "nudged" in change else 2)


def test_what_is_not_scored_yet(tmp_path, models, windows):
    store = RunStore(tmp_path)
    scorer = dense_scorer(store, models)
    pieces, group = scorer.pieces(windows), candidates(models, "a", "b")
    assert list(scorer.unscored(pieces, [])) == list(pieces)
    score(store, models, windows, "a")
    assert not list(scorer.unscored(pieces, group[:1]))
    assert list(scorer.unscored(pieces, group)) == list(pieces)
