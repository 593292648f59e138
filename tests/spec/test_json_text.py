"""JSON with bounds; the oracle is the standard library's reader for what is within them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.spec.json_text import DEEPEST, describe_half, parse_json, parse_json_at

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_within_the_bounds(value: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert parse_json(text) == parse_json(text.encode()) == json.loads(text)
        assert parse_json_at(f"  {text}", 2) == (json.loads(text), len(text) + 2)


@pytest.mark.parametrize("pair", [("[", "]"), ('{"a": ', "}")])
def test_depth(pair: tuple[str, str]) -> None:
    begin, end = pair
    within = begin * DEEPEST + "1" + end * DEEPEST
    assert parse_json(within) == json.loads(within)
    for deeper in (DEEPEST + 1, 900, 100_000):
        text = begin * deeper + "1" + end * deeper
        for read in (parse_json, lambda text: parse_json_at(text, 0)):
            with pytest.raises(ValueError, match="more than 100 deep"):
                read(text)


@pytest.mark.parametrize(
    "text", [r'"\ud800"', r'{"a": [{"b": "x\uDFFFy"}]}', r'{"\udc00": 1}', '"\udc80"']
)
def test_halves_of_pairs(text: str) -> None:
    with pytest.raises(ValueError, match=r"half of a surrogate pair \(\\u"):
        parse_json(text)
    assert parse_json(text, allow_halves=True) == json.loads(text)


def test_pairs_are_no_halves() -> None:
    assert parse_json(r'["\ud83d\ude00", "\\ud800"]') == ["\U0001f600", r"\ud800"]
    assert describe_half("\U0001f600 text") == ""
    assert describe_half("a\ud800") == r"half of a surrogate pair (\ud800)"


@pytest.mark.parametrize("text", ["", "{", "9" * 5000, b"\xff", "\ufeff1", "1 2"])
def test_what_is_no_json(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
