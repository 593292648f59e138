"""Plain data over the pipes. Oracle: the value itself, compared with its types; for damaged bytes,
that nothing but `Malformed` comes of them."""

from __future__ import annotations

import contextlib
import enum
import math
import struct
from array import array
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.sandbox.inside import codec
from bitloss.sandbox.inside.codec import MAX_BYTES, MAX_DEPTH, Malformed, Unsupported

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False) | st.binary()
    | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
plain = st.recursive(
    hashable | st.sets(hashable, max_size=4),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(hashable, inner, max_size=4),
    max_leaves=20,
)
Point = namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 3


def typed(value: Any) -> Any:
    """The value with the types of all of its parts; order of dictionaries counts."""
    if isinstance(value, dict):
        return dict, [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), value
    if isinstance(value, float):
        return float, struct.pack("<d", value)
    return type(value), value


@given(plain)
@settings(max_examples=100, deadline=None)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    assert typed(codec.decode(codec.encode(value))) == typed(value)


EDGES = (
    float("nan"), -0.0, float("-inf"), complex(-0.0, float("inf")), 10**5000, -(2**63), 2**63,
    [2**63], [True, 1], [1, 1.0], "\ud800", "\ud800\udc00", ["\ud800", "\udc00"], [""] * 3,
    ["é", "a"], [], (), {}, [[]], {1: [2]}, {(): None}, [float("nan"), 1.0],
)  # fmt: skip


@pytest.mark.parametrize("index", range(len(EDGES)))
def test_edges(index: int) -> None:
    value = EDGES[index]
    assert typed(codec.decode(codec.encode(value))) == typed(value)


def test_subclasses_become_what_they_are_made_of() -> None:
    class Matrix(list[int]):
        pass

    for value, expected in [(Matrix([1]), [1]), (Colour.RED, 3)]:
        assert typed(codec.decode(codec.encode(value))) == typed(expected)


KINDS: tuple[Any, ...] = (
    range(2, 9, 3), slice(1, None, 2), ..., {"a": 1}.keys(), {"a": [1]}.items(),
    OrderedDict(a=1).keys(), Counter("aab"), OrderedDict(b=1, a=2), deque([1, [2]], maxlen=3),
    defaultdict(list, a=[1]), bytearray(b"x"), array("d", [0.5]), Decimal("1.10"),
    Decimal("-Infinity"), Fraction(-6, 4), date(2024, 2, 29), time(1, 2, 3, 4, UTC, fold=1),
    datetime(2024, 2, 29, 1, 2, 3, 4, timezone(timedelta(hours=2), "X")), timedelta(-1, 2, 3),
    UUID(int=5), PurePosixPath("a/b"), Point(1, [2]),
)  # fmt: skip


@pytest.mark.parametrize("index", range(len(KINDS)))
def test_types_of_the_standard_library(index: int) -> None:
    value = KINDS[index]
    got = codec.decode(codec.encode(value))
    assert got == value
    assert repr(got) == repr(value).replace("odict_keys", "dict_keys")
    assert type(got).__name__ == type(value).__name__.replace("odict", "dict")
    assert getattr(got, "default_factory", None) is getattr(value, "default_factory", None)


def test_values_of_a_dict_stay_a_view() -> None:
    got = codec.decode(codec.encode({"a": 1, "b": 1}.values()))
    assert type(got) is type({}.values())
    assert list(got) == [1, 1]


def test_what_only_calls_itself_so_is_no_instance() -> None:
    class Decimal:
        def __str__(self) -> str:
            return "4"

    Decimal.__module__, Decimal.__qualname__ = "decimal", "Decimal"
    with pytest.raises(Unsupported, match="type Decimal"):
        codec.encode(Decimal())


def test_the_same_list_twice_is_one_list() -> None:
    """Where both sides count them: a reply can name an argument, and an argument another."""
    row = [0]
    out = codec.Writer()
    out.numbers, out.objects = {}, []
    data = codec.Reader(codec.encode([row, row, {"a": deque([row])}], out))
    data.objects, data.counting = [], True
    first, second, third = codec.decode(data)
    assert first is second is third["a"][0]
    assert [type(each).__name__ for each in data.objects] == ["list", "list", "dict", "deque"]
    assert typed(out.objects[1]) == typed(data.objects[1])


def test_what_a_subclass_says_of_itself_does_not_count() -> None:
    class Liar(str):
        def __str__(self) -> str:
            return "4"

        encode = __repr__ = __str__  # type: ignore[assignment]

    assert codec.decode(codec.encode(Liar("5"))) == "5"


def test_iterators_stay_iterators() -> None:
    got = codec.decode(codec.encode(map(abs, [-1, 2])))
    assert got != [1, 2]
    assert list(got) == [1, 2]


@pytest.mark.parametrize(
    "value", [object(), len, int, UserDict(), {1: object()}, math], ids=lambda v: type(v).__name__
)
def test_anything_else_is_refused_by_its_type(value: Any) -> None:
    with pytest.raises(Unsupported, match="a value of type"):
        codec.encode(value)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded_on_both_sides() -> None:
    codec.decode(codec.encode(nested(MAX_DEPTH - 1)))
    with pytest.raises(Unsupported, match="deeper"):
        codec.encode(nested(MAX_DEPTH))
    one = struct.pack("<cI", b"l", 1)
    with pytest.raises(Malformed, match="deeper"):
        codec.decode(one * 10_000 + b"N")


def test_size_is_bounded_on_both_sides() -> None:
    for value in ("x" * MAX_BYTES, [b"x" * 1000] * (MAX_BYTES // 1000), [0.5] * (MAX_BYTES // 8)):
        with pytest.raises(Unsupported, match="bytes"):
            codec.encode(value)
    with pytest.raises(Malformed, match="more than"):
        codec.decode(b"N" * (MAX_BYTES + 1))


def test_doubled_lists_end_at_the_size() -> None:
    value: list[Any] = ["x" * 10_000]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(Unsupported, match="bytes"):
        codec.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"l", b"NN", b"q\0", b"s\xff\xff\xff\xff", b"l\xff\xff\xff\x7f",
        b"Q\xff\xff\xff\xff", b"s\1\0\0\0\xff", b"d\1\0\0\0N", b"S\1\0\0\0l\0\0\0\0",
        b"d\2\0\0\0l\0\0\0\0N", b"U\1\0\0\0\5\0\0\0\1\0\0\0a", b"U\1\0\0\0\0\0\0\0\1\0\0\0a",
        b"i\5\0\0\0a", b"xs\1\0\0\0zt\0\0\0\0", b"xs\5\0\0\0ranget\0\0\0\0", b"xN", b"B\3\0\0\0int",
        b"h\0\0\0\0", b"H\0\0\0\0\0\0\0\0\0\0\0\0", b"r\0\0\0\0",
    ],
    ids=repr,
)  # fmt: skip
def test_damaged_bytes(data: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode(data)


@given(plain, st.data())
@settings(max_examples=60, deadline=None)
def test_any_damage_is_malformed_or_plain_data(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode(value))
    for _ in range(3):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] = data.draw(st.integers(0, 255) | st.sampled_from(b"lStdQDUisg"))
    for damaged in (bytes(encoded), bytes(encoded[: len(encoded) // 2])):
        with contextlib.suppress(Malformed):
            codec.encode(codec.decode(damaged))
