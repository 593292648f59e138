"""The dense engine with a simulated runtime, under the checks that every engine has to pass.

Oracles: the kit of `engines.pair_checks` and `engines.text_checks`; transformers' forward with keys
and values replaced by hand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.plug import ENGINE
from bitloss.engines.dense.prefix_tree.states import packs
from bitloss.engines.dense.scoring.keys import Keys
from bitloss.engines.dense.scoring.scorer import DenseScorer
from bitloss.engines.dense.scoring.shards import shards
from bitloss.engines.dense.simulation.cache_types import CacheTypes
from bitloss.engines.evaluate import evaluate, make_scorer
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.errors import UnsupportedModel
from bitloss.formats.base import identify
from bitloss.runner.store import RunStore
from bitloss.spec.serving import Serving
from bitloss.types import SilentProgress
from engines import pair_checks, text_checks
from peers.random_models import MemoryCheckpoint, random_model

__all__ = ["random_model"]

SERVINGS = (
    Serving("fp8", "int4-g8"),
    Serving("int8-g8", "f16", "fp8"),
    Serving(activations="int8-tensor"),
)
# A rounding error of 1e-6 may put a number that lies between two codes to the other one.
APART = 0.05


def pair_facts(random_model: Any, serving: Serving) -> pair_checks.Facts:
    """A reference, a copy that is run as computed, and two noisy variants that are not."""
    _, checkpoint = random_model("llama")
    torch.manual_seed(3)

    def candidate(name: str, noise: float, **options: Any) -> Candidate:
        tensors = {k: v + noise * torch.randn_like(v) for k, v in checkpoint.tensors.items()}
        weights = MemoryCheckpoint(name, dict(checkpoint.config), tensors)
        return Candidate(Model(name, identify(weights), weights), "dense", "fp32", **options)

    return pair_checks.Facts(
        vocabulary=101,
        reference=candidate("reference", 0.0),
        copy=candidate("reference", 0.0),
        variants=(candidate("a", 0.03, serving=serving), candidate("b", 0.05, serving=serving)),
        broken=candidate("broken", torch.nan, serving=serving),
        tolerance=APART,
    )


@pytest.mark.parametrize("serving", SERVINGS, ids=lambda serving: serving.label)
@pytest.mark.parametrize("check", pair_checks.PAIR_CHECKS, ids=lambda check: check.__name__)
def test_a_served_model_passes_every_check(random_model, tmp_path, check, serving):
    check(ENGINE, pair_facts(random_model, serving), tmp_path)


# Drawn texts of activations of few bits depend on their neighbors through rounding: not claimed.
@pytest.mark.parametrize("serving", SERVINGS[:1], ids=lambda serving: serving.label)
@pytest.mark.parametrize("check", text_checks.TEXT_CHECKS, ids=lambda check: check.__name__)
def test_a_served_model_writes(random_model, check, serving):
    _, checkpoint = random_model("llama")
    candidate = Candidate(Model("m", identify(checkpoint), checkpoint), serving=serving)
    setup = TextSetup(checkpoint.config, lambda ids: " ".join(map(str, ids)), (1,), batch_tokens=64)

    def logits(ids: Any) -> np.ndarray:
        (rows,) = ENGINE.logits(candidate, batch_tokens=64).logits(
            pair_checks.Window(np.append(ids, 0).astype(np.int32), 1)
        )
        return rows.double().numpy()

    facts = text_checks.Facts(
        vocabulary=101, context=64, logits=logits, decode=setup.decode, eos_ids=(1,)
    )
    check(ENGINE.text_model(candidate, setup), facts)


@pytest.mark.parametrize("serving", SERVINGS[1:], ids=lambda serving: serving.label)
def test_a_served_model_writes_its_likeliest_tokens(random_model, serving):
    test_a_served_model_writes(
        random_model, text_checks.check_greedy_texts_are_the_likeliest_tokens, serving
    )


def test_keys_and_values_are_replaced_where_transformers_attends(random_model):
    """The forward by transformers with its eager attention, given what is read back."""
    from transformers.models.llama import modeling_llama

    model, checkpoint = random_model("llama")
    serving = Serving("fp8", "int4-g8")
    types = CacheTypes.of(serving, in_pairs=True)
    model.config._attn_implementation = "eager"
    ids = torch.arange(3, 33)[None]
    original = modeling_llama.eager_attention_forward

    def replaced(module: Any, query: Any, key: Any, value: Any, *args: Any, **options: Any) -> Any:
        return original(module, query, *types.store(key, value), *args, **options)

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(modeling_llama, "eager_attention_forward", replaced)
        expected = model.model(ids).last_hidden_state
    graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
    graph.load(checkpoint, serving=serving)
    torch.testing.assert_close(graph.hidden(ids), expected, rtol=0, atol=1e-3)


def test_two_servings_never_share_records_or_states(random_model, tmp_path):
    """Every field, and every value of one, is in the names of states and records."""
    facts = pair_facts(random_model, Serving())
    one = facts.variants[0]
    servings = [
        Serving(), Serving("q8_0", "q8_0"), Serving("q8_0", "q4_0"), Serving("q4_0", "q8_0"),
        Serving("", "q8_0"), Serving("q8_0", ""), Serving("f16", "f16"), Serving("f32", "f32"),
        Serving(activations="int8"), Serving(activations="fp8"),
        Serving(activations="checkpoint"), Serving("q8_0", "q8_0", "int8"),
    ]  # fmt: skip
    candidates = [replace(one, serving=serving) for serving in servings]

    def identity(candidate: Candidate) -> dict[str, Any]:
        return ENGINE.identity(candidate, batch_tokens=64)

    keys = Keys(facts.reference, identity=identity)
    (shard, *_) = shards(pair_checks.some_windows(facts), 64)
    for name in (keys.states, keys.pair):
        names = [name(shard, candidate) for candidate in candidates]
        assert len(set(names)) == len(names)
    assert len({candidate.label for candidate in candidates}) == len(candidates)


def test_the_reference_is_never_simulated(random_model, tmp_path):
    """Beside a variant of the same files that is: its records are those of a run without."""
    facts = pair_facts(random_model, Serving())
    served = replace(facts.reference, serving=Serving("int4-g8", "int4-g8", "int8"))
    windows = pair_checks.some_windows(facts)

    def reference_records(candidates: list[Candidate], folder: Any) -> dict[str, Any]:
        setup = Setup(RunStore(folder), facts.reference, SilentProgress(), batch_tokens=64)
        scorer = make_scorer(setup, "dense")
        assert isinstance(scorer, DenseScorer)
        scores = evaluate(scorer, scorer.pieces(windows), candidates)
        if candidates:
            found = setup.store.read_records(scores.records_of(served), ("kl_divergence",))
            assert found["kl_divergence"].mean() > 1e-4
        return setup.store.read_records(scores.reference, ("nll", "entropy"))

    plain = reference_records([], tmp_path / "plain")
    beside = reference_records([served], tmp_path / "beside")
    for name, values in plain.items():
        assert np.array_equal(values, beside[name])


def test_the_next_model_is_as_computed(random_model):
    """A graph that is filled again stores nothing, and so it does after a refusal."""
    _, checkpoint = random_model("llama")
    graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
    ids = torch.arange(3, 33)[None]
    graph.load(checkpoint)
    plain = graph.hidden(ids)
    for serving in SERVINGS:
        graph.load(checkpoint, serving=serving)
        assert not torch.equal(graph.hidden(ids), plain)
        graph.load(checkpoint)
        assert torch.equal(graph.hidden(ids), plain)
    with pytest.raises(UnsupportedModel):
        graph.load(checkpoint, serving=Serving("f16", "q8_0", "int8"))
    assert not any(module._forward_pre_hooks for module in graph.body.modules())
    assert graph.body.config._attn_implementation == "sdpa"


def test_whether_a_model_packs_is_asked_of_it_as_computed(random_model):
    """The coarsest types do not keep prefixes from being shared, and a sequence's scale does."""
    _, checkpoint = random_model("llama")
    graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
    graph.load(checkpoint, serving=Serving("int2-g8", "int2-g8", "int4"))
    assert packs(graph)
    graph.load(checkpoint, serving=Serving(activations="int8-tensor"))
    assert not packs(graph)
    graph.load(checkpoint)
    assert packs(graph)


def test_what_the_engine_offers_is_what_a_serving_has():
    assert ENGINE.offers == Serving("q8_0", "q8_0", "int8").fields
