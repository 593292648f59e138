"""Answers that changed, as the page has them. Oracles: by hand, and the library's HTML parser."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bitloss.reports.details import Details, read_details
from bitloss.reports.flips import Flip, FlipList
from bitloss.reports.page import page
from bitloss.reports.page.flip_view import Said, flips, part
from bitloss.results import Comparison
from bitloss.runner import RunStore
from page_reader import Element, read


@pytest.fixture(scope="module")
def comparison(run: Path) -> Comparison:
    return Comparison.load(run)


@pytest.fixture(scope="module")
def elements(run: Path, comparison: Comparison) -> list[Element]:
    store = RunStore(run)
    return read(page(comparison, read_details(store, store.read_manifest())))


def test_flips_show_question_and_both_answers(elements: list[Element]) -> None:
    articles = [one for one in elements if one.tag == "article"]
    kinds = [next(part.text for part in one.all() if "way" in part.classes) for one in articles]
    assert kinds == ["right to wrong", "wrong to right"]
    first = articles[0].text
    assert "1 + 1 = ?" in first
    options = [one.text.split() for one in articles[0].all() if one.tag == "li"]
    assert options == [["1", "gptq-4"], ["2", "gold", "reference"]]
    graded = 'a "quoted", cell'
    assert said(articles[0]) == {"reference": graded, "gptq-4": graded}


def said(article: Element) -> dict[str, str]:
    """By label, what stands below it."""
    return {
        label.text: answer.text
        for label, answer in itertools.pairwise(
            [one for one in article.all() if one.tag in ("dt", "dd")]
        )
        if label.tag == "dt"
    }


def test_written_answers_are_marked_where_they_part(comparison: Comparison) -> None:
    """By hand. Half a word alike is not alike; what is alike for long is cut."""
    assert part("5*9=45. #### 45", "5*9=47. #### 47") == (
        Said("5*9=", "45.", " #### 45"), Said("5*9=", "47.", " #### 47"),
    )  # fmt: skip
    assert part("It is white, and", "It is whisky") == (
        Said("It is ", "white,", " and"), Said("It is ", "whisky", ""),
    )  # fmt: skip
    assert part("same", "same text") == (Said("same", "", ""), Said("same ", "text", ""))
    assert part("a b", "a b") == (Said("a b", "", ""), Said("a b", "", ""))
    alike = "word " * 400
    flip = Flip("right to wrong", "i", "", "q", (), "g", f"{alike}one", f"{alike}two", "", "ends")
    details = Details(flips={"sums": {"gptq-4": FlipList((flip,), 1, 0)}})
    (article,) = (one for one in read(page(comparison, details)) if one.tag == "article")
    marks = [one.text for one in article.all() if one.tag == "mark"]
    assert marks == ["one", "two"]
    answers = said(article)
    assert answers["reference"].startswith("[1,760 characters alike] … ")
    assert answers["gptq-4"].endswith("twoends")


def test_more_flips_than_shown_are_counted(comparison: Comparison) -> None:
    words = "ü<" * 5000
    one = Flip("right to wrong", "i", "", words, (words,) * 4, words, words, words, "", "")
    many = {
        f"task-{n}": {f"v{k}": FlipList((one,) * 40, 900, 33) for k in range(8)} for n in range(14)
    }
    details = Details(flips=many)
    found = page(comparison, details)
    assert len(found.encode()) < 5_000_000
    n_shown = len(flips(comparison, details)[0].variants[0].shown)
    assert 1 <= n_shown < 40
    assert f"{n_shown} of 933 are shown." in found
    assert "3,800 characters more" not in found
    assert "8,800 characters more" in found
