"""Weighted sums of levels. Oracles: a step between neighbors, and arithmetic on the records."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bitloss.results import Estimate
from bitloss.studies.base import FactorLevel
from bitloss.studies.contrast import contrast, extra_loss, mean_contrast, shown
from bitloss.studies.paired import MeasuredLevel, measure_step
from example_run import make_records
from example_store import write_run
from study_parts import measured_levels


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    """Levels of the same divergences times 5, 10 and 2."""
    for name, scale in (("a", 0.05), ("b", 0.10), ("c", 0.02)):
        write_run(tmp_path / name, scale=scale)
    return {name: tmp_path / name for name in "abc"}


def test_a_step_is_a_contrast(runs: dict[str, Path]) -> None:
    measured = measured_levels(runs)
    before, after = (
        MeasuredLevel(FactorLevel(name, "gptq-4"), measured.run_of(name).records) for name in "ab"
    )
    step = measure_step(before, after, ("kl_divergence",), seed=0).corpora["wikitext-2"]
    found = contrast(measured, "wikitext-2", {"a": -1.0, "b": 1.0})
    assert found == step["kl_divergence"]


def test_the_sum_is_of_the_records(runs: dict[str, Path]) -> None:
    """Divergences are 1, 2 and 0.4 times the same numbers; so is their sum, error and all."""
    measured = measured_levels(runs)
    mean = float(make_records(0.05).kl_divergence.astype("float64").mean())
    found = contrast(measured, "wikitext-2", {"a": 1.0, "b": -0.5, "c": 2.5})
    assert found is not None
    assert found.value == pytest.approx(mean * (1 - 0.5 * 2 + 2.5 * 0.4), rel=1e-5)
    own = contrast(measured, "wikitext-2", {"a": 1.0})
    assert own is not None
    assert found.low == pytest.approx(own.low, rel=1e-3)


def test_what_cancels_leaves_no_interval(runs: dict[str, Path]) -> None:
    found = contrast(measured_levels(runs), "wikitext-2", {"a": 2.0, "b": -1.0})
    assert found is not None
    assert found.value == pytest.approx(0, abs=1e-9)
    assert (found.high or 0) - (found.low or 0) < 1e-8


def test_losses_too(runs: dict[str, Path]) -> None:
    records = make_records(0.05)
    expected = float((records.nll.astype("float64") - records.reference_nll).mean())
    found = contrast(measured_levels(runs), "wikitext-2", {"a": 1.0}, extra_loss)
    assert found is not None
    assert found.value == pytest.approx(expected, rel=1e-6)


def test_what_cannot_be_summed(runs: dict[str, Path], tmp_path: Path) -> None:
    measured = measured_levels(runs)
    assert contrast(measured, "wikitext-2", {"a": 1.0, "missing": -1.0}) is None
    assert contrast(measured, "no-text", {"a": 1.0}) is None
    write_run(tmp_path / "short", limit=20)
    other = measured_levels({"a": runs["a"], "short": tmp_path / "short"})
    assert contrast(other, "wikitext-2", {"a": 1.0, "short": -1.0}) is None


def test_a_mean_over_texts_is_of_independent_errors(runs: dict[str, Path]) -> None:
    """The same text named once: its own interval; with a text that fails, none."""
    measured = measured_levels(runs)
    own = contrast(measured, "wikitext-2", {"a": 1.0})
    assert own is not None
    found = mean_contrast(measured, {"wikitext-2": {"a": 1.0}})
    assert found is not None
    assert found.value == own.value
    assert found.low == pytest.approx(own.low, rel=1e-12)
    assert mean_contrast(measured, {"wikitext-2": {"a": 1.0}, "no-text": {"a": 1.0}}) is None


def test_what_is_shown_is_corrected() -> None:
    """A z of 2.1 has p = 0.036: shown alone, not among two (Holm: 0.071)."""
    half = 1.959964
    edge = Estimate(value=2.1, low=2.1 - half, high=2.1 + half)
    sure = Estimate(value=9.0, low=9.0 - half, high=9.0 + half)
    none = Estimate(value=0.1, low=0.1 - half, high=0.1 + half)
    assert shown({"edge": edge}) == {"edge": True}
    assert shown({"edge": edge, "none": none}) == {"edge": False, "none": False}
    assert shown({"edge": edge, "sure": sure, "gone": None}) == {
        "edge": True, "sure": True, "gone": False,
    }  # fmt: skip
    assert shown({"bare": Estimate(value=math.pi, low=None, high=None)}) == {"bare": False}
