"""Replicates of a recipe in a run; a quantizer that dithers by its seed stands in for GPTQ.

Oracle: runs of the same recipe with each seed by itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import bitloss
from bitloss import api
from bitloss.errors import UsageError
from bitloss.results import Comparison
from bitloss.runner.models import name_variants
from bitloss.spec.run import RunSpec
from peers.registering import register


@pytest.fixture(autouse=True)
def _registered(
    files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    register(monkeypatch, "QUANTIZERS", dither="peers.dither_quantizer:DITHER")
    monkeypatch.setenv("BITLOSS_CACHE", str(files.parent / "cache"))
    monkeypatch.chdir(files)


def compare(out: Path, *variants: str, replicates: int = 1, seed: int = 0) -> Comparison:
    return bitloss.compare(
        "./tiny",
        variants or ["dither-4"],
        corpora=["./text.txt"],
        tasks=["./choice.yaml"],
        max_length=64,
        stride=64,
        dtype="fp32",
        out=out,
        replicates=replicates,
        seed=seed,
    )


def names(*variants: str, replicates: int, seed: int = 0) -> list[tuple[str, int | None]]:
    spec = RunSpec(reference="./tiny", variants=variants, replicates=replicates, seed=seed)
    return [
        (ref.text, None if ref.recipe is None else ref.recipe.seed) for ref in name_variants(spec)
    ]


def test_seeds_follow_the_runs_own() -> None:
    assert names("dither-4", replicates=3, seed=5) == [
        ("dither-4", 5), ("dither-4 (seed 6)", 6), ("dither-4 (seed 7)", 7),
    ]  # fmt: skip


def test_what_no_seed_decides_is_made_once() -> None:
    assert names("dither-4-plain", "./noisy", "dither-8", replicates=2) == [
        ("dither-4-plain", 0), ("./noisy", None), ("dither-8", 0), ("dither-8 (seed 1)", 1),
    ]  # fmt: skip


def test_replicates_of_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="3 replicates have no effect"):
        names("dither-4-plain", "./noisy", replicates=3)


def test_replicates_do_not_stop_by_themselves() -> None:
    with pytest.raises(UsageError, match="scored on the same windows"):
        api.make_spec("./tiny", ["dither-4"], until="decided", replicates=2)


def test_more_replicates_go_on_in_the_same_directory() -> None:
    specs = [api.make_spec("./tiny", ["dither-4"], replicates=n) for n in (1, 4)]
    assert api.default_run_dir(specs[0]) == api.default_run_dir(specs[1])
    other = api.make_spec("./tiny", ["dither-4"], seed=1)
    assert api.default_run_dir(other) != api.default_run_dir(specs[0])


def test_a_plan_says_what_is_made_how_often() -> None:
    spec = api.make_spec(
        "./tiny", ["dither-4", "dither-4-plain"], corpora=["./text.txt"], replicates=3
    )
    summary = api.plan(spec, Path("planned"))
    assert [model.name for model in summary.models] == [
        "./tiny", "dither-4", "dither-4 (seed 1)", "dither-4 (seed 2)", "dither-4-plain",
    ]  # fmt: skip
    assert "made 3 times, with seeds 0 to 2: dither-4" in summary.notes
    assert "made once, since nothing random decides the bytes: dither-4-plain" in summary.notes


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replicates")


def test_every_seed_is_a_run_of_its_own_put_together(done: Path) -> None:
    found = compare(done / "run", "dither-4", "dither-4-plain", "./noisy", replicates=2)
    row, plain, file = found.variants
    assert row.replicates is not None
    assert (row.own_spread, plain.own_spread, file.own_spread) == ("included", "none", None)
    alone = [compare(done / f"seed-{seed}", seed=seed).variants[0] for seed in (0, 1)]
    assert [one.own_spread for one in alone] == ["left out"] * 2
    assert list(row.replicates.digests) == [one.digest for one in alone]
    each = [one.corpora["text.txt"] for one in alone]
    spreads = row.replicates.corpora["text.txt"]
    assert spreads["kl_divergence"].values == tuple(one.kl_divergence.mean for one in each)
    mean = sum(one.kl_divergence.mean for one in each) / 2
    assert row.corpora["text.txt"].kl_divergence.mean == pytest.approx(mean)
    ratio = (each[0].relative_perplexity.value * each[1].relative_perplexity.value) ** 0.5
    assert row.corpora["text.txt"].relative_perplexity.value == pytest.approx(ratio)
    task = row.tasks["choice"]
    scores = [one.tasks["choice"].score.value for one in alone]
    assert task.score.value == pytest.approx(sum(scores) / 2)


def test_more_replicates_score_only_the_new_ones_and_again_nothing(done: Path) -> None:
    compare(done / "more", replicates=2)
    before = _records(done / "more")
    first = compare(done / "more", replicates=3)
    after = _records(done / "more")
    assert before.items() <= after.items()
    assert len(after) > len(before)
    assert first.variants[0].replicates is not None
    assert first.variants[0].replicates.seeds == (0, 1, 2)
    again = compare(done / "more", replicates=3)
    assert _records(done / "more") == after
    assert again.to_json() == first.to_json()


def _records(run: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (run / "records").iterdir()}


def test_a_replicate_that_fails_fails_its_recipe_by_name(done: Path) -> None:
    (row,) = compare(done / "failed", seed=12, replicates=2).variants
    assert row.status == "failed"
    assert row.error is not None
    assert row.error.message == "dither-4 (seed 13): no luck"
    assert not row.corpora
