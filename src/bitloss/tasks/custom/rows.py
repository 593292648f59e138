"""Rows of a user's task, and what is wrong with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitloss.datasets.tables import Row, read_csv, read_jsonl
from bitloss.errors import TaskDataError
from bitloss.spec.documents import Document, Location, Mistake, did_you_mean
from bitloss.tasks.custom.schema import RULES
from bitloss.tasks.custom.template import FieldFault, Template, parse_template

__all__ = ["RowErrors", "Rows", "check_fields", "is_json_file", "named_fields", "read_rows"]

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file, or of the task file itself.

    Attributes:
        rows: fields by name.
        key: the task file's key that they are under or that names their file.
        path: of their file; None where they stand in the task file.
        digest: of their file; ``""`` where they stand in the task file.
        lines: of their file, by row, from 1; empty where they are not known.
    """

    rows: tuple[Row, ...]
    key: str
    path: Path | None = None
    digest: str = ""
    lines: tuple[int, ...] = ()

    def place(self, row: int, document: Document) -> str:
        """File and line of a row, which may stand in the task file `document`."""
        if self.path is None:
            return f"{document.path}:{document.mistake('', self.key, row).line}"
        return f"{self.path}:{self.lines[row]}" if self.lines else f"row {row + 1} of {self.path}"


def read_rows(path: Path, key: str) -> Rows:
    """Read a file of rows: JSONL or CSV with a header, gzipped or not.

    Raises:
        TaskDataError: it cannot be read, or a row is damaged (with its line), or there is none.
    """
    if not path.is_file():
        raise TaskDataError(f"no file `{path}`", hint="give a path relative to the task file")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".csv"):
        table = read_csv(path, (), header=True)
    elif name.endswith(".jsonl"):
        table = read_jsonl(path, ())
    else:
        raise TaskDataError(
            f"expected a .jsonl or .csv file, got `{path}`",
            hint="write one JSON object per line, in a .jsonl file",
        )
    if not table.rows:
        raise TaskDataError(f"expected rows in `{path}`, got none", hint="write one row per item")
    return Rows(table.rows, key, path, table.digest, table.lines)


@dataclass(slots=True)
class RowErrors:
    """Collects what is wrong with rows; one that many rows share is reported once."""

    _found: dict[tuple[int, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    _sources: dict[int, Rows] = field(default_factory=dict)

    def add(self, source: Rows, row: int, text: str) -> None:
        """Note that row number `row` (from 0) is faulty."""
        self._sources[id(source)] = source
        self._found[id(source), text].append(row)

    def fill(self, template: Template, source: Rows, row: int, place: str) -> str:
        """The template's text; ``""`` and a note where the row does not have what it takes.

        Fields that are not there are `check_fields`' matter.
        """
        try:
            return template.fill(source.rows[row])
        except FieldFault as error:
            if error.problem != "is missing":
                self.add(source, row, f"{error} (in `{place}`)")
            return ""

    def mistakes(self, document: Document) -> list[Mistake]:
        """All of them, in the order in which they were found."""
        mistakes = []
        for (source_id, text), rows in self._found.items():
            source = self._sources[source_id]
            text_with_rows = f"{_numbers(rows)}: {text}"
            if source.path is None:
                line = document.mistake("", source.key, rows[0]).line
                mistakes.append(Mistake(text_with_rows, (source.key,), line))
            else:
                mistakes.append(Mistake(text_with_rows, path=source.path))
        return mistakes


def _numbers(rows: list[int]) -> str:
    """``row 3``, ``rows 3, 5 and 812 more``; counted from 1."""
    numbers = [str(row + 1) for row in dict.fromkeys(rows)]
    if len(numbers) == 1:
        return f"row {numbers[0]}"
    if len(numbers) > _SHOWN:
        shown = ", ".join(numbers[: _SHOWN - 1])
        return f"rows {shown} and {len(numbers) - _SHOWN + 1:,} more"
    return f"rows {', '.join(numbers[:-1])} and {numbers[-1]}"


def is_json_file(text: str) -> bool:
    """Whether the text is the name of a JSON file, and not of a field."""
    return text.strip().lower().endswith(".json")


_SOLVED = ("prompt", "answer", "gold", "options")
"""What a solved example needs; the rest is for grading."""


def named_fields(value: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Every field that the task file names, and where; of templates that can be parsed."""
    for key in ("prompt", "answer"):
        yield from _in_template(value.get(key), (key,))
    for key in ("id", "subject", "cluster", "messages"):
        yield from _in_name(value.get(key), (key,))
    for rule in RULES:
        keys = value.get(rule)
        if not isinstance(keys, dict):
            continue
        for key in ("gold", "tool", "arguments", "should_refuse", "tools"):
            name = keys.get(key)
            if not (key == "tools" and isinstance(name, str) and is_json_file(name)):
                yield from _in_name(name, (rule, key))
        options = keys.get("options")
        if isinstance(options, list):
            for number, option in enumerate(options):
                yield from _in_template(option, (rule, "options", number))
        else:
            yield from _in_template(options, (rule, "options"))
        for key in ("tests", "entry_point", "completes", "support"):
            yield from _in_template(keys.get(key), (rule, key))


def _in_template(text: object, at: Location) -> Iterator[tuple[Location, str]]:
    try:
        template = parse_template(text)
    except ValueError:  # the schema reports it
        return
    for name in template.fields:
        yield at, name


def _in_name(text: object, at: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(text, str) and text:
        yield at, text.strip().removeprefix("{").removesuffix("}").strip()


def check_fields(document: Document, sources: Iterable[Rows], errors: RowErrors) -> list[Mistake]:
    """Compare the fields that the task file names with those that the rows have.

    Args:
        document: the task file.
        sources: its rows, and those of its examples (whose key is ``shots``).
        errors: fields that some rows lack are added to it.

    Returns:
        Fields that no row has: mistakes of the task file.
    """
    mistakes = []
    for source in sources:
        has_answer = "answer" in document.value
        for at, name in named_fields(document.value):
            key = str(at[1] if len(at) > 1 else at[0])
            # An example's gold is read only where no `answer` says what it answers.
            unused = key not in _SOLVED or (key == "gold" and has_answer)
            if source.key == "shots" and unused:
                continue
            lacking = [n for n, row in enumerate(source.rows) if name not in row]
            if key == "arguments" and len(lacking) < len(source.rows):
                continue  # rows in which any arguments will do
            if len(lacking) == len(source.rows):
                known = list(dict.fromkeys(key for row in source.rows for key in row))
                suggestion = did_you_mean(name, known) or f"they have: {', '.join(known)}"
                where = f"`{source.path.name}`" if source.path else f"`{source.key}`"
                text = f"no row of {where} has a field `{name}`; {suggestion}"
                if set(name) & set(".[!:"):
                    text += " (a placeholder is a field's name and nothing more)"
                mistakes.append(document.mistake(text, *at))
                continue
            for row in lacking:
                place = ".".join(map(str, at))
                errors.add(source, row, f"field `{name}` is missing (in `{place}`)")
    return mistakes
