"""What charts show, and where their labels go. Oracles: counted by hand, and XML's own parser."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bitloss.reports.chart_parts import fitting, linear_axis, log_axis, place_below, place_beside
from bitloss.reports.charts import charts
from bitloss.reports.details import Details, read_details
from bitloss.reports.draw import png, svg
from bitloss.reports.families import families, family_colors
from bitloss.reports.labels import freest_place, place_labels, text_box
from bitloss.reports.quantities import PERPLEXITY, pareto
from bitloss.results import Comparison
from bitloss.runner import RunStore
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
    """By hand: the copy diverges by 0, so whatever is larger than it is off the front. Files of
    unknown sizes are held against each other by bits per weight.
    """
    assert pareto(comparison, "wikitext-2") == ("gptq-4", "q8.gguf")
    for size in ({"file_bytes": 10**12}, {"bits_per_weight": 9.0, "file_bytes": None}):
        larger = [
            variant.model_copy(update=size) if variant.name == "gptq-4" else variant
            for variant in comparison.variants
        ]
        moved = comparison.model_copy(update={"variants": tuple(larger)})
        assert pareto(moved, "wikitext-2") == ("q8.gguf",)


def test_each_quantity_has_its_own_front(comparison: Comparison) -> None:
    """By hand: the larger file has the lower divergence and the higher perplexity."""
    small, *rest = comparison.variants
    corpus = small.corpora["wikitext-2"]
    better = corpus.relative_perplexity.model_copy(update={"value": 0.9})
    small = small.model_copy(
        update={
            "corpora": {"wikitext-2": corpus.model_copy(update={"relative_perplexity": better})}
        }
    )
    changed = comparison.model_copy(update={"variants": (small, *rest)})
    assert pareto(changed, "wikitext-2") == ("gptq-4", "q8.gguf")
    assert pareto(changed, "wikitext-2", PERPLEXITY) == ("gptq-4",)


def test_labels_do_not_cover_dots_or_each_other() -> None:
    spots = [(100.0, 100.0), (112.0, 100.0), (100.0, 112.0)]
    places = place_beside(spots, ["one", "two", "three"], (300, 200))
    boxes = [
        (x + dx - {"left": 0, "center": 17, "right": 34}[align], y + dy - 6)
        for (x, y), (dx, dy, align) in zip(spots, places, strict=True)
    ]
    for (left, top), (other, above) in itertools.combinations(boxes, 2):
        assert abs(left - other) >= 20 or abs(top - above) >= 12


def test_labels_keep_off_lines_and_texts() -> None:
    """A dot with a line to its right, and a text on its left: its name goes above or below."""
    dot, line = (100.0, 100.0), [(100.0, 100.0), (290.0, 100.0)]
    blocked = [(20.0, 94.0, 92.0, 106.0)]
    ((dx, dy, align),) = place_labels([dot], ["name"], (300, 200), [line], blocked)
    left, top, right, bottom = text_box(*dot, "name", (dx, dy, align))
    assert bottom <= 98 or top >= 102
    assert not (right > 20 and left < 92 and bottom > 94 and top < 106)


def test_names_of_many_dots_in_a_row_stay_apart() -> None:
    """Ten dots ten pixels apart: no name is on another, whatever it takes."""
    spots = [(60.0 + 10 * n, 120.0 + 3 * n) for n in range(10)]
    names = [f"gguf-{n}_k" for n in range(10)]
    places = place_labels(spots, names, (400, 300))
    boxes = [
        text_box(*at, name, place) for at, name, place in zip(spots, names, places, strict=True)
    ]
    for (left, top, right, bottom), (x, y, r, b) in itertools.combinations(boxes, 2):
        assert min(right, r) - max(left, x) <= 0 or min(bottom, b) - max(top, y) <= 0


def test_text_of_a_line_goes_where_nothing_is() -> None:
    dots = [[(280.0, 90.0)], [(280.0, 110.0)]]  # at its right end, above and below
    x, dy, align = freest_place("reference", 100.0, (300, 200), dots)
    assert (x, align) != (300, "right")
    assert abs(dy) >= 6
    full = [[(x, 190.0)] for x in range(0, 300, 10)]  # along an axis, below which are its numbers
    assert freest_place("reference", 200.0, (300, 200), full)[1] < 0


def test_families_are_formats_or_publishers_and_keep_their_colors(comparison: Comparison) -> None:
    assert families(comparison) == {"gptq-4": "GPTQ", "q8.gguf": "GGUF"}
    alone = {name: name for name in ("GPTQ",)}
    both = family_colors({"a": "GPTQ", "b": "GGUF", "c": "other", "d": "another"})
    assert family_colors(alone)["GPTQ"] == both["GPTQ"]
    assert len(set(both.values())) == 4
    names = ("one/model-GGUF:Q4_K_M", "two/model-GGUF:Q4_K_M")
    same = [
        variant.model_copy(update={"name": name, "format": "gguf-q4_k_m"})
        for variant, name in zip(comparison.variants, names, strict=True)
    ]
    published = comparison.model_copy(update={"variants": tuple(same)})
    assert set(families(published).values()) == {"one", "two"}


def test_lines_have_their_familys_color_and_differ_in_their_strokes(
    comparison: Comparison, run: Path
) -> None:
    """Oracle: the colors of the charts of quality against size, if there are several families."""
    store = RunStore(run)
    details = read_details(store, store.read_manifest())
    copy, third = (
        comparison.variants[1],
        comparison.variants[0].model_copy(update={"name": "q4.gguf", "format": "gguf-q4_0"}),
    )
    for part in (details.loss_traces["wikitext-2"], details.quantiles["wikitext-2"]):
        part["q4.gguf"] = part.pop("gptq-4")
    several = comparison.model_copy(update={"variants": (*comparison.variants, third)})
    alone = comparison.model_copy(update={"variants": (copy, third)})
    for of, colors, strokes in ((several, 1, 2), (alone, 2, 1)):
        drawn = charts(of, details)["loss-along-text:wikitext-2"].to_dict()["layer"][0]["encoding"]
        assert drawn["color"]["scale"]["domain"] == ["q8.gguf", "q4.gguf"]
        assert len(set(drawn["color"]["scale"]["range"])) == colors
        assert len({tuple(one) for one in drawn["strokeDash"]["scale"]["range"]}) == strokes
        if colors == 1:
            assert drawn["color"]["scale"]["range"][0] == family_colors(families(of))["GGUF"]


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


def test_every_chart_is_as_vega_lite_has_it(tmp_path: Path) -> None:
    """Oracle: Vega-Lite's schema, which drawing does without."""
    comparison = write_run(tmp_path, right="101111")
    store = RunStore(tmp_path)
    drawn = charts(comparison, read_details(store, store.read_manifest()))
    assert len(drawn) == 6
    for chart in drawn.values():
        chart.to_dict()


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
