"""Oracle: a run that was never interrupted, and the engine called directly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring import heads as heads_module
from bitloss.engines.dense.scoring import shards as shards_module
from bitloss.engines.dense.scoring.head import load_head
from bitloss.engines.dense.scoring.heads import StateLogits
from bitloss.engines.dense.scoring.shards import forwards
from bitloss.engines.evaluate import evaluate
from bitloss.engines.token_scores import score_positions
from bitloss.engines.values import Candidate, scored_tokens
from bitloss.errors import BitlossError, NumericalError
from bitloss.runner import RunStore
from bitloss.types import Window
from peers.scoring import (
    candidates,
    contents,
    dense_scorer,
    killed_at_write,
    question_windows,
    score,
)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 150)


@pytest.fixture
def questions():
    """Two preambles, 12 questions each, four options of one or more tokens; 130 targets or so."""
    return question_windows(24)


def test_records_are_what_the_engine_gives(tmp_path, models, windows):
    store = RunStore(tmp_path)
    scores = score(store, models, windows, "a", "b")

    def states(name):
        graph = ModelGraph(models[name].weights.config, precision="fp32", device="cpu")
        graph.load(models[name].weights)
        head = load_head(models[name].weights, precision="fp32", device="cpu")
        return StateLogits(head, torch.cat(list(hidden_states(graph, windows, 64))))

    tokens = scored_tokens(windows)
    _, expected = score_positions(
        torch.from_numpy(tokens).long(), states("reference"), [states("a"), states("b")]
    )
    for label, wanted in zip(("a (dense fp32)", "b (dense fp32)"), expected, strict=True):
        records = store.read_token_records(scores.variants[label])
        np.testing.assert_allclose(records.kl_divergence, wanted.kl_divergence, atol=1e-6)
        np.testing.assert_allclose(records.nll, wanted.nll, atol=1e-5)
        counts = [window.n_scored for window in windows]
        assert records.window.tolist() == np.repeat(np.arange(40), counts).tolist()
    reference = store.read_records(scores.reference, ("token", "nll"))
    assert reference["token"].tolist() == tokens.tolist()


def test_a_short_text_is_drawn_in_smaller_forwards(tmp_path, models, windows):
    """40 windows of 20 tokens and more, two in a forward: as many pieces as are enough."""
    scorer = dense_scorer(RunStore(tmp_path), models)
    pieces = {enough: scorer.smallest_pieces(windows, enough) for enough in (1, 25, 400)}
    assert pieces[1] == forwards(windows, scorer.setup.batch_tokens)
    assert len(pieces[1]) == 20
    assert len(pieces[25]) >= 25
    assert len(pieces[400]) == 40
    for own in pieces.values():
        assert [window for piece in own for window in piece.windows] == windows


def test_the_reference_alone_is_scored_too(tmp_path, models, windows):
    store = RunStore(tmp_path)
    scores = score(store, models, windows)
    assert len(store.read_records(scores.reference, ("nll",))["nll"]) == len(scored_tokens(windows))


def test_only_the_references_states_are_kept(tmp_path, models, windows):
    store = RunStore(tmp_path)
    alone = RunStore(tmp_path / "alone")
    score(alone, models, windows)
    score(store, models, windows, "a", "b", "reference")
    kept = sorted(path.name for path in (store.root / "states").iterdir())
    assert kept == sorted(path.name for path in (alone.root / "states").iterdir())
    assert len(kept) > 1


def test_rounds_and_groups_change_no_byte(tmp_path, models, windows):
    whole, split = RunStore(tmp_path / "whole"), RunStore(tmp_path / "split")
    score(whole, models, windows, "a", "b")
    score(split, models, windows, "a", "b", state_bytes=1)
    assert contents(whole.root / "records") == contents(split.root / "records")


@pytest.mark.parametrize("moment", range(0, 34, 3))
def test_killed_at_any_write_the_rerun_ends_with_the_same_bytes(tmp_path, models, windows, moment):
    whole, killed = RunStore(tmp_path / "whole"), RunStore(tmp_path / "killed")
    score(whole, models, windows, "a", "b")
    with killed_at_write(moment):
        score(killed, models, windows, "a", "b")
    score(killed, models, windows, "a", "b")
    assert contents(killed.root / "records") == contents(whole.root / "records")


def test_a_second_run_does_nothing_again(tmp_path, models, windows, monkeypatch):
    store = RunStore(tmp_path)
    first = score(store, models, windows, "a", "b")
    monkeypatch.setattr(RunStore, "_write", lambda *args: pytest.fail("wrote again"))
    assert score(store, models, windows, "a", "b") == first


def test_a_variant_with_nan_fails_alone(tmp_path, models, windows):
    scores = score(RunStore(tmp_path), models, windows, "nan", "a")
    assert list(scores.variants) == ["a (dense fp32)"]
    assert "model.layers.1.mlp.up_proj" in scores.failed["nan (dense fp32)"].message


@pytest.mark.parametrize(
    ("name", "told"),
    [("head", "`lm_head.weight`"), ("overflow", "logits"), ("gap", "no `model.norm.weight`")],
)
def test_a_variant_at_fault_fails_alone(tmp_path, models, windows, name, told):
    alone, store = RunStore(tmp_path / "alone"), RunStore(tmp_path / "both")
    score(alone, models, windows, "a", "b")
    scores = score(store, models, windows, "a", name, "b")
    assert list(scores.variants) == ["a (dense fp32)", "b (dense fp32)"]
    message = scores.failed[f"{name} (dense fp32)"].message
    assert message.startswith(f"{name}: ")
    assert told in message
    assert contents(store.root / "records") == contents(alone.root / "records")
    states = sorted(path.name for path in (store.root / "states").iterdir())
    assert states == sorted(path.name for path in (alone.root / "states").iterdir())


def test_models_that_read_by_themselves_give_the_same_bytes(tmp_path, models, windows):
    """Every model by a scorer of its own, the reference last, as machines of their own would."""
    together, apart = RunStore(tmp_path / "together"), RunStore(tmp_path / "apart")
    score(together, models, windows, "a", "b")
    group = candidates(models, "a", "b")
    for candidate in (*reversed(group), None):
        scorer = dense_scorer(apart, models)
        scorer.prepare(scorer.pieces(windows), candidate or scorer.reference, group)
    scorer = dense_scorer(apart, models)
    scores = scorer.score(scorer.pieces(windows), group)
    assert contents(apart.root) == contents(together.root)
    assert list(scores.variants) == ["a (dense fp32)", "b (dense fp32)"]


def test_a_variant_that_fails_half_way_leaves_no_states(tmp_path, models, windows):
    """Oracle: the files of a run without it."""
    alone, store = RunStore(tmp_path / "alone"), RunStore(tmp_path / "both")
    windows = [*windows, Window(np.full(9, 100, np.int32), 1)]  # no other has this token
    models["nan"].weights.tensors = {
        name: tensor.clone() for name, tensor in models["a"].weights.tensors.items()
    }
    models["nan"].weights.tensors["model.embed_tokens.weight"][100] = torch.nan
    score(alone, models, windows, "a")
    scores = score(store, models, windows, "a", "nan")
    assert list(scores.failed) == ["nan (dense fp32)"]
    assert contents(store.root) == contents(alone.root)


def test_a_variant_without_the_texts_tokens_fails_alone(tmp_path, models, windows):
    small = models["a"].weights
    highest = max(int(window.ids.max()) for window in windows)
    whole = dict(small.tensors)

    def cut(rows):
        small.config["vocab_size"] = rows
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            small.tensors[name] = whole[name][:rows]

    cut(highest)
    scores = score(RunStore(tmp_path), models, windows, "a")
    assert f"the text has {highest}" in scores.failed["a (dense fp32)"].message
    cut(highest + 1)
    assert not score(RunStore(tmp_path), models, windows, "a").failed


def test_a_reference_with_nan_fails_the_run(tmp_path, models, windows):
    with pytest.raises(NumericalError, match="up_proj"):
        score(RunStore(tmp_path), {"reference": models["nan"]}, windows)


# Shared prefixes ---------------------------------------------------------------------------


def test_sharing_prefixes_changes_no_number(tmp_path, models, questions):
    flat, shared = RunStore(tmp_path / "flat"), RunStore(tmp_path / "shared")
    group = [*candidates(models, "a", "b", "reference"), Candidate(models["a"], alone=True)]
    scorers = dense_scorer(flat, models), dense_scorer(shared, models, share_prefixes=True)
    plain, scores = (evaluate(one, one.pieces(questions), group) for one in scorers)
    assert len(scores.reference) < len(plain.reference)  # its shards are of unique tokens
    for candidate in group:
        records = shared.read_token_records(scores.records_of(candidate))
        expected = flat.read_token_records(plain.records_of(candidate))
        for name in records.__slots__:
            found, wanted = getattr(records, name), getattr(expected, name)
            np.testing.assert_allclose(found, wanted, atol=1e-5)
    reference = shared.read_records(scores.reference, ("window", "token", "nll", "entropy"))
    wanted = flat.read_records(plain.reference, ("window", "token", "nll", "entropy"))
    for name, values in reference.items():
        np.testing.assert_allclose(values, wanted[name], atol=1e-5)
    copy = shared.read_token_records(scores.variants["reference (dense fp32)"])
    assert (copy.kl_divergence == 0.0).all()


def test_shared_records_say_what_is_greedy(tmp_path, models, questions):
    # Oracle: the most likely tokens of full logits.
    store = RunStore(tmp_path)
    scores = score(store, models, questions, "b", share_prefixes=True)
    for name, records in (
        ("reference", scores.reference),
        ("b", scores.variants["b (dense fp32)"]),
    ):
        checkpoint = models[name].weights
        graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
        graph.load(checkpoint)
        states = torch.cat(list(hidden_states(graph, questions, 64)))
        best = (states @ checkpoint.tensors["lm_head.weight"].T).argmax(1).numpy()
        found = store.read_records(records, ("greedy",))["greedy"]
        np.testing.assert_array_equal(found, best == scored_tokens(questions))


def test_states_are_kept_once_a_position(tmp_path, models, questions):
    store = RunStore(tmp_path)
    score(store, models, questions, share_prefixes=True)
    paths = (store.root / "states").iterdir()
    kept = sum(len(store.read_states(path.stem)) for path in paths)
    asked = {w.ids[: n + w.first].tobytes() for w in questions for n in range(w.n_scored)}
    assert kept == len(asked) < len(scored_tokens(questions))


@pytest.mark.parametrize("moment", range(0, 12, 3))
def test_killed_while_sharing_the_rerun_ends_with_the_same_bytes(
    tmp_path, models, questions, moment
):
    whole, killed = RunStore(tmp_path / "whole"), RunStore(tmp_path / "killed")
    score(whole, models, questions, "a", "b", share_prefixes=True)
    with killed_at_write(moment):
        score(killed, models, questions, "a", "b", share_prefixes=True)
    score(killed, models, questions, "a", "b", share_prefixes=True)
    assert contents(killed.root / "records") == contents(whole.root / "records")


def test_sharing_has_records_of_its_own(tmp_path, models, questions):
    store = RunStore(tmp_path)
    window = questions[:1]  # nothing to share: the numbers are the same, the columns are not
    shared = score(store, models, window, share_prefixes=True)
    plain = score(store, models, window)
    assert shared.reference != plain.reference


def test_a_variant_with_nan_fails_alone_while_sharing(tmp_path, models, questions):
    scores = score(RunStore(tmp_path), models, questions, "nan", "a", share_prefixes=True)
    assert list(scores.variants) == ["a (dense fp32)"]
    assert "model.layers.1.mlp.up_proj" in scores.failed["nan (dense fp32)"].message


def test_a_device_that_is_full_compares_one_variant_at_a_time(
    tmp_path, monkeypatch, models, windows
):
    score(RunStore(tmp_path / "one"), models, windows, "a", "b")
    expected = contents(tmp_path / "one")
    whole = heads_module.score_positions

    def narrow(targets, reference, variants, rows=None, **options):
        if len(variants) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(targets, reference, variants, rows, **options)

    monkeypatch.setattr(heads_module, "score_positions", narrow)
    score(RunStore(tmp_path / "two"), models, windows, "a", "b")
    assert contents(tmp_path / "two") == expected

    def full(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(heads_module, "score_positions", full)
    with pytest.raises(BitlossError, match="not enough memory on cpu"):
        score(RunStore(tmp_path / "three"), models, windows, "a")


def test_a_variant_for_which_a_device_is_too_small_fails_alone(
    tmp_path, monkeypatch, models, windows
):
    load = ModelGraph.load

    def narrow(self, checkpoint, *arguments, **options):
        if checkpoint.info.name == models["a"].name:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return load(self, checkpoint, *arguments, **options)

    monkeypatch.setattr(ModelGraph, "load", narrow)
    scores = score(RunStore(tmp_path), models, windows, "a", "b")
    ((label, error),) = scores.failed.items()
    assert label.startswith("a (")
    assert "not enough memory" in error.message
    assert [name[0] for name in scores.variants] == ["b"]
