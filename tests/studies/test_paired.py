"""Steps between levels, on records made by formula. Oracles: arithmetic on those records, and the
same pair analysed as reference and variant.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bitloss.analysis.corpora import analyse_corpus
from bitloss.studies.base import FactorLevel
from bitloss.studies.paired import MeasuredLevel, RunRecords, measure_step, neighbors
from example_run import make_corpus, make_records
from example_store import write_run

COLUMNS = ("relative_perplexity", "kl_divergence", "loss")


def level(name: str, records: RunRecords, series: str = "") -> MeasuredLevel:
    return MeasuredLevel(FactorLevel(name, name, series), records)


@pytest.fixture
def run(tmp_path: Path) -> RunRecords:
    """`q8.gguf` is a copy of the reference; `gptq-4` loses one of the five items it had."""
    write_run(tmp_path, right="111100")
    return RunRecords(tmp_path)


def test_a_step_from_the_reference_is_the_level_itself(run: RunRecords) -> None:
    step = measure_step(level("q8.gguf", run), level("gptq-4", run), COLUMNS, seed=0)
    expected = analyse_corpus(make_records(), make_corpus(), dtype="fp32", seed=0)
    found = step.corpora["wikitext-2"]
    assert found["relative_perplexity"] == expected.relative_perplexity
    assert found["kl_divergence"].value == expected.kl_divergence.mean
    assert found["kl_divergence"].high == expected.kl_divergence.high
    loss = step.capabilities["math"]["loss"]
    assert loss.value == pytest.approx(1 / 6)
    assert loss.low is not None
    assert loss.low < 0 < (loss.high or 0)


def test_a_step_back_is_the_inverse(run: RunRecords) -> None:
    one, other = level("q8.gguf", run), level("gptq-4", run)
    there = measure_step(one, other, COLUMNS, seed=0)
    back = measure_step(other, one, COLUMNS, seed=0)
    ratio = [s.corpora["wikitext-2"]["relative_perplexity"].value for s in (there, back)]
    assert math.prod(x or 0 for x in ratio) == pytest.approx(1, rel=1e-12)
    divergence = [s.corpora["wikitext-2"]["kl_divergence"].value or 0 for s in (there, back)]
    assert divergence[0] == -divergence[1] > 0
    losses = [s.capabilities["math"]["loss"].value or 0 for s in (there, back)]
    assert losses[0] == -losses[1] > 0


def test_a_step_is_paired(tmp_path: Path) -> None:
    """What two levels have in common leaves the interval: of the divergence, all but a tenth."""
    write_run(tmp_path / "one", scale=0.05)
    write_run(tmp_path / "other", scale=0.055)
    runs = [RunRecords(tmp_path / name) for name in ("one", "other")]
    before, after = (level("gptq-4", records) for records in runs)
    found = measure_step(before, after, COLUMNS, seed=0).corpora["wikitext-2"]["kl_divergence"]
    own = analyse_corpus(make_records(), make_corpus(), dtype="fp32", seed=0).kl_divergence
    assert found.value == pytest.approx(0.1 * np.float64(own.mean), rel=1e-4)
    widths = [(one.high or 0) - (one.low or 0) for one in (found, own)]
    assert widths[0] == pytest.approx(0.1 * widths[1], rel=1e-2)


def test_equal_levels_differ_by_exactly_nothing(run: RunRecords) -> None:
    one = level("gptq-4", run)
    step = measure_step(one, one, COLUMNS, seed=0)
    ratio, change = step.corpora["wikitext-2"].values()
    loss = step.capabilities["math"]["loss"]
    assert (ratio.value, ratio.low, ratio.high) == (1, 1, 1)
    assert (change.value, change.low, change.high) == (0, 0, 0)
    assert (loss.value, loss.low, loss.high) == (0, 0, 0)


def test_other_tokens_and_items_have_no_step(tmp_path: Path, run: RunRecords) -> None:
    write_run(tmp_path / "short", limit=20, identity="0" * 32)
    short = RunRecords(tmp_path / "short")
    step = measure_step(level("gptq-4", run), level("gptq-4", short), COLUMNS, seed=0)
    assert step.corpora == {}
    assert step.capabilities == {}


@pytest.mark.parametrize(
    ("what", "change"),
    [("digest", "0" * 64), ("protocol", "gptq"), ("averaging", "windows"), ("parameters", {})],
)
def test_another_text_or_protocol_has_no_step(
    tmp_path: Path, run: RunRecords, what: str, change: object
) -> None:
    write_run(tmp_path / "other")
    path = tmp_path / "other" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert what in manifest["corpora"]["wikitext-2"]["facts"]
    manifest["corpora"]["wikitext-2"]["facts"][what] = change
    path.write_text(json.dumps(manifest))
    other = RunRecords(path.parent)
    step = measure_step(level("gptq-4", run), level("gptq-4", other), COLUMNS, seed=0)
    assert step.corpora == {}
    assert list(step.capabilities) == ["math"]


def test_other_prompts_have_no_step(tmp_path: Path, run: RunRecords) -> None:
    """A chat template changes the reference's answers, so scores of variants are not losses."""
    write_run(tmp_path / "chat")
    path = tmp_path / "chat" / "manifest.json"
    manifest = json.loads(path.read_text())
    items = manifest["tasks"]["sums"]["items"]
    items["org/model"] = items["q8.gguf"]
    path.write_text(json.dumps(manifest))
    other = RunRecords(path.parent)
    step = measure_step(level("gptq-4", run), level("gptq-4", other), COLUMNS, seed=0)
    assert list(step.corpora) == ["wikitext-2"]
    assert step.capabilities == {}
    assert run.reference_records("sums") != other.reference_records("sums")


def test_only_the_columns_of_the_study(run: RunRecords) -> None:
    one, other = level("q8.gguf", run), level("gptq-4", run)
    step = measure_step(one, other, ("bits_per_weight", "kl_divergence"), seed=0)
    assert list(step.corpora["wikitext-2"]) == ["kl_divergence"]
    assert step.capabilities == {}
    assert measure_step(one, other, ("loss",), seed=0).corpora == {}


def test_neighbors_stay_within_their_series(run: RunRecords) -> None:
    names = [("a8", "a"), ("b8", "b"), ("a4", "a"), ("a2", "a"), ("c", "c"), ("b4", "b")]
    pairs = neighbors([level(name, run, series) for name, series in names])
    assert [(one.level.name, other.level.name) for one, other in pairs] == [
        ("a8", "a4"), ("a4", "a2"), ("b8", "b4"),
    ]  # fmt: skip
