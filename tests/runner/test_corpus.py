"""Oracle: the same windows scored all at once, and a run that was never interrupted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from bitloss.engines.dense import precision
from bitloss.engines.dense.scoring import shards as shards_module
from bitloss.engines.dense.scoring.scorer import DenseScorer
from bitloss.engines.dense.scoring.shards import forwards
from bitloss.errors import NumericalError, StorageError, UnsupportedModel
from bitloss.expectations import load_expectations
from bitloss.metrics import sequential as metric
from bitloss.runner import RunStore, noise
from bitloss.runner.corpus import CorpusRun
from bitloss.runner.jobs import Job, require_order
from bitloss.runner.sequential import Stopping, random_looks
from peers import logits_engine
from peers.registering import register
from peers.runs import corpus_jobs, make_run, run_corpus
from peers.scoring import contents, killed_at_write, score

COLUMNS = ("window", "reference_nll", "nll", "kl_divergence", "same_top1")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shards of a few forwards, and looks at few of them."""
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 150)
    monkeypatch.setattr(metric, "FEWEST", 4)


@dataclass
class Counted:
    """A schedule: random looks, and enough of a variant after so many records.

    The first variant whose records are seen is the first one with a count; one without a count is
    scored to the end.
    """

    pieces: list
    counts: dict
    known: dict = field(default_factory=dict)
    random_order = None

    def looks(self, scorer):
        return random_looks(self.pieces, 0)

    def stop_reason(self, records):
        name = next((name for name, own in self.known.items() if own & set(records)), None)
        name = name or (list(self.counts)[len(self.known) :] or [None])[0]
        if name is None:
            return None
        self.known[name] = set(records)
        return "decided" if len(records) >= self.counts[name] else None

    exact_looks = looks
    needs_exact = staticmethod(lambda *_: True)

    def exact_stop_reason(self, records):
        return "precision" if len(records) > 4 else None

    def reported_stop_reason(self, stopped):
        return stopped.reason


@pytest.fixture
def counted(monkeypatch, windows):
    """A function that puts every corpus on a `Counted` schedule."""

    def put(**counts):
        def schedule(self, scorer):
            return Counted(forwards(windows, 64), counts)

        monkeypatch.setattr(CorpusRun, "_schedule_for", schedule)

    return put


# The list ----------------------------------------------------------------------------------


def made(*names):
    return [Job(f"make-variant/{name}", "make-variant", lambda: None, name) for name in names]


def test_a_whole_text_is_read_by_every_model_then_compared(tmp_path, models, windows):
    jobs = corpus_jobs(make_run(RunStore(tmp_path / "run"), models, windows, "a", "b"))
    require_order([*made("a", "b"), *jobs])
    assert [(job.key, job.kind, job.model) for job in jobs] == [
        ("states/corpora/text/reference", "states", "reference"),
        ("states/corpora/text/a", "states", "a"),
        ("states/corpora/text/b", "states", "b"),
        ("pair/corpora/text", "pair", ""),
        ("floor/corpora/text", "floor", ""),
        ("exact/corpora/text", "pair", ""),
        ("collect/corpora/text", "collect", ""),
    ]
    assert [job.needs for job in jobs[:4]] == [
        (), ("make-variant/a",), ("make-variant/b",), tuple(job.key for job in jobs[:3]),
    ]  # fmt: skip
    # Every model reads all windows but their last tokens; states and records are written for each.
    read = sum(len(window.ids) - 1 for window in windows)
    assert {job.resources.tokens for job in jobs[:3]} == {read}
    assert all(job.resources.disk_bytes > 0 for job in jobs[:3])
    assert not (tmp_path / "run").exists()


def test_looks_and_rounds_are_jobs_of_their_own(tmp_path, models, windows, monkeypatch):
    monkeypatch.setattr(DenseScorer, "rounds", lambda self, pieces, candidates: 1)
    run = make_run(
        RunStore(tmp_path), models, windows, "a", "b", stopping=Stopping(None, 0.1), precision=0.1
    )
    jobs = corpus_jobs(run)
    require_order([*made("a", "b"), *jobs])
    pairs = [job.key for job in jobs if job.kind == "pair"]
    n_looks = len(random_looks(windows, 0))  # a short text: a window is a piece
    assert n_looks > 2
    assert pairs == [
        *(
            f"pair/corpora/text/look-{i + 1}/round-{j + 1}"
            for i in range(n_looks)
            for j in range(2)
        ),
        "exact/corpora/text",
    ]
    # Together the looks are the text: a look is listed for what it adds.
    read = sum(len(window.ids) - 1 for window in windows)
    assert sum(j.resources.tokens for j in jobs if j.model == "a") == read


# Scoring -----------------------------------------------------------------------------------


def test_each_variant_stops_by_itself_and_has_the_whole_runs_numbers(
    tmp_path, models, windows, counted
):
    whole, store = RunStore(tmp_path / "whole"), RunStore(tmp_path / "looks")
    everything = score(whole, models, windows, "a", "b")
    counted(a=4, b=9)
    entry = run_corpus(make_run(store, models, windows, "a", "b"))
    stopped = [(len(one.records), one.stopped) for one in entry.variants.values()]
    assert stopped == [(4, "decided"), (9, "decided")]
    assert len(entry.reference) == 9
    for name, one in entry.variants.items():
        records = store.read_records(one.records, COLUMNS)
        expected = whole.read_records(everything.variants[f"{name} (dense fp32)"], COLUMNS)
        seen = np.unique(records["window"])
        assert 0 < len(seen) < 40
        chosen = np.isin(expected["window"], seen)
        for column in COLUMNS:
            np.testing.assert_allclose(records[column], expected[column][chosen], atol=1e-6)


def test_variants_that_are_done_are_read_no_further(
    tmp_path, models, windows, counted, monkeypatch
):
    counted(a=4, b=4)
    reads = []
    original = DenseScorer._read

    def read(self, graph, candidate, todo):
        reads.append((candidate.label, len(todo)))
        original(self, graph, candidate, todo)

    monkeypatch.setattr(DenseScorer, "_read", read)
    run_corpus(make_run(RunStore(tmp_path), models, windows, "a", "b"))
    # One look at four pieces; the floor reads the rest with the reference, in both shapes.
    assert reads[:3] == [(f"{name} (dense fp32)", 4) for name in ("reference", "a", "b")]
    assert {label for label, _ in reads[3:]} == {
        "reference (dense fp32)", "reference (dense fp32, alone)",
    }  # fmt: skip


def test_the_end_is_not_a_decision(tmp_path, models, windows, counted):
    counted()
    entry = run_corpus(make_run(RunStore(tmp_path), models, windows, "a"))
    assert entry.variants["a"].stopped == "end"
    assert len(entry.variants["a"].records) == len(forwards(windows, 64))


def test_a_variant_at_fault_fails_alone(tmp_path, models, windows, counted):
    counted(a=9)
    run = make_run(RunStore(tmp_path), models, windows, "nan", "a")
    entry = run_corpus(run)
    assert list(run.failures) == ["nan"]
    assert isinstance(run.failures["nan"], NumericalError)
    assert list(entry.variants) == ["a"]
    assert len(entry.variants["a"].records) == 9


def test_one_that_failed_before_is_left_out(tmp_path, models, windows):
    alone, store = RunStore(tmp_path / "alone"), RunStore(tmp_path / "both")
    expected = run_corpus(make_run(alone, models, windows, "a"))
    run = make_run(store, models, windows, "a", "b")
    run.fail("b", NumericalError("no", hint="no"))
    assert run_corpus(run) == expected
    assert contents(store.root) == contents(alone.root)


def test_the_reference_alone_is_scored_too(tmp_path, models, windows):
    store = RunStore(tmp_path)
    entry = run_corpus(make_run(store, models, windows))
    assert (entry.variants, entry.noise_floor) == ({}, None)
    scored = store.read_records(entry.reference, ("nll",))["nll"]
    assert len(scored) == sum(window.n_scored for window in windows)


def test_rounds_change_no_byte(tmp_path, models, windows, monkeypatch):
    whole, split = RunStore(tmp_path / "whole"), RunStore(tmp_path / "split")
    expected = run_corpus(make_run(whole, models, windows, "a", "b"))
    monkeypatch.setattr(DenseScorer, "rounds", lambda self, pieces, candidates: 1)
    assert run_corpus(make_run(split, models, windows, "a", "b")) == expected
    assert contents(split.root) == contents(whole.root)


@pytest.mark.parametrize("moment", range(0, 44, 9))
def test_killed_at_any_write_the_rerun_ends_with_the_same_bytes(
    tmp_path, models, windows, counted, moment
):
    def run(store):
        counted(a=4, b=9)
        return run_corpus(make_run(store, models, windows, "a", "b"))

    whole, killed = RunStore(tmp_path / "whole"), RunStore(tmp_path / "killed")
    expected = run(whole)
    with killed_at_write(moment):
        run(killed)
    assert run(killed) == expected
    assert contents(killed.root) == contents(whole.root)


def test_a_whole_run_resumes_from_what_was_drawn(tmp_path, models, windows, counted, monkeypatch):
    whole, store = RunStore(tmp_path / "whole"), RunStore(tmp_path / "after")
    expected = score(whole, models, windows, "a")
    counted(a=4)
    drawn = run_corpus(make_run(store, models, windows, "a"))
    before = set(contents(store.root))
    written = []
    original = RunStore.write_states
    monkeypatch.setattr(
        RunStore, "write_states", lambda *args: (written.append(args[1]), original(*args))
    )
    scores = score(store, models, windows, "a")
    label = "a (dense fp32)"
    assert written
    assert not before & {f"states/{name}.safetensors" for name in written}
    assert set(drawn.variants["a"].records) < set(scores.variants[label])
    for name in COLUMNS:
        np.testing.assert_allclose(
            store.read_records(scores.variants[label], COLUMNS)[name],
            whole.read_records(expected.variants[label], COLUMNS)[name],
            atol=1e-6,
        )
    # Untouched pieces stay whole, and once more changes nothing.
    assert len(scores.reference) < len(forwards(windows, 64))
    state = contents(store.root)
    assert score(store, models, windows, "a") == scores
    assert contents(store.root) == state


def test_random_text_stops_where_it_is_decided(tmp_path, models, windows):
    stopping = Stopping(load_expectations(), None)
    run = make_run(
        RunStore(tmp_path), {**models, "copy": models["reference"]}, windows, "copy", "b",
        stopping=stopping, until="decided",
    )  # fmt: skip
    entry = run_corpus(run)
    copy = entry.variants["copy"]
    assert (copy.stopped, len(copy.records)) == ("decided", 4)
    assert len(entry.variants["b"].records) >= 4
    assert entry.random_order is not None
    assert entry.random_order.blocks == tuple(range(40))


def test_a_damaged_record_ends_the_run(tmp_path, models, windows):
    def run():
        return make_run(
            RunStore(tmp_path), models, windows, "b",
            stopping=Stopping(load_expectations(), None), until="decided",
        )  # fmt: skip

    record = run_corpus(run()).variants["b"].records[0]
    (tmp_path / "records" / f"{record}.parquet").write_bytes(b"PAR1")
    again = run()
    with pytest.raises(StorageError, match="damaged"):
        run_corpus(again)
    assert again.failures == {}


# Near the noise floor ----------------------------------------------------------------------


@pytest.fixture
def fast(monkeypatch):
    """A machine on which bf16 is faster, a run that is not small, and everything near the floor."""
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    monkeypatch.setattr(precision, "SMALL_RUN", 0)
    monkeypatch.setattr(noise, "NEAR_FLOOR", 1e9)
    monkeypatch.setattr(noise, "FIRST_WINDOWS", 5)


@pytest.mark.parametrize(("half_width", "n_windows"), [(10.0, 5), (1e-9, 40)])
def test_rescoring_stops_when_the_interval_is_narrow_enough(
    tmp_path, models, windows, fast, monkeypatch, half_width, n_windows
):
    monkeypatch.setattr(noise, "HALF_WIDTH", half_width)
    whole, store = RunStore(tmp_path / "whole"), RunStore(tmp_path / "auto")
    (expected,) = score(whole, models, windows, "a").variants.values()
    entry = run_corpus(make_run(store, models, windows, "a"))
    one = entry.variants["a"]
    assert (entry.dtype, one.stopped) == ("bf16", None)
    assert entry.noise_floor is not None
    assert entry.noise_floor.dtype == "bf16"
    assert one.exact is not None
    assert (one.exact.dtype, one.exact.n_windows) == ("fp32", n_windows)
    assert one.exact.drawn
    found = store.read_records(one.exact.records, ("window", "kl_divergence"))
    known = whole.read_records(expected, ("window", "kl_divergence"))
    places = np.unique(found["window"])
    assert len(places) == n_windows
    for place in places:  # the whole text's windows, wherever they are
        own, same = (columns["window"] == place for columns in (found, known))
        np.testing.assert_allclose(
            found["kl_divergence"][own], known["kl_divergence"][same], atol=1e-6
        )


def test_the_last_scoring_says_why_it_stopped(tmp_path, models, windows, fast, counted):
    counted(a=4, b=4)
    entry = run_corpus(make_run(RunStore(tmp_path), models, windows, "a", "b"))
    for one in entry.variants.values():
        assert len(one.records) == 4
        assert one.exact is not None
        assert len(one.exact.records) > 4
        assert one.stopped == "precision"


def test_what_is_far_from_the_floor_is_scored_once(tmp_path, models, windows, fast, monkeypatch):
    monkeypatch.setattr(noise, "NEAR_FLOOR", 0.0)
    entry = run_corpus(make_run(RunStore(tmp_path), models, windows, "a"))
    assert entry.dtype == "bf16"
    assert entry.variants["a"].exact is None


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_a_named_arithmetic_is_used_alone(tmp_path, models, windows, fast, dtype):
    entry = run_corpus(make_run(RunStore(tmp_path), models, windows, "a", dtype=dtype))
    assert entry.dtype == dtype
    assert entry.noise_floor is not None
    assert entry.variants["a"].exact is None


def test_without_a_floor_everything_is_scored_again(tmp_path, models, windows, fast, monkeypatch):
    """An engine that cannot run the reference's files measures no floor, and the run says so."""
    monkeypatch.setattr(noise, "NEAR_FLOOR", 1.0)
    register(monkeypatch, "ENGINES", logits_beside_dense="peers.logits_engine:BESIDE_DENSE")
    load = logits_engine.BESIDE_DENSE.logits

    def refuse(candidate, *, batch_tokens):
        if candidate.model.name == "reference":
            raise UnsupportedModel("not one of its own files")
        return load(candidate, batch_tokens=batch_tokens)

    monkeypatch.setattr(
        logits_engine, "BESIDE_DENSE", replace(logits_engine.BESIDE_DENSE, logits=refuse)
    )
    run = make_run(RunStore(tmp_path), models, windows, "a", engine=("logits-beside-dense",))
    entry = run_corpus(run)
    assert entry.noise_floor is None
    assert entry.facts.notes[-1].startswith("the noise floor was not measured: ")
    assert entry.dtype == "bf16"
    assert entry.variants["a"].exact is not None
    assert entry.variants["a"].exact.dtype == "fp32"
    versions = run.manifest().environment.versions
    assert {"torch", "transformers"} <= set(versions)


def test_a_variant_that_fails_in_exact_arithmetic_fails_alone(
    tmp_path, models, windows, fast, monkeypatch
):
    """What overflows in float32 but was finite before."""
    original = DenseScorer.prepare

    def prepare(self, pieces, candidate, group):
        if candidate.model.name == "b" and candidate.arithmetic == "fp32":
            raise NumericalError("b: no", hint="no")
        original(self, pieces, candidate, group)

    monkeypatch.setattr(DenseScorer, "prepare", prepare)
    monkeypatch.setattr(noise, "HALF_WIDTH", 1e-9)
    run = make_run(RunStore(tmp_path), models, windows, "b", "a")
    entry = run_corpus(run)
    assert list(run.failures) == ["b"]
    assert list(entry.variants) == ["a"]
    assert entry.variants["a"].exact.n_windows == 40
