"""Oracle: the rules of `--dtype`, and float32 scores computed without them."""

from __future__ import annotations

import numpy as np
import pytest
from bitloss.runner.arithmetic import (
    exact_scorer,
    first_precision,
    measure_floor,
    needs_float32,
)
from bitloss.runner.looks import score_in_looks
from bitloss.runner.schedules import WholeText

from bitloss.engines.dense.scoring.keys import Candidate
from bitloss.engines.dense.scoring.scorer import Scorer
from bitloss.runner import RunStore, arithmetic
from bitloss.runner.corpora import PlannedCorpus
from bitloss.spec.run import RunSpec
from bitloss.types import ScoredCorpus, SilentProgress


@pytest.fixture
def planned(windows):
    facts = ScoredCorpus("text", "", "", "strided", {}, "tokens", (), 40, 40, 0, 0, 0, 0, None, ())
    return PlannedCorpus(facts, tuple(windows))


def spec_of(**options):
    return RunSpec(reference="r", batch_tokens=64, **options)


def test_a_named_arithmetic_is_used():
    assert first_precision(spec_of(dtype="mixed"), 10**9, 10**9) == "mixed"


def test_auto_takes_float32_for_what_is_small_or_not_faster(monkeypatch):
    monkeypatch.setattr(arithmetic, "has_fast_bf16", lambda device: True)
    assert first_precision(spec_of(), 10**6, 10**6) == "fp32"
    assert first_precision(spec_of(), 10**9, 10**6) == "bf16"
    monkeypatch.setattr(arithmetic, "has_fast_bf16", lambda device: False)
    assert first_precision(spec_of(), 10**9, 10**6) == "fp32"


def test_the_floor_is_the_references_own_rounding(tmp_path, models, planned):
    store = RunStore(tmp_path)
    floors = {
        precision: measure_floor(
            spec_of(), store, models["reference"], planned, precision, SilentProgress()
        )
        for precision in ("bf16", "fp32")
    }
    # bf16 keeps 8 bits of a number, float32 keeps 24: squared, some 2**32 between the floors.
    assert floors["bf16"]["kl_divergence"] > 1e-6
    assert floors["fp32"]["kl_divergence"] < 1e-3 * floors["bf16"]["kl_divergence"]
    assert floors["bf16"]["n_scored"] == sum(window.n_scored for window in planned.windows)


def scored(store, models, windows, name, precision):
    scorer = Scorer(
        store, Candidate(models["reference"], precision), batch_tokens=64, device="cpu",
        progress=SilentProgress(),
    )  # fmt: skip
    candidate = Candidate(models[name], precision)
    records = scorer.score(windows, [candidate]).variants[candidate.label]
    return records, store.read_records(records, ("kl_divergence",))["kl_divergence"]


def test_only_what_is_near_the_floor_is_scored_again(tmp_path, models, planned):
    store = RunStore(tmp_path)
    records, divergence = scored(store, models, planned.windows, "a", "bf16")
    mean = float(divergence.mean(dtype=np.float64))
    assert needs_float32(store, records, mean / 9)
    assert not needs_float32(store, records, mean / 11)


def test_rescoring_stops_when_the_interval_is_narrow_enough(tmp_path, models, planned, monkeypatch):
    store = RunStore(tmp_path)
    _, exact = scored(store, models, planned.windows, "a", "fp32")
    schedule = WholeText(store, planned)

    def rescore():
        scorer = exact_scorer(spec_of(), store, models["reference"], SilentProgress())
        looks, candidate = schedule.exact_looks(scorer), Candidate(models["a"], "fp32")
        found = score_in_looks(scorer, looks, [candidate], schedule.exact_enough)
        return found.variants[candidate.label]

    monkeypatch.setattr(arithmetic, "FIRST_WINDOWS", 5)
    monkeypatch.setattr(arithmetic, "HALF_WIDTH", 10.0)
    first = rescore()
    assert first.n_windows == 5
    monkeypatch.setattr(arithmetic, "HALF_WIDTH", 1e-9)
    whole = rescore()
    assert whole.n_windows == 40
    again = store.read_records(whole.records, ("kl_divergence",))["kl_divergence"]
    np.testing.assert_array_equal(again, exact)
    counts = sum(window.n_scored for window in planned.windows[:5])
    few = store.read_records(first.records, ("kl_divergence",))["kl_divergence"]
    np.testing.assert_allclose(few, exact[:counts], atol=1e-6)
