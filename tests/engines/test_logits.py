"""The general scorer where `pair_checks` do not look. Oracle: the dense engine's own scorer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bitloss.engines import comparers
from bitloss.engines import logits as module
from bitloss.engines.base import Engine
from bitloss.engines.dense.plug import ENGINE as DENSE
from bitloss.engines.dense.scoring import shards as shards_module
from bitloss.engines.evaluate import evaluate, make_scorer
from bitloss.engines.logits import LogitsScorer
from bitloss.engines.values import Candidate, Setup
from bitloss.errors import Incomparable, UnsupportedModel
from bitloss.runner import RunStore
from bitloss.types import SilentProgress
from peers.random_models import models, random_model, windows
from peers.registering import register
from peers.scoring import contents, score

__all__ = ["models", "random_model", "windows"]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "ENGINES", logits_beside_dense="peers.logits_engine:BESIDE_DENSE")
    monkeypatch.setattr(module, "PIECE_TOKENS", 150)
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 150)


def setup_of(store, models, engine="dense"):
    reference = Candidate(models["reference"], engine)
    return Setup(store, reference, SilentProgress(), batch_tokens=64)


def beside_dense(store, models):
    return make_scorer(setup_of(store, models), "logits-beside-dense")


def test_the_reference_alone_is_scored_by_its_own_engine(tmp_path, models, windows):
    alone, store = RunStore(tmp_path / "dense"), RunStore(tmp_path / "beside")
    expected = score(alone, models, windows)
    scorer = beside_dense(store, models)
    assert evaluate(scorer, scorer.pieces(windows), []) == expected
    assert contents(store.root) == contents(alone.root)


def test_what_is_there_needs_no_states(tmp_path, models, windows):
    """Once all records are written, the reference's states may go: a rerun reads nothing again."""
    store = RunStore(tmp_path)
    group = [Candidate(models["a"], "logits-beside-dense")]
    scorer = beside_dense(store, models)
    scores = evaluate(scorer, scorer.pieces(windows), group)
    for path in (tmp_path / "states").iterdir():
        path.unlink()
    scorer = beside_dense(store, models)
    assert evaluate(scorer, scorer.pieces(windows), group) == scores
    assert list((tmp_path / "states").iterdir()) == []


def test_only_what_is_missing_is_read_again(tmp_path, models, windows):
    store = RunStore(tmp_path)
    group = [Candidate(models["a"], "logits-beside-dense")]
    scorer = beside_dense(store, models)
    pieces = scorer.pieces(windows)
    assert len(pieces) > 1
    scores = evaluate(scorer, pieces, group)
    before = contents(tmp_path / "records")
    for path in (tmp_path / "states").iterdir():
        path.unlink()
    (tmp_path / "records" / f"{scores.records_of(group[0])[0]}.parquet").unlink()
    scorer = beside_dense(store, models)
    assert evaluate(scorer, pieces, group) == scores
    assert contents(tmp_path / "records") == before
    assert len(list((tmp_path / "states").iterdir())) == 1


def test_a_text_of_one_forward_is_scored_whole_and_drawn(tmp_path, models, windows):
    """The candidate's records are the same, the reference's have a name of their own."""
    store = RunStore(tmp_path)
    group = [Candidate(models["a"], "logits-beside-dense")]
    scorer = beside_dense(store, models)
    whole, drawn = scorer.pieces(windows[:1]), scorer.smallest_pieces(windows[:1], 400)
    first = evaluate(scorer, whole, group)
    second = evaluate(beside_dense(store, models), drawn, group)
    assert second.variants == first.variants
    columns = ("window", "nll", "entropy")
    ours, theirs = (store.read_records(scores.reference, columns) for scores in (first, second))
    for name in columns:
        np.testing.assert_array_equal(ours[name], theirs[name])


class Blocks:
    """A model whose logits come in blocks of a given size, or are too few."""

    vocabulary = 101

    def __init__(self, size, missing=0):
        self.size, self.missing = size, missing

    def logits(self, window):
        generator = torch.Generator().manual_seed(int(window.ids.sum()))
        rows = torch.randn(window.n_scored, self.vocabulary, generator=generator)
        yield from rows[self.missing :].split(self.size)


def engine_of(model):
    return Engine(name="blocks", version="1", logits=lambda candidate, *, batch_tokens: model)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_blocks_of_any_size_give_the_same_records(tmp_path, models, windows, monkeypatch, size):
    monkeypatch.setattr(comparers, "POSITIONS", 5)
    records = {}
    for n in (3, size):
        store = RunStore(tmp_path / str(n))
        scorer = LogitsScorer(setup_of(store, models, "blocks"), engine_of(Blocks(n)))
        group = [Candidate(models["a"], "blocks")]
        scores = evaluate(scorer, scorer.pieces(windows), group)
        columns = store.read_records(scores.records_of(group[0]), ("nll", "kl_divergence"))
        own = store.read_records(scores.reference, ("window", "nll"))
        np.testing.assert_allclose(columns["nll"], own["nll"], atol=1e-6)
        assert (columns["kl_divergence"] == 0).all()
        counts = [window.n_scored for window in windows]
        assert own["window"].tolist() == np.repeat(np.arange(len(windows)), counts).tolist()
        records[n] = columns
    for name, values in records[3].items():
        np.testing.assert_allclose(records[size][name], values, atol=1e-6)


def test_an_engine_that_gives_too_few_logits_is_found_out(tmp_path, models, windows):
    setup = setup_of(RunStore(tmp_path), models)
    source = DENSE, make_scorer(setup, "dense")
    scorer = LogitsScorer(setup, engine_of(Blocks(1000, missing=1)), source)
    group = [Candidate(models["a"], "blocks")]
    scores = evaluate(scorer, scorer.pieces(windows), group)
    error = scores.failed[group[0].label]
    assert isinstance(error, Incomparable)
    assert error.message == "expected logits for 23 tokens, got 22"


def test_a_model_without_the_texts_tokens_fails_alone(tmp_path, models, windows, monkeypatch):
    monkeypatch.setattr(Blocks, "vocabulary", max(int(w.ids.max()) for w in windows))
    setup = setup_of(RunStore(tmp_path), models)
    source = DENSE, make_scorer(setup, "dense")
    scorer = LogitsScorer(setup, engine_of(Blocks(1000)), source)
    group = [Candidate(models["a"], "blocks")]
    scores = evaluate(scorer, scorer.pieces(windows), group)
    assert f"the text has {Blocks.vocabulary}" in scores.failed[group[0].label].message


def test_smallest_pieces_are_windows(tmp_path, models, windows):
    scorer = LogitsScorer(setup_of(RunStore(tmp_path), models, "blocks"), engine_of(Blocks(9)))
    pieces = scorer.smallest_pieces(windows, 400)
    assert [piece.windows for piece in pieces] == [(window,) for window in windows]
    assert [piece.first for piece in pieces] == list(range(len(windows)))
    for piece, window in zip(pieces, windows, strict=True):
        assert piece.tokens == len(window.ids) - 1
        assert piece.window_index().tolist() == [piece.first] * window.n_scored
    assert len({piece.digest for piece in pieces}) == len(windows)


def test_an_engine_that_cannot_run_the_reference_measures_no_floor(tmp_path, models, windows):
    def load(candidate, *, batch_tokens):
        if candidate.model.name == "reference":
            raise UnsupportedModel("not one of its own files")
        return Blocks(1000)

    setup = setup_of(RunStore(tmp_path), models)
    source = DENSE, make_scorer(setup, "dense")
    scorer = LogitsScorer(setup, Engine(name="blocks", version="1", logits=load), source)
    with pytest.raises(UnsupportedModel, match="not one of its own files"):
        scorer.noise_floor(windows)


def test_the_exact_scorer_has_the_reference_in_exact_arithmetic(tmp_path, models, windows):
    """A candidate's own numbers are the same beside both; the reference's are those of float32."""
    store = RunStore(tmp_path)
    setup = setup_of(store, models)
    assert beside_dense(store, models).exact() is None
    rounded = replace(setup, reference=replace(setup.reference, arithmetic="bf16"))
    scorer = make_scorer(rounded, "logits-beside-dense")
    exact = scorer.exact()
    assert exact.reference == setup.reference
    found = {}
    for one in (scorer, exact):
        candidate = Candidate(models["a"], "logits-beside-dense", one.reference.arithmetic)
        records = evaluate(one, one.pieces(windows), [candidate]).records_of(candidate)
        names = ("nll", "reference_nll", "kl_divergence")
        found[one.reference.arithmetic] = store.read_records(records, names)
    np.testing.assert_array_equal(found["bf16"]["nll"], found["fp32"]["nll"])
    assert np.abs(found["bf16"]["reference_nll"] - found["fp32"]["reference_nll"]).max() > 1e-4
    (records,) = score(store, models, windows, "a").variants.values()
    expected = store.read_records(records, ("kl_divergence",))["kl_divergence"]
    np.testing.assert_allclose(found["fp32"]["kl_divergence"], expected, atol=1e-5)
