"""Limited runs of the bundled model. Oracles: the whole text's windows, one by one; hand counts."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from bitloss.analysis.collect import collect
from bitloss.engines.dense.scoring import shards as shards_module
from bitloss.metrics.intervals import Series, bootstrap
from bitloss.reports.records_csv import write_csv
from bitloss.results.manifest import CorpusEntry, Manifest
from bitloss.runner import RunStore, execute, prepare
from bitloss.runner.draw import draw_windows
from bitloss.spec.run import RunSpec
from bitloss.spec.suite import TaskChoice
from bitloss.types import SilentProgress

CORPUS = "pocket-prose"
SPEC = {
    "reference": "pocket", "corpora": (CORPUS,), "dtype": "fp32", "max_length": 64, "stride": 64,
    "protocol": "strided-as-published",
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of eight windows."""
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 8 * 63)


def run(folder: Path, **options: object) -> Manifest:
    spec = RunSpec(**{**SPEC, **options}, batch_tokens=4 * 64)  # type: ignore[arg-type]
    plan = prepare(spec, progress=SilentProgress())
    return execute(plan, RunStore(folder), command="", progress=SilentProgress())


def losses(folder: Path, entry: CorpusEntry) -> dict[int, float]:
    """Mean loss of each window by its place in the text."""
    columns = RunStore(folder).read_records(entry.reference, ("window", "nll"))
    return {
        int(place): float(columns["nll"][columns["window"] == place].mean(dtype="d"))
        for place in np.unique(columns["window"])
    }


def test_a_limited_run_has_the_drawn_windows_of_the_whole_text(tmp_path: Path) -> None:
    manifest, whole = run(tmp_path / "some", limit=20, seed=3), run(tmp_path / "all")
    entry, everything = manifest.corpora[CORPUS], whole.corpora[CORPUS]
    total = everything.facts.n_windows
    assert everything.facts.draw_seed is None
    facts = entry.facts
    assert (facts.n_windows, facts.n_windows_total, facts.draw_seed) == (20, total, 3)
    assert facts.notes[-1] == f"20 of {total:,} windows, drawn at random (seed 3)"
    assert (facts.n_total, facts.valid) == (everything.facts.n_scored, everything.facts.valid)
    assert manifest.environment.seeds.limit == 3
    assert whole.environment.seeds.limit is None

    found, known = losses(tmp_path / "some", entry), losses(tmp_path / "all", everything)
    assert len(found) == 20
    assert max(found) > 20  # not its beginning
    assert [found[place] for place in found] == pytest.approx([known[p] for p in found], rel=1e-5)
    # Few of many are drawn one by one, each with the weight of its own place.
    weights = np.array([facts.valid[place] - 1.0 for place in found])
    series = Series(np.array([known[place] for place in found]), weights, scale="exp")
    expected = bootstrap({"": series}, seed=3, block=1)[""]
    result = collect(RunStore(tmp_path / "some"), manifest).reference.corpora[CORPUS]
    assert result.perplexity == pytest.approx(expected.value, rel=1e-5)
    assert result.perplexity_interval.low == pytest.approx(expected.low, rel=1e-4)
    assert result.perplexity_interval.high == pytest.approx(expected.high, rel=1e-4)


def test_a_larger_limit_scores_what_it_adds(tmp_path: Path) -> None:
    small = run(tmp_path, limit=20).corpora[CORPUS]
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()}
    large = run(tmp_path, limit=40).corpora[CORPUS]
    # 8 and 8 windows again, 4 that begin a piece of 8, and what follows.
    assert large.reference[:2] == small.reference[:2]
    assert (len(small.reference), len(large.reference)) == (3, 5)
    assert all(path.stat().st_mtime_ns == written for path, written in records.items())
    assert set(losses(tmp_path, small)) < set(losses(tmp_path, large))


def test_tokens_of_drawn_windows_are_written_in_the_order_of_the_text(tmp_path: Path) -> None:
    entry = run(tmp_path / "run", limit=20).corpora[CORPUS]
    store = RunStore(tmp_path / "run")
    columns = store.read_records(entry.reference, ("window",))
    assert not (np.diff(columns["window"]) >= 0).all()  # scored in the order of the draw
    write_csv(store, store.read_manifest(), tmp_path)
    with (tmp_path / "tokens.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["token"]) for row in rows] == list(range(len(rows)))
    assert [int(row["window"]) for row in rows] == sorted(columns["window"].tolist())


def test_looks_at_drawn_windows_are_in_the_order_of_the_text() -> None:
    options = {"variants": ("gguf-q8_0",), "limit": 20, "precision": 0.1}
    plan = prepare(RunSpec(**{**SPEC, **options}), progress=SilentProgress())  # type: ignore[arg-type]
    (planned,) = plan.corpora
    places = [window.place for window in planned.windows]
    (whole,) = prepare(RunSpec(**SPEC), progress=SilentProgress()).corpora  # type: ignore[arg-type]
    drawn = draw_windows(whole.windows, 20, text=planned.facts.digest, seed=0)
    assert places == sorted(window.place or 0 for window in drawn)


def test_items_are_drawn_and_the_task_says_so(tmp_path: Path) -> None:
    tasks = (TaskChoice(name="pocket_knowledge_en", limit=10),)
    manifest = run(tmp_path, corpora=(), tasks=tasks, seed=1)
    entry = manifest.tasks["pocket_knowledge_en"]
    assert manifest.environment.seeds.limit == 1
    assert entry.notes[0].startswith(f"10 of {entry.n_total} items, drawn at random (seed 1)")
    found = RunStore(tmp_path).read_records([entry.items["pocket"]], ("item",))["item"]
    assert list(found) != [f"{n}" for n in range(10)]
