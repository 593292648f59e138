"""Lengths and ends of generated texts, and scores of 0%, in tables, page, card and gate.

Oracle: records made by hand, read back from the run directory.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitloss.checks import judge, rules_of
from bitloss.reports.card import card_content, section
from bitloss.reports.details import Details
from bitloss.reports.page.compose import compose
from bitloss.results import Comparison
from bitloss.tables.comparison import all_tables
from bitloss.tables.tasks import conditions
from bitloss.tables.text_table import TextTable
from bitloss.tables.texts import TITLE
from example_store import write_run


def texts(tokens: float, thinking: float, cut: float, unanswered: float, loops: float) -> dict:
    names = ("answer_tokens", "thinking_tokens", "cut_off", "unanswered", "loops")
    values = (tokens, thinking, cut, unanswered, loops)
    return {name: [value] * 6 for name, value in zip(names, values, strict=True)}


def tables(comparison: Comparison) -> dict[str, TextTable]:
    return {table.title: table for table in all_tables(comparison)}


def page(comparison: Comparison) -> str:
    return compose(comparison, Details())


@pytest.fixture
def looping(tmp_path: Path) -> Comparison:
    """gptq-4 loops where the reference does not, and does not always end its thinking."""
    plain = texts(10, 20, 0, 0, 0)
    writing = {"reference": plain, "gptq-4": texts(40, 50, 0.5, 0.25, 0.5), "q8.gguf": plain}
    return write_run(
        tmp_path / "run",
        writing=writing,
        chat={"template_args": {"x": False}, "thinking_markers": ("<t>", "</t>")},
    )


def test_a_copy_that_loops_more_is_seen(looping: Comparison) -> None:
    writing = (looping.variants[0].tasks or {})["sums"].writing
    assert writing is not None
    assert writing.model_dump() == {
        "answer_tokens": 40, "thinking_tokens": 50, "cut_off": 0.5, "unanswered": 0.25,
        "loops": 0.5, "same_text": None, "parts_at": None,
    }  # fmt: skip
    table = tables(looping)[TITLE]
    rows = [[str(row[name]) for name in table.columns] for row in table.rows]
    assert rows[0] == ["sums", "reference", "10", "20", "0%", "0%", "0%"]
    assert rows[1] == ["", "gptq-4", "40", "50", "50.0%", "25.0%", "50.0%"]
    assert any("--thinking-budget" in note for note in table.notes)
    assert TITLE in str(looping)
    assert TITLE in section(card_content(looping))
    shown = page(looping)
    assert "Generated texts" in shown
    assert 'data-path="variants.0.tasks.sums.writing.loops"' in shown


def ends(bad: str, **others: str) -> dict[str, list[float]]:
    """Six texts, of which those marked 1 were cut off and, unless it is said, did not loop."""
    columns = texts(10, 0, 0, 0, 0)
    marks = {"cut_off": bad, "loops": "000000", **others}
    return {**columns, **{name: [float(mark) for mark in row] for name, row in marks.items()}}


def test_more_texts_that_are_cut_off_are_said_to_be_where_it_is_shown(tmp_path: Path) -> None:
    """Six of six, none with the reference: p = 2 / 2^6 = 0.031 (McNemar), and of the family of two
    ways (cut off, loops) the second, two of six (p = 0.5), cannot reach so small a p-value.
    """
    writing = {
        "reference": ends("000000"), "q8.gguf": ends("000000"),
        "gptq-4": ends("111111", loops="110000"),
    }  # fmt: skip
    comparison = write_run(tmp_path / "run", writing=writing)
    endings = (comparison.variants[0].tasks or {})["sums"].endings
    assert endings is not None
    cut, loops = endings["cut_off"], endings["loops"]
    assert (cut.more, cut.fewer, cut.difference.value) == (6, 0, 1.0)
    assert cut.p_value_alone == cut.p_value == pytest.approx(2 / 2**6)
    assert (loops.more, loops.fewer, loops.p_value_alone) == (2, 0, 0.5)
    assert loops.p_value == 0.5
    assert (comparison.variants[1].tasks or {})["sums"].endings is None  # none of any model's
    (said,) = (note for note in tables(comparison)[TITLE].notes if "reference" in note)
    assert said.startswith("gptq-4: more texts are cut off on sums (+100.0 [")
    assert "loops" not in said
    assert said in page(comparison)
    assert said in section(card_content(comparison))


def test_texts_that_end_alike_are_not_said_to_differ(tmp_path: Path) -> None:
    """Five of six would be p = 0.0625; and the same ones on both sides are no difference at all."""
    same = ends("101010")
    writing = {"reference": same, "q8.gguf": same, "gptq-4": ends("111111")}
    comparison = write_run(tmp_path / "run", writing=writing)
    first, copy = ((v.tasks or {})["sums"].endings or {} for v in comparison.variants)
    assert (first["cut_off"].more, first["cut_off"].fewer) == (3, 0)
    assert first["cut_off"].p_value == pytest.approx(0.25)
    assert copy["cut_off"].difference.is_nothing
    assert copy["cut_off"].p_value is None
    assert not any("reference" in note for note in tables(comparison)[TITLE].notes)


def test_several_texts_of_an_item_are_tested_by_their_mean(tmp_path: Path) -> None:
    """Shares of an item's texts are neither 0 nor 1: there is no count of items that changed."""
    halves = {**ends("000000"), "cut_off": [0.5] * 6}
    writing = {"reference": ends("000000"), "q8.gguf": ends("000000"), "gptq-4": halves}
    comparison = write_run(tmp_path / "run", writing=writing)
    changed = ((comparison.variants[0].tasks or {})["sums"].endings or {})["cut_off"]
    assert (changed.difference.value, changed.more, changed.p_value_alone) == (0.5, None, None)
    assert changed.p_value is not None


def test_how_the_template_was_applied_is_a_condition(looping: Comparison) -> None:
    task = (looping.reference.tasks or {})["sums"]
    assert conditions(task) == "acc, 2 shots, chat template, x=false"
    assert json.loads(looping.to_json())["reference"]["tasks"]["sums"]["chat"] == {
        "template_args": {"x": False}, "thinking_budget": None, "thinking_markers": ["<t>", "</t>"],
    }  # fmt: skip


def test_nothing_is_said_of_texts_that_end_by_themselves(tmp_path: Path) -> None:
    usual = texts(10, 0, 0, 0, 0)
    of = dict.fromkeys(("reference", "gptq-4", "q8.gguf"), usual)
    result = write_run(tmp_path / "run", writing=of)
    assert TITLE not in tables(result)
    assert "Generated texts" not in page(result)
    assert (result.reference.tasks or {})["sums"].writing is not None
    options = write_run(tmp_path / "options")
    assert (options.reference.tasks or {})["sums"].writing is None
    assert '"writing"' not in options.to_json()


def test_nothing_beside_nothing_is_said_in_words(tmp_path: Path) -> None:
    result = write_run(tmp_path / "run", reference="000000", right="000000", chance=None)
    words = "sums: not measurable: the reference and gptq-4, q8.gguf score 0%"
    (title,) = (title for title in tables(result) if title.startswith("tasks"))
    table = tables(result)[title]
    assert [row.get("change") for row in table.rows[1:]] == ["not measurable"] * 2
    for text in (str(result), section(card_content(result)), page(result)):
        assert "not measurable" in text
        assert words.partition(": the")[0] in text
    rules = rules_of({"max_loss": {"sums": "2%"}})
    for judgment in judge(result, rules).judgments:
        assert judgment.outcome == "undecided"
        assert "both score 0%" in judgment.reason


def test_a_score_that_rises_from_nothing_is_a_number(tmp_path: Path) -> None:
    result = write_run(tmp_path / "run", reference="000000", right="110000", chance=None)
    (title,) = (title for title in tables(result) if title.startswith("tasks"))
    changes = [str(row.get("change")) for row in tables(result)[title].rows[1:]]
    assert changes[0].startswith("+33.3")
    assert changes[1] == "not measurable"
