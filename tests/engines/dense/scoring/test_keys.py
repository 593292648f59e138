"""Whatever decides the bytes of states or records is in their names; the cases are the oracle."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from bitloss.engines.dense.plug import ENGINE
from bitloss.engines.dense.scoring.keys import Keys
from bitloss.engines.dense.scoring.shards import Shard
from bitloss.engines.values import Candidate
from peers.random_models import opened

SHARD = Shard(first=0, windows=(), digest="windows", tokens=0, states=0)


def keys_of(reference):
    return Keys(reference, identity=partial(ENGINE.identity, batch_tokens=64))


def with_config(candidate, **values):
    model = candidate.model
    identity = replace(model.identity, config={**model.identity.config, **values})
    return replace(candidate, model=replace(model, identity=identity))


@pytest.fixture
def pair(random_model):
    reference, variant = (Candidate(opened(random_model(seed=n)[1])) for n in (0, 1))
    return reference, with_config(variant, quantized=True)


@pytest.mark.parametrize("change", [{"rms_norm_eps": 1e-3}, {"hidden_act": "gelu"}])
def test_another_config_is_another_computation(pair, change):
    reference, variant = pair
    before, after = keys_of(reference), keys_of(with_config(reference, **change))
    changed = with_config(reference, **change)
    assert before.states(SHARD, reference) != after.states(SHARD, changed)
    # The variant's own files are the same, and its weights run in the reference's graph.
    assert before.states(SHARD, variant) != after.states(SHARD, variant)
    assert before.pair(SHARD, variant) != after.pair(SHARD, variant)
    other = keys_of(reference).pair(SHARD, with_config(variant, **change))  # names are kept
    assert before.pair(SHARD, variant) != other
