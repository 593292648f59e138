"""Expected indices by hand."""

from __future__ import annotations

import pytest

from bitloss.tasks.custom.golds import AmbiguousGold, index_of, infer_gold_kind

WORDS = ("red", "green", "blue")


@pytest.mark.parametrize(
    ("gold", "reading", "index"),
    [
        ("green", "text", 1), (" green ", "text", 1), ("grey", "text", None),
        ("A", "letter", 0), ("c", "letter", 2), ("D", "letter", None), ("", "letter", None),
        ("é", "letter", None), ("AB", "letter", None),
        ("0", "index", 0), ("3", "index", None), ("-1", "index", None), ("²", "index", None),
        ("1", "number", 0), ("3", "number", 2), ("0", "number", None), ("1.0", "number", None),
    ],
)  # fmt: skip
def test_index(gold: str, reading: str, index: int | None) -> None:
    assert index_of(gold, WORDS, reading) == index  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("golds", "reading"),
    [
        (["red", "blue"], "text"),
        (["A", "C"], "letter"),
        (["0", "2"], "index"),  # 0 is no number from 1
        (["1", "3"], "number"),  # 3 is no index from 0
        (["red", "blue", "grey"], "text"),  # fits the most
    ],
)
def test_reading_is_found(golds: list[str], reading: str) -> None:
    assert infer_gold_kind([(gold, WORDS) for gold in golds]) == reading


def test_readings_that_agree_are_no_question() -> None:
    assert infer_gold_kind([("B", ("A", "B", "C"))]) == "text"


@pytest.mark.parametrize(
    ("golds", "options"),
    [(["1", "2"], WORDS), (["A"], ("C", "A", "B")), (["2"], ("1", "3", "2"))],
)
def test_readings_that_differ_are_asked_about(golds: list[str], options: tuple[str, ...]) -> None:
    with pytest.raises(AmbiguousGold, match="gold_as: "):
        infer_gold_kind([(gold, options) for gold in golds])
