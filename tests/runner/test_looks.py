"""Oracle: the same windows scored all at once, and a run that was never interrupted."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from bitloss.runner.looks import Stopping, score_in_looks
from bitloss.runner.schedules import DrawnText, WholeText, drawn_looks

from bitloss.engines.dense.scoring.keys import Candidate
from bitloss.engines.dense.scoring.scorer import Scorer
from bitloss.engines.dense.scoring.shards import forwards, shards
from bitloss.errors import StorageError
from bitloss.expectations import load_expectations
from bitloss.metrics import sequential as metric
from bitloss.metrics.intervals import Interval
from bitloss.runner import RunStore
from bitloss.runner import shards as shards_module
from bitloss.types import ScoredCorpus, SilentProgress

COLUMNS = ("window", "reference_nll", "nll", "kl_divergence", "same_top1")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shards of a few forwards, and looks at few of them."""
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 150)
    monkeypatch.setattr(metric, "FEWEST", 4)


def scorer(store, models, precision="fp32"):
    return Scorer(
        store, Candidate(models["reference"], precision), batch_tokens=64, device="cpu",
        progress=SilentProgress(),
    )  # fmt: skip


def candidates(models, *names):
    return [Candidate(models[name], "fp32") for name in names]


def contents(store):
    return {path.name: path.read_bytes() for path in sorted(store.root.rglob("*.*"))}


def never(records):
    del records


def after(**counts):
    """Enough of a variant after so many records; the first that is asked about is the first."""
    known = {}

    def enough(records):
        name = next((name for name, own in known.items() if own & set(records)), None)
        name = name or list(counts)[len(known)]
        known[name] = set(records)
        return "decided" if len(records) >= counts[name] else None

    return enough


def facts(windows, **changes):
    n = sum(window.n_scored for window in windows)
    values = ScoredCorpus(
        name="text", digest="0" * 64, source="", protocol="strided", parameters={},
        averaging="tokens", valid=(), n_windows=len(windows), n_windows_total=len(windows),
        n_scored=n, n_total=n, n_tokens=n, n_bytes=n, n_words=None, notes=(),
    )  # fmt: skip
    return dataclasses.replace(values, **changes)


# Forwards and their order ------------------------------------------------------------------


def test_forwards_are_those_of_the_shards(windows):
    parts = forwards(windows, 64)
    assert [w for part in parts for w in part.windows] == windows
    assert [part.first for part in parts] == np.cumsum(
        [0, *(len(part.windows) for part in parts[:-1])]
    ).tolist()
    whole = [
        part.digest
        for piece in shards(windows, 64)
        for part in forwards(piece.windows, 64, first=piece.first)
    ]
    assert whole == [part.digest for part in parts]


def test_looks_grow_and_stay_in_the_texts_order(windows):
    pieces = forwards(windows, 64)
    looks = drawn_looks(pieces, 0)
    assert [len(look) for look in looks] == list(metric.look_sizes(len(pieces)))
    assert looks[-1] == pieces
    firsts = [[piece.first for piece in look] for look in looks]
    assert all(first == sorted(first) for first in firsts)
    assert all(set(a) < set(b) for a, b in itertools.pairwise(firsts))
    assert firsts[0] != [piece.first for piece in drawn_looks(pieces, 1)[0]]
    assert firsts[0] == [piece.first for piece in drawn_looks(pieces, 0)[0]]


# Scoring -----------------------------------------------------------------------------------


def test_each_variant_stops_by_itself_and_has_the_whole_runs_numbers(tmp_path, models, windows):
    whole, store = RunStore(tmp_path / "whole"), RunStore(tmp_path / "looks")
    everything = scorer(whole, models).score(windows, candidates(models, "a", "b"))
    looks = drawn_looks(forwards(windows, 64), 0)
    found = score_in_looks(
        scorer(store, models), looks, candidates(models, "a", "b"), after(a=4, b=9)
    )
    stopped = [found.variants[label] for label in ("a (fp32)", "b (fp32)")]
    assert [(len(one.records), one.reason) for one in stopped] == [(4, "decided"), (9, "decided")]
    assert len(found.reference) == 9
    for label, one in found.variants.items():
        records = store.read_records(one.records, COLUMNS)
        expected = whole.read_records(everything.variants[label], COLUMNS)
        seen = np.unique(records["window"])
        assert len(seen) == one.n_windows < 40
        chosen = np.isin(expected["window"], seen)
        for name in COLUMNS:
            np.testing.assert_allclose(records[name], expected[name][chosen], atol=1e-6)


def test_the_end_is_told_from_a_decision(tmp_path, models, windows):
    looks = drawn_looks(forwards(windows, 64), 0)
    found = score_in_looks(
        scorer(RunStore(tmp_path), models), looks, candidates(models, "a"), never
    )
    assert found.variants["a (fp32)"].reason == "end"
    assert found.variants["a (fp32)"].n_windows == 40


def test_a_variant_at_fault_fails_alone(tmp_path, models, windows):
    looks = drawn_looks(forwards(windows, 64), 0)
    found = score_in_looks(
        scorer(RunStore(tmp_path), models), looks, candidates(models, "nan", "a"), after(a=9)
    )
    assert list(found.failed) == ["nan (fp32)"]
    assert len(found.variants["a (fp32)"].records) == 9


@pytest.mark.parametrize("moment", range(0, 44, 9))
def test_killed_at_any_write_the_rerun_ends_with_the_same_bytes(
    tmp_path, models, windows, monkeypatch, moment
):
    def run(store):
        looks = drawn_looks(forwards(windows, 64), 0)
        group = candidates(models, "a", "b")
        return score_in_looks(scorer(store, models), looks, group, after(a=4, b=9))

    whole, killed = RunStore(tmp_path / "whole"), RunStore(tmp_path / "killed")
    expected = run(whole)
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
            run(killed)
    assert run(killed) == expected
    assert contents(killed) == contents(whole)


def test_a_whole_run_goes_on_from_what_was_drawn(tmp_path, models, windows, monkeypatch):
    whole, store = RunStore(tmp_path / "whole"), RunStore(tmp_path / "after")
    expected = scorer(whole, models).score(windows, candidates(models, "a"))
    looks = drawn_looks(forwards(windows, 64), 0)
    drawn = score_in_looks(scorer(store, models), looks, candidates(models, "a"), after(a=4))
    before = set(contents(store))
    written = []
    original = RunStore.write_states
    monkeypatch.setattr(
        RunStore, "write_states", lambda *args: (written.append(args[1]), original(*args))
    )
    scores = scorer(store, models).score(windows, candidates(models, "a"))
    assert not before & {f"{name}.safetensors" for name in written}
    assert set(drawn.variants["a (fp32)"].records) < set(scores.variants["a (fp32)"])
    for name in COLUMNS:
        np.testing.assert_allclose(
            store.read_records(scores.variants["a (fp32)"], COLUMNS)[name],
            whole.read_records(expected.variants["a (fp32)"], COLUMNS)[name],
            atol=1e-6,
        )
    # Untouched pieces stay whole, and once more changes nothing.
    assert len(scores.reference) < len(forwards(windows, 64))
    state = contents(store)
    assert scorer(store, models).score(windows, candidates(models, "a")) == scores
    assert contents(store) == state


# When it is enough -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "decide", "precision", "reason"),
    [
        (1.00, 1.05, True, None, "decided"),  # limits belong to the better level
        (1.04, 1.06, True, None, None),
        (1.21, 9.00, True, None, "decided"),
        (1.04, 1.06, True, 0.011, "precision"),
        (1.04, 1.06, False, 0.009, None),
        (1.00, 1.01, False, 0.006, "precision"),
        (1.00, 1.01, False, None, None),
        (float("nan"), float("nan"), True, 1.0, None),
        (1.21, float("inf"), True, 1.0, "decided"),
        (1.00, float("inf"), True, 1.0, None),
    ],
)
def test_reasons_by_hand(low, high, decide, precision, reason):
    expectations = load_expectations() if decide else None
    assert Stopping(expectations, precision).reason(Interval(low, low, high)) == reason


def test_drawn_text_is_decided_by_its_sequence(tmp_path, models, windows):
    store = RunStore(tmp_path)
    pieces = forwards(windows, 64)
    wide = Stopping(load_expectations(), None)
    schedule = DrawnText(store, facts(windows), pieces, wide, 0)
    scoring = scorer(store, models)
    found = score_in_looks(
        scoring, schedule.looks(scoring), candidates(models, "reference", "b"), schedule.enough
    )
    copy = found.variants["reference (fp32)"]
    assert (copy.reason, len(copy.records)) == ("decided", 4)
    records = found.variants["b (fp32)"].records
    columns = store.read_records(records, ("window", "reference_nll", "nll"))
    difference = columns["nll"].astype(np.float64) - columns["reference_nll"]
    sums = np.bincount(columns["window"], weights=difference, minlength=40)
    counts = np.bincount(columns["window"], minlength=40)
    seen = np.flatnonzero(counts)
    series = metric.Series(sums[seen] / counts[seen], counts[seen].astype(float), scale="exp")
    blocks = [piece.first for piece in pieces]
    interval = metric.sequential({"x": series}, seen, blocks)["x"]
    assert schedule.enough(records) == wide.reason(interval)
    half = (interval.high - interval.low) / 2
    for precision, reason in ((half * 1.01, "precision"), (half * 0.99, None)):
        stopping = Stopping(None, precision)
        assert dataclasses.replace(schedule, stopping=stopping).enough(records) == reason


def test_weights_of_the_protocol_are_those_of_the_decision(tmp_path, models, windows):
    store = RunStore(tmp_path)
    pieces = forwards(windows, 64)
    scores = scorer(store, models).score_shards(pieces, candidates(models, "b"))
    records = scores.variants["b (fp32)"]
    found = {}
    for averaging in ("tokens", "windows"):
        schedule = DrawnText(
            store, facts(windows, averaging=averaging), pieces, Stopping(None, 1.0), 0
        )
        seen = []
        stopping = dataclasses.replace(schedule, stopping=_Listening(seen))
        stopping.enough(records)
        found[averaging] = seen[0].value
    columns = store.read_records(records, ("window", "reference_nll", "nll"))
    difference = columns["nll"].astype(np.float64) - columns["reference_nll"]
    means = np.bincount(columns["window"], weights=difference) / np.bincount(columns["window"])
    assert found["tokens"] == pytest.approx(np.exp(difference.mean()), rel=1e-6)
    assert found["windows"] == pytest.approx(np.exp(means.mean()), rel=1e-6)
    assert found["tokens"] != found["windows"]


class _Listening:
    def __init__(self, seen):
        self.seen = seen

    def reason(self, interval):
        self.seen.append(interval)


def test_a_damaged_record_ends_the_run(tmp_path, models, windows):
    store = RunStore(tmp_path)
    schedule = DrawnText(
        store, facts(windows), forwards(windows, 64), Stopping(load_expectations(), None), 0
    )
    scoring = scorer(store, models)
    looks = schedule.looks(scoring)
    found = score_in_looks(scoring, looks, candidates(models, "b"), never)
    path = store.root / "records" / f"{found.variants['b (fp32)'].records[0]}.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(StorageError, match="damaged"):
        score_in_looks(scoring, looks, candidates(models, "b"), schedule.enough)


def test_whole_text_is_one_look(tmp_path, models, windows):
    from bitloss.runner.corpora import PlannedCorpus

    store = RunStore(tmp_path)
    scoring = scorer(store, models)
    schedule = WholeText(store, PlannedCorpus(facts(windows), tuple(windows)))
    assert schedule.looks(scoring) == [scoring.shards(windows)]
    assert schedule.described() is None
