"""Sums of levels on items. Oracles: items counted by hand, and a step between neighbors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitloss.analysis.task_items import TaskItems
from bitloss.metrics.paired import mean_shift
from bitloss.results import Estimate
from bitloss.studies.base import FactorLevel
from bitloss.studies.item_contrast import _summed, item_contrast, mean_of
from bitloss.studies.paired import MeasuredLevel, measure_step
from example_store import write_run
from study_parts import measured_levels


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    """Of six items the reference gets five right; levels four, three and five."""
    for name, right in (("a", "111100"), ("b", "011100"), ("c", "111110")):
        write_run(tmp_path / name, right=right)
    return {name: tmp_path / name for name in "abc"}


def test_a_level_against_the_mean_of_others(runs: dict[str, Path]) -> None:
    """b loses two items of six; a one and c none: 2/6 - (1/6 + 0) / 2."""
    found = item_contrast(measured_levels(runs), "sums", {"b": 1.0, "a": -0.5, "c": -0.5})
    assert found is not None
    assert found.value == pytest.approx(2 / 6 - 0.5 / 6)
    assert found.low is not None
    assert found.low < found.value < (found.high or 0)


def test_a_step_is_a_contrast(runs: dict[str, Path]) -> None:
    measured = measured_levels(runs)
    before, after = (
        MeasuredLevel(FactorLevel(name, "gptq-4"), measured.run_of(name).records) for name in "ab"
    )
    step = measure_step(before, after, ("loss",), seed=0).capabilities["math"]["loss"]
    found = item_contrast(measured, "sums", {"a": -1.0, "b": 1.0})
    assert found is not None
    assert found.value == pytest.approx(step.value)
    assert found.low == pytest.approx(step.low)
    assert found.high == pytest.approx(step.high)


def test_expected_scores_decide_where_they_stand_for_the_score(runs: dict[str, Path]) -> None:
    """Of options the probability of the right one counts, 0.75 and 0.65: a tenth is lost, and
    no item changes sides.
    """
    records = measured_levels(runs).run_of("a").records
    asked = {"gold_tokens": np.full(6, 2), "gold_nll": np.full(6, 0.5), "gold_kl": np.full(6, 0.1)}

    def with_options(items: TaskItems | None, likely: float) -> TaskItems:
        assert items is not None
        return replace(items, columns={**items.columns, **asked, "right": np.full(6, likely)})

    reference = with_options(records.reference_items("sums"), 0.8)
    levels = [with_options(records.items("sums", "gptq-4"), likely) for likely in (0.75, 0.65)]
    found, _ = _summed(levels, reference, [-1.0, 1.0])
    expected = mean_shift(np.full(6, 0.1))
    assert found.value == pytest.approx(expected.value)
    assert found.low == pytest.approx(expected.low)


def test_what_cannot_be_summed(runs: dict[str, Path], tmp_path: Path) -> None:
    measured = measured_levels(runs)
    assert item_contrast(measured, "sums", {"a": 1.0, "missing": -1.0}) is None
    assert item_contrast(measured, "no-task", {"a": 1.0}) is None
    assert item_contrast(measured, "sums", {}) is None
    write_run(tmp_path / "other", identity="0" * 32)
    other = measured_levels({"a": runs["a"], "other": tmp_path / "other"})
    assert item_contrast(other, "sums", {"a": 1.0, "other": -1.0}) is None


def test_a_mean_is_of_all_or_none() -> None:
    one = Estimate(value=0.1, low=0.0, high=0.2)
    found = mean_of([one, one])
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - 0.1 / 2**0.5)  # independent errors
    same = mean_of([one, one], dependent=True)  # on the same items: errors may have one sign
    assert same is not None
    assert same.low == pytest.approx(0.0)
    assert mean_of([one, None]) is None
    assert mean_of([]) is None
