"""What charts show, and where their labels go. Oracles: counted by hand, and XML's own parser."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bitloss.reports.chart_parts import fitting, linear_axis, log_axis, place_below, place_beside
from bitloss.reports.charts import charts
from bitloss.reports.details import Details
from bitloss.reports.draw import png, svg
from bitloss.reports.scatter import pareto
from bitloss.results import Comparison
from example_run import make_comparison
from example_store import write_run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return write_run(tmp_path_factory.mktemp("run"))


def test_long_names_are_shortened_where_that_is_clear() -> None:
    names = {"a": "short", "b": "Llama-3.1-70B-Instruct-Q4_K_M.gguf"}
    assert fitting(names) == {"a": "short", "b": "Llama-3.1-…Q4_K_M.gguf"}
    same = {"a": "x" * 15 + "1" + "y" * 15, "b": "x" * 15 + "2" + "y" * 15}
    assert fitting(same) == same


def test_front_is_what_nothing_smaller_beats(comparison: Comparison) -> None:
    """By hand: the copy diverges by 0, so whatever is larger than it is off the front."""
    assert pareto(comparison, "wikitext-2") == ("gptq-4", "q8.gguf")
    larger = [
        variant.model_copy(update={"bits_per_weight": 9.0}) if variant.name == "gptq-4" else variant
        for variant in comparison.variants
    ]
    moved = comparison.model_copy(update={"variants": tuple(larger)})
    assert pareto(moved, "wikitext-2") == ("q8.gguf",)


def test_labels_do_not_cover_dots_or_each_other() -> None:
    spots = [(100.0, 100.0), (112.0, 100.0), (100.0, 112.0)]
    places = place_beside(spots, ["one", "two", "three"], (300, 200))
    boxes = [
        (x + dx - {"left": 0, "center": 17, "right": 34}[align], y + dy - 6)
        for (x, y), (dx, dy, align) in zip(spots, places, strict=True)
    ]
    for (left, top), (other, above) in itertools.combinations(boxes, 2):
        assert abs(left - other) >= 20 or abs(top - above) >= 12


def test_heights_are_moved_apart_and_stay_in_order() -> None:
    """Three names wanted at one height, 14 pixels each: the middle one stays."""
    assert place_below([50.0, 50.0, 50.0], 14) == [36, 50, 64]
    assert place_below([10.0, 100.0], 14) == [10, 100]


def test_axes_have_round_ends() -> None:
    axis = log_axis([0.0, 5.5e-5, 0.347], 100)
    assert (axis.low, axis.high) == (5e-5, 0.5)
    assert axis.ticks == (1e-4, 1e-3, 1e-2, 1e-1)
    axis = linear_axis([1.0007, 1.293], 100, around=1.0)
    assert (axis.low, axis.high) == (1.0, 1.3)
    assert axis.at(1.15) == pytest.approx(50)
    axis = linear_axis([1.0, 1.0], 100, around=1.0)  # a copy of the reference alone
    assert axis.at(1.0) == pytest.approx(50)


def test_svg_has_nothing_that_a_strict_page_refuses() -> None:
    chart = charts(make_comparison(), Details())["divergence-by-size:wikitext-2"]
    root = ElementTree.fromstring(svg(chart, 'a "b" & <c>\x00'))
    assert root.attrib["aria-label"] == 'a "b" & <c>\N{REPLACEMENT CHARACTER}'
    keys = {key for element in root.iter() for key in element.attrib}
    assert not {key for key in keys if key.startswith(("on", "style", "id", "class", "{"))}
    tips = [element.text for element in root.iter("title")]
    assert len(tips) == 2
    assert any(tip is not None and tip.startswith("gptq-4: ") for tip in tips)


def test_png_is_a_picture(tmp_path: Path) -> None:
    chart = charts(make_comparison(), Details())["perplexity-by-size:wikitext-2"]
    assert png(chart).startswith(b"\x89PNG\r\n\x1a\n")
