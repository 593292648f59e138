"""Rows of a user's task, and what is wrong with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitloss.datasets.tables import Row
from bitloss.spec.documents import Document, Issue, Location, did_you_mean
from bitloss.tasks.custom.schema import RULES
from bitloss.tasks.custom.template import FieldFault, Template, parse_template

__all__ = [
    "FILE",
    "Origin",
    "RowErrors",
    "Rows",
    "check_fields",
    "is_json_file",
    "named_fields",
]

FILE = "file"
"""Field that every row of a file has: the file's name, where the row has no field of that name."""
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row stands.

    Attributes:
        path: of its file.
        name: of its file, for people (`bitloss.tasks.custom.sources.SourceFile`).
        row: in the file, from 0.
        line: of the file, from 1; None where it is not known.
    """

    path: Path
    name: str
    row: int
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of files, or of the task file itself.

    Attributes:
        rows: fields by name.
        key: the task file's key that they are under or that names their files.
        origins: by row; empty where they stand in the task file.
        digest: of their files; ``""`` where they stand in the task file.
        files: names of the files (`bitloss.tasks.custom.sources.SourceFile`), in order.
    """

    rows: tuple[Row, ...]
    key: str
    origins: tuple[Origin, ...] = ()
    digest: str = ""
    files: tuple[str, ...] = ()

    def place(self, row: int, document: Document) -> str:
        """File and line of a row, which may stand in the task file `document`."""
        if not self.origins:
            return f"{document.path}:{document.mistake('', self.key, row).line}"
        origin = self.origins[row]
        if origin.line is not None:
            return f"{origin.path}:{origin.line}"
        return f"row {origin.row + 1} of {origin.path}"

    @property
    def where(self) -> str:
        """Their file or key, for messages."""
        if not self.origins:
            return f"`{self.key}`"
        name = f"`{self.origins[0].path.name}`"
        return name if len(self.files) == 1 else f"{name} and {len(self.files) - 1} more files"


@dataclass(slots=True)
class RowErrors:
    """Collects what is wrong with rows; one that many rows share is reported once."""

    _found: dict[tuple[int, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    _sources: dict[int, Rows] = field(default_factory=dict)
    _nulls: dict[tuple[int, str], set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, source: Rows, row: int, text: str) -> None:
        """Note that row number `row` (from 0) is faulty."""
        self._sources[id(source)] = source
        self._found[id(source), text].append(row)

    def fill(
        self, template: Template, source: Rows, row: int, place: str, *, joint: str | None = None
    ) -> str:
        """The template's text; ``""`` and a note where the row does not have what it takes.

        Fields that are not there are `check_fields`' matter. `joint`: see `Template.fill`.
        """
        values = source.rows[row]
        if joint is not None:
            for name in template.fields:
                if name in values and values[name] is None:
                    self._nulls[id(source), name].add(row)
        try:
            return template.fill(values, joint=joint)
        except FieldFault as error:
            if error.problem != "is missing":
                self.add(source, row, f"{error} (in `{place}`)")
            return ""

    def notes(self, source: Rows) -> list[str]:
        """Which fields were null, and so nothing in a text."""
        return [
            f"field `{name}` is null in {len(rows):,} of {len(source.rows):,} rows, and left empty"
            for (source_id, name), rows in self._nulls.items()
            if source_id == id(source)
        ]

    def mistakes(self, document: Document) -> list[Issue]:
        """All of them, in the order in which they were found."""
        mistakes = []
        for (source_id, text), rows in self._found.items():
            source = self._sources[source_id]
            if not source.origins:
                line = document.mistake("", source.key, rows[0]).line
                mistakes.append(Issue(f"{_numbers(rows)}: {text}", (source.key,), line))
                continue
            by_file: dict[Path, list[int]] = defaultdict(list)
            for row in rows:
                by_file[source.origins[row].path].append(source.origins[row].row)
            path, first = next(iter(by_file.items()))
            others = f" (and in {len(by_file) - 1} more files)" if len(by_file) > 1 else ""
            mistakes.append(Issue(f"{_numbers(first)}: {text}{others}", path=path))
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
    for key in ("description", "prompt", "answer"):
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


def check_fields(
    document: Document, sources: Iterable[Rows], errors: RowErrors, *, by_subject: bool = False
) -> list[Issue]:
    """Compare the fields that the task file names with those that the rows have.

    Args:
        document: the task file.
        sources: its rows, and those of its examples (whose key is ``shots``).
        errors: fields that some rows lack are added to it.
        by_subject: whether examples have subjects too.

    Returns:
        Fields that no row has: mistakes of the task file.
    """
    mistakes = []
    for source in sources:
        has_answer = "answer" in document.value
        solved = (*_SOLVED, "subject") if by_subject else _SOLVED
        for at, name in named_fields(document.value):
            key = str(at[1] if len(at) > 1 else at[0])
            # An example's gold is read only where no `answer` says what it answers.
            unused = key not in solved or (key == "gold" and has_answer)
            if source.key == "shots" and unused:
                continue
            lacking = [n for n, row in enumerate(source.rows) if name not in row]
            if key == "arguments" and len(lacking) < len(source.rows):
                continue  # rows in which any arguments will do
            if len(lacking) == len(source.rows):
                known = list(dict.fromkeys(key for row in source.rows for key in row))
                suggestion = did_you_mean(name, known) or f"they have: {', '.join(known)}"
                text = f"no row of {source.where} has a field `{name}`; {suggestion}"
                if set(name) & set(".[!:"):
                    text += " (a placeholder is a field's name and nothing more)"
                mistakes.append(document.mistake(text, *at))
                continue
            for row in lacking:
                place = ".".join(map(str, at))
                errors.add(source, row, f"field `{name}` is missing (in `{place}`)")
    return mistakes
