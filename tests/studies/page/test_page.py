"""The page of a study. Oracle: the document: each number on the page is at its path there."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from bitloss.results import Estimate, Failure
from bitloss.studies.findings import (
    Chart,
    ChartCell,
    ChartPoint,
    ChartRow,
    Finding,
    FindingColumn,
    FindingRow,
    FindingTable,
)
from bitloss.studies.page import page, write_page
from bitloss.studies.result import LevelResult, ModelResult, StudyResult
from page_reader import Reader
from study_parts import ENVIRONMENT, numbers_at_paths

pytest.importorskip("vl_convert")


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.01, high=value + 0.02)


FINDING = Finding(
    name="which <size> pays",
    sentences=("Groups of 64 pay & no others.", "A second sentence."),
    tables=(
        FindingTable(
            title="from coarse groups to fine ones",
            head="step",
            columns=(
                FindingColumn(title="saved", unit="nats"),
                FindingColumn(title="rank", unit="text"),
                FindingColumn(title="rank", unit="text"),
                FindingColumn(title="share", unit="share"),
            ),
            rows=(
                FindingRow(name="row -> 128", cells=(estimate(0.25), "a", "b", 0.5)),
                FindingRow(name="128 -> 64", cells=(None, "c", "d", 0.0), note="not measured"),
            ),
        ),
    ),
    charts=(
        Chart(
            title="Divergence against bits", caption="From a to b.", across="bits", up="nats",
            unit="nats", log_y=True,
            points=tuple(
                ChartPoint(name=f"level {bits}", x=bits, y=estimate(1.0 / bits), series="s")
                for bits in (2, 3, 4)
            ),
        ),
        Chart(
            title="A matrix", caption="Rows and columns.", across="evaluated", up="calibrated",
            unit="nats",
            cells=tuple(
                ChartCell(row=row, column=column, value=estimate(0.1 + (row == column)))
                for row in ("prose", "code")
                for column in ("prose", "code")
            ),
        ),
        Chart(title="Nothing", caption="", across="x", up="y"),
    ),
)  # fmt: skip


def make(findings: tuple[Finding, ...] = (FINDING,)) -> StudyResult:
    model = ModelResult(
        name="org/<model>", digest="d" * 64, format="safetensors-bf16", run="runs/model",
        corpora={}, tasks={}, environment=ENVIRONMENT, findings=findings or None,
        levels=(
            LevelResult(level="four", recipe="gptq-4"),
            LevelResult(
                level="five", recipe="gptq-3", error=Failure(message="no way", hint="use 4")
            ),
        ),
        steps=(),
    )  # fmt: skip
    return StudyResult(
        study="group-size", factor="group size", question="Which size pays?",
        columns=("kl_divergence",), models=(model,), command="bitloss study group-size org/model",
    )  # fmt: skip


def test_answer_effect_table_method_command() -> None:
    text = page(make())
    root = Reader(text).root
    shown = root.text
    assert "Which size pays?" in shown
    lead = next(one for one in root.all() if "lead" in one.classes)
    assert lead.text == "Groups of 64 pay & no others."
    assert "org/<model>, five failed" in shown
    assert "bitloss study group-size org/model" in shown
    assert [one.tag for one in root.all()].count("svg") == 2
    assert "<model>" not in text.replace("&lt;model&gt;", "")
    titles = [one.text for one in root.all() if one.tag == "th" and one.parent]
    assert titles.count("rank") == 2  # columns of one name are two columns


def test_every_number_is_at_its_path() -> None:
    result = make()
    assert numbers_at_paths(page(result), result.to_json()) >= 7


def test_a_ranking_has_a_spot_and_a_name_per_row() -> None:
    chart = Chart(
        title="Parts", caption="Alone.", across="percent", up="", unit="share", around=0.0,
        rows=(
            ChartRow(name="down", value=estimate(0.31)),
            ChartRow(name="q", value=estimate(0.1)),
            ChartRow(name="nothing", value=Estimate(value=None, low=None, high=None)),
        ),
    )  # fmt: skip
    root = Reader(page(make((Finding(name="parts", charts=(chart,)),)))).root
    svg = next(one for one in root.all() if one.tag == "svg")
    texts = [one.text for one in svg.all() if one.tag == "text"]
    assert "down" in texts
    assert "nothing" not in texts
    tips = [one.text for one in svg.all() if one.tag == "title"]
    assert tips == ["down: 31.0%", "q: 10.0%"]


def test_names_at_the_ends_of_lines_do_not_touch() -> None:
    """Four lines that end within a hundredth of each other: names are a line of type apart."""
    names = ["reference", "gguf-q8_0", "gguf-q4_k_m", "gguf-q2_k"]
    chart = Chart(
        title="Keys", caption="Found.", across="tokens", up="share", unit="share", log_x=True,
        points=tuple(
            ChartPoint(
                name=name if x == 512 else "", x=x, y=estimate(0.9 + place / 500), series=name
            )
            for place, name in enumerate(names)
            for x in (128, 256, 512)
        ),
    )  # fmt: skip
    root = Reader(page(make((Finding(name="keys", charts=(chart,)),)))).root
    svg = next(one for one in root.all() if one.tag == "svg")
    places = {
        one.text: re.findall(r"-?[\d.]+", one.attributes["transform"])
        for one in svg.all()
        if one.tag == "text" and one.text in names
    }
    assert sorted(places) == sorted(names)
    assert len({x for x, _ in places.values()}) == 1
    heights = [float(places[name][1]) for name in names]
    assert all(above - below >= 12 for above, below in itertools.pairwise(heights))


def test_nothing_is_loaded() -> None:
    text = page(make())
    assert "default-src &#39;none&#39;" in text
    assert not re.search(r"<script|<link|src=|url\(", text)


def test_a_study_without_conclusions_has_a_page(tmp_path: Path) -> None:
    path = write_page(make(()), tmp_path / "page.html")
    assert "Nothing was concluded" in path.read_text()
