"""What is told of a task file with mistakes; the words that a user needs are the oracle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bitloss.errors import TaskDataError, UsageError
from bitloss.tasks.custom import load_task_file

from .conftest import Write

GOOD = """\
name: own
capability: logic
data: rows.jsonl
prompt: "{q}"
exact_match: {gold: a}
"""
ROWS = [{"q": "one", "a": "1"}, {"q": "two", "a": "2"}, {"q": "three", "a": "3"}]


def told(path: Path, error: type[Exception] = UsageError) -> list[str]:
    with pytest.raises(error) as caught:
        load_task_file(path)
    assert type(caught.value) is error
    lines = str(caught.value).replace(f"{path.parent}/", "").splitlines()
    assert lines[-1].startswith("hint: ")
    return [line.strip() for line in lines[:-1]]


def test_all_mistakes_at_once(write: Write) -> None:
    first, *lines = told(
        write("""\
            name: own task
            capability: maths
            data: nothing.jsonl
            promt: "{q}"
            exact_match:
              gold: a
              ignore_cas: true
              regexes_to_ignore: ['([']
            generation:
              max_new_tokens: many
              temperature: -1
            answer: "{a"
            shots: 3x
            name: again
            """)
    )
    assert first == f"{len(lines)} errors in the task `task.yaml`:"
    expected = [
        r"task.yaml:1: name: expected letters, digits, .* got `own task`",
        r"task.yaml:2: capability: expected 'text .*, got `maths`; did you mean `math`\?",
        r"task.yaml:3: data: no file `nothing.jsonl` \(give .*\)",
        r"task.yaml:4: promt: no such key; did you mean `prompt`\?",
        r"task.yaml:7: exact_match.ignore_cas: no such key; did you mean `ignore_case`\?",
        r"task.yaml:8: exact_match.regexes_to_ignore.0: expected a regular .* at character 2",
        r"task.yaml:10: generation.max_new_tokens: expected a valid integer, got `many`",
        r"task.yaml:11: generation.temperature: expected greater than or equal to 0, got `-1`",
        r"task.yaml:12: answer: expected \{field\}, .* got `\{` at character 1",
        r"task.yaml:13: shots: no file `3x` \(give .*\)",
        r"task.yaml:14: name: given twice, first in line 1",
    ]
    assert len(lines) == len(expected)
    for pattern, line in zip(expected, lines, strict=True):
        assert re.fullmatch(pattern, line.removesuffix(" (near '{a')")), line


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("name: own\n", "", "name: missing"),
        ("name: own", "name: mmlu", "1: name: bitloss has a task of that name"),
        ("name: own", "name:", "1: name: missing"),
        ("data: rows.jsonl\n", "", "expected one of `data`, `items` to say where the rows are"),
        ("data: rows.jsonl", "items: []", "3: items: expected"),
        ("name: own", "items: [{q: x, a: y}]\nname: own", "got data and items"),
        ("exact_match: {gold: a}", "", "to say how answers are graded, got none"),
        ("exact_match: {gold: a}", "exact_match: {gold: a}\nregex: {gold: a, pattern: x}",
         "6: regex: expected one of"),
        ("exact_match", "exact_mach", "5: exact_mach: no such key; did you mean `exact_match`?"),
        ("exact_match: {gold: a}", "exact_match: a", "5: exact_match: expected keys and values"),
        ("gold: a", "gold: aa", "5: exact_match.gold: no row of `rows.jsonl` has a field `aa`; "
                                "did you mean `a`?"),
        ('"{q}"', '"{q.text}"', "(a placeholder is a field's name and nothing more)"),
        ('"{q}"', "{q}", "4: prompt: expected text, got keys; quote a template"),
        ('"{q}"', "|\n  {q}", "4: prompt: ends in white space"),
        ('"{q}"', "[a, b]", "4: prompt: expected text, got a list"),
        ("exact_match: {gold: a}", "regex: {gold: a, pattern: '(a)', group: 2}",
         "group: expected at most 1"),
        ("exact_match: {gold: a}", "regex: {gold: a, pattern: 'a', take: any}",
         "5: regex.take: expected 'first' or 'last', got `any`"),
        ("exact_match", "generation: {samples: 4}\nexact_match", "a temperature above 0"),
        ("exact_match", "generation: {stop: [a]}\ngold_likelihood", "generates no text"),
        ("exact_match: {gold: a}", "choice: {options: [a, b], gold: a}\nanswer: x",
         "6: answer: with `choice` the right option"),
        ("exact_match: {gold: a}", "python_tests: {tests: x, entry_point: f}\nshots: [{q: x}]",
         "6: shots: expected `answer` too"),
        ("name: own", "*nothing: own", "1: not YAML: "),
        ("name: own", "name: own: other", "1: not YAML: mapping values are not allowed here"),
        ("name: own", "name: !!python/object:os.system own\nx: &x [*x]", "no such key"),
    ],
)  # fmt: skip
def test_one_mistake(write: Write, old: str, new: str, mistake: str) -> None:
    assert old in GOOD
    (line,) = told(write(GOOD.replace(old, new, 1), ROWS))[-1:]
    assert mistake in line


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"])
def test_no_mapping(write: Write, text: str) -> None:
    (line,) = told(write(text))
    assert "expected keys and values" in line


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    assert "cannot read the task file" in told(path)[0]
    path.write_bytes(b"name: \xff")
    assert "byte 0xff at offset 6" in told(path)[0]


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({1: {"q": "x"}, 2: {"q": "y"}}, "rows 2 and 3: field `a` is missing (in `exact"),
        ({0: {"q": None, "a": "1"}}, "row 1: the question is empty: its fields hold nothing"),
        ({0: {"q": "x", "a": None}}, "row 1: field `a` holds nothing, expected text or a number"),
        ({0: {"q": "x", "a": True}}, "row 1: field `a` holds true without quotes"),
        ({2: {"q": "x", "a": " "}}, "row 3: field `a` is empty (the right answer)"),
        ({2: {"q": "x", "a": []}}, "row 3: field `a` is empty (the right answer)"),
    ],
)  # fmt: skip
def test_row(write: Write, change: dict[int, object], mistake: str) -> None:
    rows = [change.get(number, row) for number, row in enumerate(ROWS)]
    (line,) = told(write(GOOD, rows), TaskDataError)
    assert line.startswith(f"rows.jsonl: {mistake}")


def test_many_rows_are_told_once(write: Write) -> None:
    (line,) = told(write(GOOD, [*ROWS, *({"q": "x"} for _ in range(1000))]), TaskDataError)
    assert "rows 4, 5, 6, 7, 8, 9, 10 and 993 more: field `a` is missing" in line


def test_rows_in_the_task_file_have_lines(write: Write) -> None:
    items = "items:\n  - {q: one, a: 1}\n  - {q: two, a: }\n"
    (line,) = told(write(GOOD.replace("data: rows.jsonl\n", items)), TaskDataError)
    assert line.startswith("task.yaml:5: items: row 2: field `a` holds nothing")


def test_mistakes_of_file_and_rows_are_told_together(write: Write) -> None:
    lines = told(write(GOOD.replace("logic", "logics"), [*ROWS, {"q": "x"}]))
    assert "did you mean `logic`?" in lines[1]
    assert "rows.jsonl: row 4: field `a` is missing" in lines[2]


@pytest.mark.parametrize(
    ("name", "content", "mistake"),
    [
        ("rows.jsonl", b'{"q": 1, "a": 2}\n{"q"\n', "line 2"),
        ("rows.jsonl", b"", "expected rows"),
        ("rows.csv", b"q,a\n1\n", "expected 2 columns, got 1"),
        ("rows.txt", b"x", "expected a .jsonl, .csv, .json, .parquet or .arrow file"),
    ],
)
def test_damaged_data(write: Write, name: str, content: bytes, mistake: str) -> None:
    path = write(GOOD.replace("rows.jsonl", name))
    (path.parent / name).write_bytes(content)
    (line,) = told(path, TaskDataError)
    assert line.startswith("task.yaml:3: data: ")
    assert mistake in line


@pytest.mark.parametrize(
    ("row", "mistake"),
    [
        ({"o": ["x", "y"], "a": "z"}, "row 4: expected an option's text in field `a`, got `z`"),
        ({"o": ["x"], "a": "x"}, "row 4: expected a list of options in field `o`, got 1"),
        ({"o": "xy", "a": "x"}, "row 4: expected a list of options in field `o`, got str"),
        ({"o": ["x", ""], "a": "x"}, "row 4: an option is empty"),
        ({"o": ["x", None], "a": "x"}, "row 4: field `o` holds nothing"),
    ],
)
def test_row_of_a_choice(write: Write, row: dict[str, object], mistake: str) -> None:
    text = GOOD.replace("exact_match: {gold: a}", "choice: {options: '{o}', gold: a}")
    rows = [{"q": "?", "o": ["x", "yy"], "a": a} for a in ("x", "yy", "x")]
    (line,) = told(write(text, [*rows, {"q": "?", **row}]), TaskDataError)
    assert line.startswith(f"rows.jsonl: {mistake}")


def test_ids_are_unique(write: Write) -> None:
    rows = [{**row, "key": "same"} for row in ROWS]
    (line,) = told(write(GOOD + "id: key\n", rows), TaskDataError)
    assert line == "rows.jsonl: rows 2 and 3: id `same` is that of row 1 too"


def test_entry_point_is_a_name(write: Write) -> None:
    text = GOOD.replace("exact_match: {gold: a}", "python_tests: {tests: x, entry_point: '{a}'}")
    (line,) = told(write(text, [{"q": "x", "a": "os.system"}]), TaskDataError)
    assert "expected a function's name as entry point, got `os.system`" in line
