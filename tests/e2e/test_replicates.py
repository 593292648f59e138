"""Replicates in a study and beside a baseline, on a tiny model and a quantizer that dithers.

Oracles: the levels' own results, and a run that is its own baseline.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import bitloss
from bitloss.checks import gate
from bitloss.errors import Incomparable
from bitloss.studies import study
from bitloss.studies.sweep import recipe_sweep
from peers.registering import register
from peers.tiny_model import write_tiny_model

SWEEP = recipe_sweep(
    name="dithered",
    factor="bits",
    values=("dither-8", "dither-4", "dither-3-plain"),
    columns=("relative_perplexity", "kl_divergence"),
)
OPTIONS = {"corpora": ["./text.txt"], "max_length": 64, "stride": 64, "dtype": "fp32"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replicates")
    write_tiny_model(folder / "tiny")
    (folder / "text.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(200)))
    return folder


@pytest.fixture(autouse=True)
def _registered(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "QUANTIZERS", dither="peers.dither_quantizer:DITHER")
    register(monkeypatch, "STUDIES", dithered="e2e.test_replicates:SWEEP")
    monkeypatch.setenv("BITLOSS_CACHE", str(place / "cache"))
    monkeypatch.chdir(place)


def test_steps_are_between_replicates_of_the_same_seed() -> None:
    result = study("dithered", ["./tiny"], replicates=2, **OPTIONS)
    (model,) = result.models
    levels = [level.corpora["text.txt"] for level in model.levels]
    assert len(model.steps) == 2
    for before, after, step in zip(levels, levels[1:], model.steps, strict=False):
        found = step.corpora["text.txt"]
        # The same windows: a ratio of geometric means is the geometric mean of the ratios.
        ratio = after["relative_perplexity"].value / before["relative_perplexity"].value
        assert found["relative_perplexity"].value == pytest.approx(ratio, rel=1e-6)
        moved = after["kl_divergence"].value - before["kl_divergence"].value
        assert found["kl_divergence"].value == pytest.approx(moved, rel=1e-6)
        assert found["kl_divergence"].low < moved < found["kl_divergence"].high


def test_a_baseline_is_compared_seed_by_seed() -> None:
    for out, count in (("twice", 2), ("once", 1)):
        bitloss.compare("./tiny", ["dither-4"], out=out, replicates=count, **OPTIONS)
    limits = {"max_relative_perplexity": 1.01, "max_kld": 0.1}
    same = gate.gate(Path("twice"), limits=limits, baseline=Path("twice"))
    assert [(one.value, one.outcome) for one in same.judgments] == [(1.0, "pass"), (0.0, "pass")]
    with pytest.raises(Incomparable, match="2 replicates here, 1 there"):
        gate.gate(Path("twice"), limits=limits, baseline=Path("once"))
