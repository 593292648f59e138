"""Variants in several ways at once: the ways themselves, and runs with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitloss.analysis.collect import collect
from bitloss.analysis.near_floor import added_near_floor
from bitloss.engines.base import Engine
from bitloss.engines.dense import precision
from bitloss.errors import UnsupportedModel, UsageError
from bitloss.results.manifest import Manifest
from bitloss.runner import Plan, RunStore, execute
from bitloss.runner import run as running
from bitloss.runner.estimate import summarize
from bitloss.runner.run import Run
from bitloss.runner.ways import in_ways, ways_of
from bitloss.spec.model import ModelRef
from bitloss.spec.serving import parse_serving
from bitloss.types import SilentProgress
from peers.registering import register

FULL = Engine(name="dense", version="1", offers=frozenset({"keys", "values", "activations"}))
CACHES = Engine(name="native", version="1", offers=frozenset({"keys", "values"}))
PLAIN = Engine(name="plain", version="1")


def test_each_way_stands_beside_the_one_that_differs_in_one_thing():
    ways = ways_of([FULL, CACHES, PLAIN], parse_serving("q8_0/q4_0", "int8"))
    assert [(way.label, way.adds, way.beside) for way in ways] == [
        ("dense", None, ""),
        ("dense, cache q8_0/q4_0", "cache", "dense"),
        ("dense, cache q8_0/q4_0, activations int8", "activations", "dense, cache q8_0/q4_0"),
        ("native", "engine", "dense"),
        ("native, cache q8_0/q4_0", "cache", "native"),
        ("plain", "engine", "dense"),
    ]


def test_without_caches_activations_stand_beside_the_weights():
    _, way = ways_of([FULL], parse_serving("", "fp8"))
    assert (way.label, way.adds, way.beside) == ("dense, activations fp8", "activations", "dense")


def test_what_no_engine_can_set_is_refused():
    with pytest.raises(UnsupportedModel, match="type of activations"):
        ways_of([CACHES, PLAIN], parse_serving("", "int8"))
    with pytest.raises(UsageError, match="named twice"):
        ways_of([FULL, FULL], parse_serving())
    with pytest.raises(UnsupportedModel, match="engine of its own"):
        ways_of([FULL, replace(PLAIN, reference_engine="plain")], parse_serving())


def test_replicates_are_run_in_the_first_way_only():
    refs = [ModelRef("a", "path"), ModelRef("a (seed 1)", "path", replicate_of="a")]
    found = in_ways(refs, ways_of([FULL, PLAIN], parse_serving()))
    assert [(ref.text, ref.run_of) for ref in found] == [
        ("a", None), ("a (seed 1)", None), ("a [plain]", "a"),
    ]  # fmt: skip


# Runs -----------------------------------------------------------------------------------------


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    register(
        monkeypatch,
        "ENGINES",
        logits_beside_dense="peers.logits_engine:BESIDE_DENSE",
        refuses="peers.logits_engine:REFUSES",
    )


def carry_out(plan: Plan, folder: Path) -> tuple[RunStore, Manifest]:
    store = RunStore(folder)
    return store, execute(plan, store, command="", progress=SilentProgress())


PARTS = {"corpora": ("text.txt",), "tasks": ("choice", "gold-likelihood")}
BOTH = ("dense", "logits-beside-dense")


@pytest.mark.usefixtures("engines")
def test_a_run_in_several_ways_has_the_records_of_runs_in_one(
    plan: Callable[..., Plan], tmp_path: Path
) -> None:
    """Oracle: each engine's run by itself."""
    _, both = carry_out(plan(variants=("./noisy",), engine=BOTH, **PARTS), tmp_path / "both")
    for engine, name in zip(BOTH, ("./noisy", "./noisy [logits-beside-dense]"), strict=True):
        one = plan(variants=("./noisy",), engine=(engine,), **PARTS)
        _, alone = carry_out(one, tmp_path / engine)
        expected, found = alone.corpora["text.txt"], both.corpora["text.txt"]
        assert found.variants[name].records == expected.variants["./noisy"].records
        assert found.reference == expected.reference
        floor = found.noise_floor if engine == "dense" else found.floors[engine]
        assert floor == expected.noise_floor
        for task in PARTS["tasks"]:
            assert both.tasks[task].items[name] == alone.tasks[task].items["./noisy"]


@pytest.mark.usefixtures("engines")
def test_ways_are_held_against_each_other_in_exact_arithmetic(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bf16 rounds would be taken for an engine's loss; a requested arithmetic is used."""
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)

    def dtype(engine: tuple[str, ...], **choices: str) -> str:
        made = plan(variants=("./noisy",), corpora=("text.txt",), engine=engine, **choices)
        return Run(made, RunStore(tmp_path), SilentProgress()).arithmetic(10**15).reference

    assert dtype(("dense",)) == "bf16"
    assert dtype(BOTH) == "fp32"
    assert dtype(("dense",), cache_type="fp8") == "fp32"
    assert dtype(BOTH, dtype="bf16") == "bf16"


@pytest.mark.usefixtures("engines")
def test_what_a_way_adds_is_the_difference_of_the_two(
    plan: Callable[..., Plan], tmp_path: Path
) -> None:
    """Oracle: numpy on the two ways' records."""
    store, manifest = carry_out(plan(variants=("./noisy",), engine=BOTH, **PARTS), tmp_path)
    (variant,) = collect(store, manifest).variants
    assert variant.served is not None
    (served,) = variant.served
    assert (served.way.label, served.way.beside, served.status) == (*reversed(BOTH), "ok")
    entry = manifest.corpora["text.txt"].variants
    means = []
    for name in ("./noisy", "./noisy [logits-beside-dense]"):
        scored = store.read_token_records(entry[name].most_exact)
        means.append((scored.kl_divergence.mean(dtype=np.float64), scored.nll))
    (before, nll), (after, other) = means
    found = served.corpora["text.txt"]
    assert found.added is not None
    assert found.added.kl_divergence.value == pytest.approx(after - before, abs=1e-12)
    ratio = np.exp((other.astype(np.float64) - nll.astype(np.float64)).mean())
    assert found.added.relative_perplexity.value == pytest.approx(ratio, rel=1e-6)
    assert served.tasks is not None
    assert set(served.tasks) == {*PARTS["tasks"]}


def test_every_way_has_a_floor_of_its_own(plan: Callable[..., Plan], tmp_path: Path) -> None:
    """Oracle: the means of the floors' records."""
    made = plan(
        variants=("./noisy",), corpora=("text.txt",), cache_type="int2-g8", activations="int8"
    )
    assert [way.label for way in made.ways] == [
        "dense", "dense, cache int2-g8", "dense, cache int2-g8, activations int8",
    ]  # fmt: skip
    store, manifest = carry_out(made, tmp_path)
    entry = manifest.corpora["text.txt"]
    floors = [entry.noise_floor, *(entry.floors[way.label] for way in made.ways[1:])]
    means = []
    for floor in floors:
        assert floor is not None
        found = store.read_records(floor.records, ("kl_divergence",))["kl_divergence"]
        means.append(abs(found.mean(dtype=np.float64)))
        assert floor.kl_divergence == pytest.approx(means[-1])
    assert means[0] < 1e-7
    assert min(means[1:]) > 10 * means[0]
    (variant,) = collect(store, manifest).variants
    assert variant.served is not None
    shown = [served.corpora["text.txt"].result for served in variant.served]
    assert [one.noise_floor.kl_divergence for one in shown if one and one.noise_floor] == means[1:]


def test_a_variant_in_a_further_engine_has_a_floor_of_its_own(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: an engine that moves the logits of nudged variants, and of no reference."""
    register(monkeypatch, "ENGINES", nudged="peers.logits_engine:NUDGED")
    made = plan(variants=("./noisy",), corpora=("text.txt",), engine=("dense", "nudged"))
    store, manifest = carry_out(made, tmp_path)
    entry = manifest.corpora["text.txt"]
    assert set(entry.floors) == {"nudged", "./noisy [nudged]"}
    own = entry.floors["./noisy [nudged]"]
    found = store.read_records(own.records, ("kl_divergence",))["kl_divergence"]
    assert own.kl_divergence == pytest.approx(found.mean(dtype=np.float64))
    assert own.kl_divergence > 1e-5
    assert entry.floors["nudged"].kl_divergence < 1e-7
    (variant,) = collect(store, manifest).variants
    assert variant.served is not None
    (served,) = variant.served
    result = served.corpora["text.txt"].result
    assert result is not None
    assert result.noise_floor is not None
    assert result.noise_floor.kl_divergence == own.kl_divergence
    added = served.corpora["text.txt"].added
    assert added is not None
    assert added_near_floor(served.corpora["text.txt"]) == (added.kl_divergence.value != 0)


@pytest.mark.usefixtures("engines")
def test_an_engine_that_cannot_run_a_variant_leaves_its_other_results(
    plan: Callable[..., Plan], tmp_path: Path
) -> None:
    made = plan(variants=("./noisy",), corpora=("text.txt",), engine=("dense", "refuses"))
    store, manifest = carry_out(made, tmp_path)
    (variant,) = collect(store, manifest).variants
    assert variant.status == "ok"
    assert variant.corpora
    assert variant.served is not None
    (served,) = variant.served
    assert served.status == "unsupported"
    assert served.error is not None
    assert served.corpora == {}


def test_ways_need_variants_and_whole_texts(plan: Callable[..., Plan]) -> None:
    with pytest.raises(UsageError, match="only the reference"):
        plan(variants=(), corpora=("text.txt",), cache_type="q8_0")
    with pytest.raises(UsageError, match="until"):
        plan(corpora=("text.txt",), cache_type="q8_0", until="decided")


@pytest.mark.usefixtures("engines")
def test_a_plan_opens_files_once_and_says_what_a_way_is(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    open_variant = running.open_variant

    def counted(ref: ModelRef, *of: object, **how: object) -> object:
        opened.append(ref.text)
        return open_variant(ref, *of, **how)

    monkeypatch.setattr(running, "open_variant", counted)
    summary = summarize(plan(variants=("./noisy",), corpora=("text.txt",), engine=BOTH), tmp_path)
    assert opened == ["./noisy"]
    assert [(one.name, one.note) for one in summary.models[1:]] == [
        ("./noisy", ""),
        ("./noisy [logits-beside-dense]", "the same files, run in another way"),
    ]
