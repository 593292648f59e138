"""Oracles: the looks by hand, and intervals computed from the records themselves."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools

import numpy as np
import pytest

from bitloss.engines.dense.scoring import shards as shards_module
from bitloss.engines.dense.scoring.shards import forwards
from bitloss.engines.evaluate import evaluate
from bitloss.errors import StorageError
from bitloss.expectations import load_expectations
from bitloss.metrics import sequential as metric
from bitloss.metrics.intervals import Interval
from bitloss.results.manifest import MeasuredFloor
from bitloss.runner import RunStore, noise
from bitloss.runner.sequential import RandomText, Stopped, Stopping, WholeText, random_looks
from bitloss.types import Window
from peers.scoring import candidates, dense_scorer, facts_of, score


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shards of a few forwards, and looks at few of them."""
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 150)
    monkeypatch.setattr(metric, "FEWEST", 4)


def random_text(store, windows, stopping, **facts):
    return RandomText(store, facts_of(windows, **facts), forwards(windows, 64), stopping, 0)


def whole_text(store, windows, **facts):
    return WholeText(store, facts_of(windows, **facts), windows, 0)


# Looks -------------------------------------------------------------------------------------


def test_looks_grow_and_stay_in_the_texts_order(windows):
    pieces = forwards(windows, 64)
    looks = random_looks(pieces, 0)
    assert [len(look) for look in looks] == list(metric.look_sizes(len(pieces)))
    assert looks[-1] == pieces
    firsts = [[piece.first for piece in look] for look in looks]
    assert all(first == sorted(first) for first in firsts)
    assert all(set(a) < set(b) for a, b in itertools.pairwise(firsts))
    assert firsts[0] != [piece.first for piece in random_looks(pieces, 1)[0]]
    assert firsts[0] == [piece.first for piece in random_looks(pieces, 0)[0]]


def test_random_text_is_looked_at_in_its_smallest_pieces(tmp_path, models, windows):
    store = RunStore(tmp_path)
    schedule = random_text(store, windows, Stopping(None, 1.0))
    for arithmetic in ("fp32", "bf16"):
        scorer = dense_scorer(store, models, arithmetic)
        assert schedule.looks(scorer) == random_looks(scorer.smallest_pieces(windows, 1), 0)
        assert schedule.exact_looks(scorer) == schedule.looks(scorer)
    assert schedule.random_order.blocks == tuple(p.first for p in forwards(windows, 64))
    assert schedule.reported_stop_reason(Stopped(("r",), 4, "end")) == "end"


def test_a_whole_text_is_one_look(tmp_path, models, windows, monkeypatch):
    monkeypatch.setattr(noise, "FIRST_WINDOWS", 5)
    store = RunStore(tmp_path)
    scorer = dense_scorer(store, models)
    schedule = whole_text(store, windows)
    assert schedule.looks(scorer) == [scorer.pieces(windows)]
    assert schedule.random_order is None
    assert schedule.stop_reason(["no such record"]) is None
    assert schedule.reported_stop_reason(Stopped(("r",), 4, "precision")) is None
    looks = [[w.place for p in look for w in p.windows] for look in schedule.exact_looks(scorer)]
    assert [len(look) for look in looks] == [5, 10, 20, 40]
    # Drawn, the look before at the beginning of each: hashlib's order of the places.
    lots = {k: hashlib.sha256(f"0\n{'0' * 64}\n{k}".encode()).digest() for k in range(40)}
    assert all(look == sorted(lots, key=lots.__getitem__)[: len(look)] for look in looks)
    # What a limit has drawn is in its order already.
    limited = whole_text(store, windows, draw_seed=0).exact_looks(scorer)
    assert [w for p in limited[0] for w in p.windows] == list(windows[:5])


@pytest.mark.parametrize(("half_width", "reason"), [(10.0, "precision"), (1e-9, None)])
def test_a_whole_text_is_exact_where_its_divergence_is_settled(
    tmp_path, models, windows, monkeypatch, half_width, reason
):
    store = RunStore(tmp_path)
    (records,) = score(store, models, windows, "a").variants.values()
    monkeypatch.setattr(noise, "HALF_WIDTH", half_width)
    assert whole_text(store, windows).exact_stop_reason(records) == reason


# When it is enough -------------------------------------------------------------------------


COPY = {
    "relative_perplexity": Interval(1.0, 1.0, 1.0),
    "top1_agreement": Interval(1.0, 1.0, 1.0),
    "overlap": Interval(1.0, 1.0, 1.0),
    "kl_divergence": Interval(0.0, 0.0, 0.0),
}


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
    relative = Interval(low, low, high)
    assert (
        Stopping(expectations, precision).reason({**COPY, "relative_perplexity": relative})
        == reason
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "decided"),
        # 82% is marginal whatever the rest is.
        ({"top1_agreement": (0.81, 0.83)}, "decided"),
        # It may be usually or marginal, and that is the worst axis.
        ({"top1_agreement": (0.89, 0.91)}, None),
        # Marginal in any case: a divergence between yes and usually does not matter.
        ({"top1_agreement": (0.81, 0.83), "kl_divergence": (0.009, 0.011)}, "decided"),
        ({"overlap": (0.87, 0.89)}, None),
        ({"kl_divergence": (0.3, 0.4), "relative_perplexity": (1.0, 1.3)}, "decided"),
        ({"kl_divergence": (float("nan"), float("nan"))}, None),
    ],
)
def test_all_axes_have_to_be_decided(changes, reason):
    intervals = COPY | {axis: Interval(low, low, high) for axis, (low, high) in changes.items()}
    assert Stopping(load_expectations(), None).reason(intervals) == reason


def test_random_text_is_decided_by_its_sequence(tmp_path, models, windows):
    store = RunStore(tmp_path)
    wide = Stopping(load_expectations(), None)
    schedule = random_text(store, windows, wide)
    scorer = dense_scorer(store, models)
    look = schedule.looks(scorer)[0]
    scores = evaluate(scorer, look, candidates(models, "reference", "b"))
    copy, records = scores.variants.values()
    assert schedule.stop_reason(copy) == schedule.exact_stop_reason(copy) == "decided"
    columns = store.read_records(records, ("window", "reference_nll", "nll"))
    difference = columns["nll"].astype(np.float64) - columns["reference_nll"]
    sums = np.bincount(columns["window"], weights=difference, minlength=40)
    counts = np.bincount(columns["window"], minlength=40)
    seen = np.flatnonzero(counts)
    assert len(seen) == sum(len(piece.windows) for piece in look) < 40
    series = metric.Series(sums[seen] / counts[seen], counts[seen].astype(float), scale="exp")
    blocks = [piece.first for piece in forwards(windows, 64)]
    interval = metric.sequential({"x": series}, seen, blocks)["x"]
    listening = _Listening(load_expectations())
    dataclasses.replace(schedule, stopping=listening).stop_reason(records)
    (every,) = listening.seen
    assert set(every) == set(COPY)
    assert every["relative_perplexity"] == interval
    values = store.read_records(records, ("kl_divergence", "same_top1", "overlap"))
    for axis, column in (
        ("kl_divergence", "kl_divergence"), ("top1_agreement", "same_top1"), ("overlap", "overlap"),
    ):  # fmt: skip
        mean = values[column].mean(dtype=np.float64)
        assert every[axis].value == pytest.approx(mean, rel=1e-9)
    assert schedule.stop_reason(records) == wide.reason(every)
    half = (interval.high - interval.low) / 2
    for precision, reason in ((half * 1.01, "precision"), (half * 0.99, None)):
        stopping = Stopping(None, precision)
        assert dataclasses.replace(schedule, stopping=stopping).stop_reason(records) == reason


def test_weights_of_the_protocol_are_those_of_the_decision(tmp_path, models, windows):
    store = RunStore(tmp_path)
    scorer = dense_scorer(store, models)
    pieces = forwards(windows, 64)
    (records,) = evaluate(scorer, pieces, candidates(models, "b")).variants.values()
    values = {}
    for averaging in ("tokens", "windows"):
        schedule = random_text(store, windows, listening := _Listening(), averaging=averaging)
        schedule.stop_reason(records)
        values[averaging] = listening.seen[0]["relative_perplexity"].value
    columns = store.read_records(records, ("window", "reference_nll", "nll"))
    difference = columns["nll"].astype(np.float64) - columns["reference_nll"]
    means = np.bincount(columns["window"], weights=difference) / np.bincount(columns["window"])
    assert values["tokens"] == pytest.approx(np.exp(difference.mean()), rel=1e-6)
    assert values["windows"] == pytest.approx(np.exp(means.mean()), rel=1e-6)
    assert values["tokens"] != values["windows"]


class _Listening:
    """A `Stopping` that never has enough."""

    def __init__(self, expectations=None):
        self.expectations = expectations
        self.seen = []

    def reason(self, intervals):
        self.seen.append(intervals)


@pytest.mark.parametrize(
    ("floor", "overlap", "precision", "needed"),
    [
        (0.0005, 0.999, None, False),  # near it, and `yes` whatever it does
        (0.0005, 0.980, None, True),  # 0.985 may be 0.965, which is `usually`
        (0.0003, 0.980, None, False),  # far from it
        (0.0005, 0.980, 0.5, True),  # precise enough is not decided
        (None, None, None, True),
    ],
)
def test_what_is_decided_whatever_the_floor_may_be(tmp_path, floor, overlap, precision, needed):
    """Oracle: levels of 0.97 (overlap) and 0.01 nats, ten floors being near."""
    store = RunStore(tmp_path)
    windows = [Window(np.arange(21, dtype=np.int32), 1, place=place) for place in range(64)]
    rng = np.random.default_rng(0)

    def write(name, kl_divergence, overlap):
        noise = rng.normal(size=64 * 20)
        store.write_records(name, {
            "window": np.repeat(np.arange(64), 20), "reference_nll": np.ones(1280),
            "nll": 1 + 1e-3 * noise, "same_top1": noise < 2.4, "overlap": overlap + 1e-3 * noise,
            "kl_divergence": kl_divergence + 1e-4 * noise,
        })  # fmt: skip
        return (name,)

    records = write("variant", 0.004, 0.985)
    if floor is not None:
        floor = MeasuredFloor(
            dtype="bf16", kl_divergence=floor, n_scored=1280, records=write("floor", floor, overlap)
        )
    schedule = random_text(store, windows, Stopping(load_expectations(), precision))
    assert schedule.stop_reason(records) == "decided"
    assert schedule.needs_exact(records, floor) is needed
    without = dataclasses.replace(schedule, stopping=Stopping(None, 0.5))
    near = floor is None or floor.kl_divergence == 0.0005
    assert without.needs_exact(records, floor) is near
    assert whole_text(store, windows).needs_exact(records, floor) is near


def test_a_damaged_record_is_no_decision(tmp_path, models, windows):
    store = RunStore(tmp_path)
    (records,) = score(store, models, windows, "b").variants.values()
    (store.root / "records" / f"{records[0]}.parquet").write_bytes(b"PAR1")
    schedule = random_text(store, windows, Stopping(load_expectations(), None))
    for reason in (schedule.stop_reason, whole_text(store, windows).exact_stop_reason):
        with pytest.raises(StorageError, match="damaged"):
            reason(records)
