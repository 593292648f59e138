"""Every engine under all checks of its kind; oracle: transformers' own forward."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from bitloss.datasets import load_corpus
from bitloss.engines.dense.plug import ENGINE as DENSE
from bitloss.engines.evaluate import evaluate, make_scorer
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.errors import UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.runner.store import RunStore
from bitloss.types import SilentProgress, Window
from engines import pair_checks, text_checks
from peers import logits_engine
from peers.random_models import MemoryCheckpoint, random_model
from peers.registering import register

__all__ = ["random_model"]

ARCHITECTURES = (
    "llama", "llama-tied", "qwen2", "gpt2", "gemma2", "mistral", "phi", "gpt_neox", "cohere",
)  # fmt: skip
ENGINES = (DENSE, logits_engine.ENGINE, logits_engine.BESIDE_DENSE)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(
        monkeypatch,
        "ENGINES",
        logits="peers.logits_engine:ENGINE",
        logits_beside_dense="peers.logits_engine:BESIDE_DENSE",
    )


def decode(ids):
    return " ".join(map(str, ids))


def pair_facts(random_model, architecture, engine):
    """A reference, a copy of it, two noisy variants and a broken one, all tiny."""
    model, checkpoint = random_model(architecture)
    torch.manual_seed(3)

    def changed(name, change):
        tensors = {key: change(key, value) for key, value in checkpoint.tensors.items()}
        return MemoryCheckpoint(name, dict(checkpoint.config), tensors)

    opened = {
        "a": changed("a", lambda key, value: value + 0.03 * torch.randn_like(value)),
        "b": changed("b", lambda key, value: value + 0.05 * torch.randn_like(value)),
        "broken": changed("broken", lambda key, value: torch.full_like(value, torch.nan)),
        checkpoint.info.name: checkpoint,
    }

    @cache
    def by_transformers(name):
        oracle = type(model)(model.config).eval()
        oracle.load_state_dict(opened[name].tensors, strict=False)
        oracle.tie_weights()
        return oracle

    def logits(name, ids):
        with torch.no_grad():
            found = by_transformers(name)(torch.from_numpy(ids[None]).long()).logits[0]
        return found.double().numpy()

    def candidate(name, engine_name):
        weights = opened[name]
        return Candidate(Model(name, identify(weights), weights), engine_name, "fp32")

    return pair_checks.Facts(
        vocabulary=101,
        reference=candidate(checkpoint.info.name, engine.reference_engine),
        copy=candidate(checkpoint.info.name, engine.name),
        variants=(candidate("a", engine.name), candidate("b", engine.name)),
        broken=candidate("broken", engine.name),
        logits=logits,
        tolerance=2e-5,
        floor=0.0 if engine.reference_engine == engine.name else 2e-6,
    )


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@pytest.mark.parametrize("check", pair_checks.PAIR_CHECKS, ids=lambda check: check.__name__)
def test_an_engine_scores(random_model, tmp_path, check, engine):
    check(engine, pair_facts(random_model, "llama", engine), tmp_path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_dense_engine_scores_every_architecture(random_model, tmp_path, architecture):
    facts = pair_facts(random_model, architecture, DENSE)
    for check in (
        pair_checks.check_records_are_what_the_logits_say,
        pair_checks.check_sharing_prefixes_changes_no_number,
        pair_checks.check_a_copy_of_the_reference_lost_nothing,
    ):
        check(DENSE, facts, tmp_path / check.__name__)


@pytest.mark.parametrize("check", text_checks.TEXT_CHECKS, ids=lambda check: check.__name__)
def test_the_dense_engine_writes(random_model, check):
    model, checkpoint = random_model("llama")

    def logits(ids):
        with torch.no_grad():
            return model(torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    candidate = Candidate(Model("m", identify(checkpoint), checkpoint))
    setup = TextSetup(checkpoint.config, decode, (1,), batch_tokens=64)
    assert DENSE.text_model is not None
    facts = text_checks.Facts(
        vocabulary=101, context=64, logits=logits, decode=decode, eos_ids=(1,)
    )
    check(DENSE.text_model(candidate, setup), facts)


def pocket_records(folder, pocket, engine, names=("kl_divergence", "nll", "entropy", "delta_p")):
    """What an engine finds on the bundled model and a coarse copy of it, and on an exact copy."""
    checkpoint = open_checkpoint(pocket)

    class Coarse:
        """Every weight rounded to 5 bits of mantissa."""

        config, info = checkpoint.config, replace(checkpoint.info, name="coarse", digest="coarse")
        names = staticmethod(checkpoint.names)
        shape = staticmethod(checkpoint.shape)

        @staticmethod
        def read(name, dtype=None):
            mantissa, exponent = torch.frexp(checkpoint.read(name).float())
            return torch.ldexp((mantissa * 32).round() / 32, exponent)

    text = load_corpus("pocket-prose", data=None).raw
    ids = load_tokenizer(pocket).encode(text[:4000], special=False)
    windows = [Window(ids[at : at + 96], 8) for at in range(0, 576, 96)]
    candidates = [
        Candidate(Model(name, identify(weights), weights), engine.name, "fp32")
        for name, weights in (("pocket", checkpoint), ("coarse", Coarse()))
    ]
    reference = replace(candidates[0], engine=engine.reference_engine)
    store = RunStore(folder)
    scorer = make_scorer(Setup(store, reference, SilentProgress()), engine.name)
    scores = evaluate(scorer, scorer.pieces(windows), candidates)
    return [store.read_records(scores.records_of(one), names) for one in candidates]


def test_the_general_scorer_finds_what_the_dense_engine_finds(tmp_path, pocket):
    """The pocket model on its own text: figures to 1e-5, and a copy at exactly 0."""
    _, dense = pocket_records(tmp_path / "dense", pocket, DENSE)
    assert dense["kl_divergence"].mean() > 1e-3
    for engine in ENGINES[1:]:
        copy, found = pocket_records(tmp_path / engine.name, pocket, engine)
        for name, values in found.items():
            # A figure is a mean over tokens; a single token's rounding is some times larger.
            means = [one.mean(dtype=np.float64) for one in (values, dense[name])]
            assert means[0] == pytest.approx(means[1], abs=1e-5), name
            np.testing.assert_allclose(values, dense[name], atol=1e-4, rtol=0, err_msg=name)
        if engine.reference_engine == engine.name:
            assert (copy["kl_divergence"] == 0).all()
        else:
            assert np.abs(copy["kl_divergence"]).mean() < 1e-6


def test_engines_share_a_store_but_no_record(tmp_path, random_model):
    names = {}
    for engine in ENGINES:
        facts = pair_facts(random_model, "llama", engine)
        before = set((tmp_path / "records").glob("*")) if (tmp_path / "records").exists() else set()
        setup = Setup(RunStore(tmp_path), facts.reference, SilentProgress(), batch_tokens=64)
        scorer = make_scorer(setup, engine.name)
        scores = evaluate(scorer, scorer.pieces(pair_checks.some_windows(facts)), facts.variants)
        names[engine.name] = {key for own in scores.variants.values() for key in own}
        assert not names[engine.name] & {path.stem for path in before}
    assert sum(map(len, names.values())) == len(set().union(*names.values()))


def test_an_engine_that_only_writes_cannot_score(tmp_path, random_model, monkeypatch):
    facts = pair_facts(random_model, "llama", logits_engine.ENGINE)
    mute = replace(logits_engine.ENGINE, logits=None)
    monkeypatch.setattr(logits_engine, "ENGINE", mute)
    setup = Setup(RunStore(tmp_path), facts.reference, SilentProgress())
    scorer = make_scorer(setup, "logits")
    windows = pair_checks.some_windows(facts)
    with pytest.raises(UnsupportedModel, match="gives no logits"):
        evaluate(scorer, scorer.pieces(windows), facts.variants)
