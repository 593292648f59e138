"""Effects that are certain, on the bundled model: by sign and significance, as studies say them.

Oracles: 2-bit GPTQ is better on the text that it was calibrated on (Frantar et al. 2023 minimize
the error on it); smaller groups lose less at 3 bits; fewer bits lose more.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import bitloss
from bitloss.spec.calibration import Calibration
from bitloss.studies import StudyResult

WINDOWS = {"max_length": 256, "stride": 256}
LITTLE = Calibration("pocket-calibration-mixed", samples=8, length=256)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("effects")


@pytest.fixture(autouse=True)
def _cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLOSS_CACHE", str(place / "cache"))


def sentences(result: StudyResult) -> str:
    (model,) = result.models
    return " ".join(text for one in model.findings or () for text in one.sentences)


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama_cpp is not installed")
def test_fewer_bits_lose_more(place: Path) -> None:
    result = bitloss.study(
        "bits",
        ["pocket"],
        vary=["gguf-q8_0", "gguf-q2_k"],
        corpora=["pocket-prose"],
        limit=20,
        out=place,
        **WINDOWS,
    )
    assert "divergence is shown to grow at 1 of 1 steps" in sentences(result)
    table = next(t for one in result.models[0].findings or () for t in one.tables)
    expected = {row.name: row.cells[1] for row in table.rows}
    assert expected == {"gguf-q8_0": "1.03-1.06", "gguf-q2_k": "from 1.15"}


@pytest.mark.skipif(find_spec("gptqmodel") is None, reason="gptqmodel is not installed")
def test_smaller_groups_lose_less_at_three_bits(place: Path) -> None:
    result = bitloss.study(
        "group-size",
        ["pocket"],
        vary=["gptq-3-g32", "gptq-3-row"],
        corpora=["pocket-prose"],
        limit=40,
        calibration=LITTLE,
        out=place,
        **WINDOWS,
    )
    (finding,) = result.models[0].findings or ()
    (row,) = finding.tables[0].rows
    saved = row.cells[2]
    assert row.name == "gptq-3-row -> gptq-3-g32"
    assert saved.low > 0
    assert row.cells[4] == 4 ** -(19 / 32)


@pytest.mark.skipif(find_spec("gptqmodel") is None, reason="gptqmodel is not installed")
def test_another_domain_costs_at_two_bits(place: Path) -> None:
    result = bitloss.study(
        "calibration",
        ["pocket"],
        vary=["gptq-2@prose", "gptq-2@code"],
        calibration=Calibration(samples=8, length=256),
        limit=24,
        out=place,
        **WINDOWS,
    )
    assert "gptq-2: calibrating on another domain's text costs" in sentences(result)
    levels = {level.level: level.corpora for level in result.models[0].levels}
    for own, other in (("prose", "code"), ("code", "prose")):
        mine = levels[f"gptq-2@{own}"][own]["kl_divergence"]
        theirs = levels[f"gptq-2@{other}"][own]["kl_divergence"]
        assert mine.high < theirs.low
    tasks = next(one for one in result.models[0].findings or () if one.name.startswith("tasks:"))
    costs, losses = tasks.tables
    assert [row.name for row in costs.rows] == ["gptq-2, prose", "gptq-2, code", "gptq-2, all"]
    assert [column.title for column in losses.columns] == ["text completion", "code"]
    (prose, code), own = zip(*(row.cells for row in losses.rows), strict=True), costs.rows
    # Of two texts the other one is the mean of all others: cell less cell.
    assert own[0].cells[0].value == pytest.approx(prose[1].value - prose[0].value)
    assert own[1].cells[0].value == pytest.approx(code[0].value - code[1].value)
    assert own[2].cells[0].value == pytest.approx(
        (own[0].cells[0].value + own[1].cells[0].value) / 2
    )
