"""Oracle: a run that was never interrupted, and the engine called directly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.engines.dense.scoring.keys import Candidate
from bitloss.engines.dense.scoring.scorer import Scorer
from bitloss.engines.token_scores import score_positions
from bitloss.engines.values import scored_tokens
from bitloss.errors import NumericalError
from bitloss.runner import RunStore
from bitloss.runner import shards as shards_module
from bitloss.types import SilentProgress, Window


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 150)


def scorer(store, models, **options):
    return Scorer(
        store,
        Candidate(models["reference"], "fp32"),
        batch_tokens=64,
        device="cpu",
        progress=SilentProgress(),
        **options,
    )


@pytest.fixture
def questions():
    """Two preambles, 12 questions each, four options of one or more tokens; 130 targets or so."""
    rng = np.random.default_rng(2)

    def some(n):
        return rng.integers(2, 100, size=n).astype(np.int32)

    windows = []
    for document in range(24):
        if document % 12 == 0:
            preamble = some(30)
        question = np.concatenate([preamble, some(rng.integers(3, 12))])
        for size in (1, 1, 1, 1) if document % 3 else (1, 1, 3, 2):
            ids = np.concatenate([question, some(size)])
            windows.append(Window(ids, len(question), document))
    return windows


def candidates(models, *names):
    return [Candidate(models[name], "fp32") for name in names]


def contents(store):
    return {path.name: path.read_bytes() for path in sorted((store.root / "records").iterdir())}


def test_records_are_what_the_engine_gives(tmp_path, models, windows):
    store = RunStore(tmp_path)
    scores = scorer(store, models).score(windows, candidates(models, "a", "b"))

    def states(name):
        graph = ModelGraph(models[name].checkpoint.config, precision="fp32", device="cpu")
        graph.load(models[name].checkpoint)
        head = load_head(models[name].checkpoint, precision="fp32", device="cpu")
        return head, torch.cat(list(hidden_states(graph, windows, 64)))

    tokens = scored_tokens(windows)
    _, expected = score_positions(
        torch.from_numpy(tokens).long(), states("reference"), [states("a"), states("b")]
    )
    for label, wanted in zip(("a (fp32)", "b (fp32)"), expected, strict=True):
        records = store.read_token_records(scores.variants[label])
        np.testing.assert_allclose(records.kl_divergence, wanted.kl_divergence, atol=1e-6)
        np.testing.assert_allclose(records.nll, wanted.nll, atol=1e-5)
        counts = [window.n_scored for window in windows]
        assert records.window.tolist() == np.repeat(np.arange(40), counts).tolist()
    reference = store.read_records(scores.reference, ("token", "nll"))
    assert reference["token"].tolist() == tokens.tolist()


def test_the_reference_alone_is_scored_too(tmp_path, models, windows):
    store = RunStore(tmp_path)
    scores = scorer(store, models).score(windows, [])
    assert len(store.read_records(scores.reference, ("nll",))["nll"]) == len(scored_tokens(windows))


def test_only_the_references_states_are_kept(tmp_path, models, windows):
    store = RunStore(tmp_path)
    alone = RunStore(tmp_path / "alone")
    scorer(alone, models).score(windows, [])
    scorer(store, models).score(windows, candidates(models, "a", "b", "reference"))
    kept = sorted(path.name for path in (store.root / "states").iterdir())
    assert kept == sorted(path.name for path in (alone.root / "states").iterdir())
    assert len(kept) > 1


def test_rounds_and_groups_change_no_byte(tmp_path, models, windows):
    whole, split = RunStore(tmp_path / "whole"), RunStore(tmp_path / "split")
    scorer(whole, models).score(windows, candidates(models, "a", "b"))
    scorer(split, models, state_bytes=1).score(windows, candidates(models, "a", "b"))
    assert contents(whole) == contents(split)


@pytest.mark.parametrize("moment", range(0, 34, 3))
def test_killed_at_any_write_the_rerun_ends_with_the_same_bytes(
    tmp_path, models, windows, monkeypatch, moment
):
    whole, killed = RunStore(tmp_path / "whole"), RunStore(tmp_path / "killed")
    scorer(whole, models).score(windows, candidates(models, "a", "b"))
    writes = 0
    original = RunStore._write

    def stop_at_moment(self, path, writer):
        nonlocal writes
        writes += 1
        if writes > moment:
            raise KeyboardInterrupt
        original(self, path, writer)

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "_write", stop_at_moment)
        with pytest.raises(KeyboardInterrupt):
            scorer(killed, models).score(windows, candidates(models, "a", "b"))
    scorer(killed, models).score(windows, candidates(models, "a", "b"))
    assert contents(killed) == contents(whole)


def test_a_second_run_does_nothing_again(tmp_path, models, windows, monkeypatch):
    store = RunStore(tmp_path)
    first = scorer(store, models).score(windows, candidates(models, "a", "b"))
    monkeypatch.setattr(RunStore, "_write", lambda *args: pytest.fail("wrote again"))
    assert scorer(store, models).score(windows, candidates(models, "a", "b")) == first


def test_a_variant_with_nan_fails_alone(tmp_path, models, windows):
    scores = scorer(RunStore(tmp_path), models).score(windows, candidates(models, "nan", "a"))
    assert list(scores.variants) == ["a (fp32)"]
    assert "model.layers.1.mlp.up_proj" in scores.failed["nan (fp32)"].message


@pytest.mark.parametrize(
    ("name", "told"),
    [("head", "`lm_head.weight`"), ("overflow", "logits"), ("gap", "no `model.norm.weight`")],
)
def test_a_variant_at_fault_fails_alone(tmp_path, models, windows, name, told):
    alone, store = RunStore(tmp_path / "alone"), RunStore(tmp_path / "both")
    scorer(alone, models).score(windows, candidates(models, "a", "b"))
    scores = scorer(store, models).score(windows, candidates(models, "a", name, "b"))
    assert list(scores.variants) == ["a (fp32)", "b (fp32)"]
    message = scores.failed[f"{name} (fp32)"].message
    assert message.startswith(f"{name}: ")
    assert told in message
    assert contents(store) == contents(alone)
    states = sorted(path.name for path in (store.root / "states").iterdir())
    assert states == sorted(path.name for path in (alone.root / "states").iterdir())


def test_a_variant_without_the_texts_tokens_fails_alone(tmp_path, models, windows):
    small = models["a"].checkpoint
    highest = max(int(window.ids.max()) for window in windows)
    small.config["vocab_size"] = highest
    scores = scorer(RunStore(tmp_path), models).score(windows, candidates(models, "a"))
    assert f"the text has {highest}" in scores.failed["a (fp32)"].message
    small.config["vocab_size"] = highest + 1
    assert not scorer(RunStore(tmp_path), models).score(windows, candidates(models, "a")).failed


def test_a_reference_with_nan_fails_the_run(tmp_path, models, windows):
    with pytest.raises(NumericalError, match="up_proj"):
        scorer(RunStore(tmp_path), {"reference": models["nan"]}).score(windows, [])


# Shared prefixes ---------------------------------------------------------------------------


def test_sharing_prefixes_changes_no_number(tmp_path, models, questions):
    flat, shared = RunStore(tmp_path / "flat"), RunStore(tmp_path / "shared")
    group = [*candidates(models, "a", "b", "reference"), Candidate(models["a"], "fp32", alone=True)]
    plain = scorer(flat, models).score(questions, group)
    scores = scorer(shared, models, share_prefixes=True).score(questions, group)
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
    copy = shared.read_token_records(scores.variants["reference (fp32)"])
    assert (copy.kl_divergence == 0.0).all()


def test_shared_records_say_what_is_greedy(tmp_path, models, questions):
    # Oracle: the most likely tokens of full logits.
    store = RunStore(tmp_path)
    scores = scorer(store, models, share_prefixes=True).score(questions, candidates(models, "b"))
    for name, records in (("reference", scores.reference), ("b", scores.variants["b (fp32)"])):
        checkpoint = models[name].checkpoint
        graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
        graph.load(checkpoint)
        states = torch.cat(list(hidden_states(graph, questions, 64)))
        best = (states @ checkpoint.tensors["lm_head.weight"].T).argmax(1).numpy()
        found = store.read_records(records, ("greedy",))["greedy"]
        np.testing.assert_array_equal(found, best == scored_tokens(questions))


def test_states_are_kept_once_a_position(tmp_path, models, questions):
    store = RunStore(tmp_path)
    scorer(store, models, share_prefixes=True).score(questions, [])
    paths = (store.root / "states").iterdir()
    kept = sum(len(store.read_states(path.stem)) for path in paths)
    asked = {w.ids[: n + w.first].tobytes() for w in questions for n in range(w.n_scored)}
    assert kept == len(asked) < len(scored_tokens(questions))


@pytest.mark.parametrize("moment", range(0, 12, 3))
def test_killed_while_sharing_the_rerun_ends_with_the_same_bytes(
    tmp_path, models, questions, monkeypatch, moment
):
    whole, killed = RunStore(tmp_path / "whole"), RunStore(tmp_path / "killed")
    scorer(whole, models, share_prefixes=True).score(questions, candidates(models, "a", "b"))
    writes = 0
    original = RunStore._write

    def stop_at_moment(self, path, writer):
        nonlocal writes
        writes += 1
        if writes > moment:
            raise KeyboardInterrupt
        original(self, path, writer)

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "_write", stop_at_moment)
        with pytest.raises(KeyboardInterrupt):
            scorer(killed, models, share_prefixes=True).score(
                questions, candidates(models, "a", "b")
            )
    scorer(killed, models, share_prefixes=True).score(questions, candidates(models, "a", "b"))
    assert contents(killed) == contents(whole)


def test_sharing_has_records_of_its_own(tmp_path, models, questions):
    store = RunStore(tmp_path)
    window = questions[:1]  # nothing to share: the numbers are the same, the columns are not
    shared = scorer(store, models, share_prefixes=True).score(window, [])
    plain = scorer(store, models).score(window, [])
    assert shared.reference != plain.reference


def test_a_variant_with_nan_fails_alone_while_sharing(tmp_path, models, questions):
    scores = scorer(RunStore(tmp_path), models, share_prefixes=True).score(
        questions, candidates(models, "nan", "a")
    )
    assert list(scores.variants) == ["a (fp32)"]
    assert "model.layers.1.mlp.up_proj" in scores.failed["nan (fp32)"].message
