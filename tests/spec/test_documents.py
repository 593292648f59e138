"""YAML with line numbers; PyYAML's own loader of plain text is the oracle for values."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from bitloss.errors import TaskDataError, UsageError
from bitloss.spec.documents import Issue, raise_issues, read_document, validate

TEXT = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=6)
VALUES = st.recursive(
    TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), st.booleans())
def test_reads_what_was_written(value: dict[str, Any], flow: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.yaml")
        text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow)
        path.write_text(text, encoding="utf-8")
        document, mistakes = read_document(path, "task")
    assert document.value == value == yaml.load(text, yaml.BaseLoader)
    assert mistakes == []
    assert all(1 <= line <= text.count("\n") for line in document.lines.values())


def read(tmp_path: Path, text: str) -> tuple[dict[str, Any], list[Issue], dict[Any, int]]:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    document, mistakes = read_document(path, "task")
    return document.value, mistakes, dict(document.lines)


def test_lines_are_those_of_the_keys(tmp_path: Path) -> None:
    _, _, lines = read(tmp_path, "a: 1\nb:\n  c:\n    - x\n    - y\n\nd: |\n  t\n")
    assert lines["a",] == 1
    assert lines["b", "c"] == 3
    assert lines["b", "c", 1] == 5
    assert lines["d",] == 7


def test_empty_and_null_are_nothing(tmp_path: Path) -> None:
    value, _, _ = read(tmp_path, "a:\nb: null\nc: ~\nd: 'null'\ne: ''\n")
    assert value == {"a": None, "b": None, "c": None, "d": "null", "e": ""}


def test_anchors(tmp_path: Path) -> None:
    value, mistakes, _ = read(tmp_path, "a: &x [p]\nb: *x\n")
    assert value == {"a": ["p"], "b": ["p"]}
    assert mistakes == []
    _, (mistake,), _ = read(tmp_path, "a: &x\n  b: *x\n")
    assert mistake.text == "an alias that stands within its own anchor"


def test_keys_that_are_no_text(tmp_path: Path) -> None:
    value, (mistake,), _ = read(tmp_path, "a: 1\n? [b]\n: 2\n")
    assert value == {"a": "1"}
    assert mistake.line == 2


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: str = ""


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int
    many: tuple[Inner, ...] = ()


def test_keys_are_suggested_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("numbr: 1\nmany:\n  - color: red\n  - number: 3\n")
    outer, mistakes = validate(Outer, read_document(path, "task")[0])
    assert outer is None
    assert sorted((mistake.line, mistake.text) for mistake in mistakes) == [
        (1, "no such key; did you mean `number`?"),  # and `number` is not missed besides
        (3, "no such key; did you mean `colour`?"),
        (4, "no such key; known: colour"),
    ]
    path.write_text("number: 1_0\nmany: [{colour: red}]\n")
    outer, mistakes = validate(Outer, read_document(path, "task")[0])
    assert outer == Outer(number=10, many=(Inner(colour="red"),))
    assert mistakes == []


def test_one_mistake_is_one_line() -> None:
    path = Path("x.yaml")
    raise_issues(path, "task", [], hint="h")
    with pytest.raises(UsageError) as caught:
        raise_issues(path, "task", [Issue("wrong", ("a", 2), 7)], hint="h")
    assert (caught.value.message, caught.value.hint) == ("x.yaml:7: a.2: wrong", "h")


def test_several_are_in_the_order_of_the_file() -> None:
    mistakes = [Issue("c"), Issue("b", line=3), Issue("a", line=1, path=Path("y"))]
    with pytest.raises(TaskDataError) as caught:
        raise_issues(Path("x"), "task", mistakes, hint="h", error=TaskDataError)
    assert caught.value.message == "3 errors in the task `x`:\n  y:1: a\n  x:3: b\n  x: c"
