"""YAML files that people write: read with line numbers, checked, all mistakes told at once.

Scalars are kept as the text that stands in the file and get their type from the schema, so that
``answer: no`` is a word and ``1.10`` keeps its zero; only an empty value or ``null`` is None. In
files that describe something, such a key is one that is not given (`read_document`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from bitloss.contents.encodings import decode_utf8
from bitloss.contents.kinds import YAML, FileKind, folder_kind
from bitloss.errors import BitlossError, UsageError
from bitloss.spec.json_text import describe_half
from bitloss.spec.yaml_text import YamlFault, compose_yaml

if TYPE_CHECKING:
    import yaml
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

__all__ = [
    "Document",
    "Issue",
    "Location",
    "did_you_mean",
    "raise_issues",
    "read_document",
    "validate",
]

_SHOWN = 30
"""Mistakes of a file that are written out."""
Location = tuple[str | int, ...]
"""Where something stands in a document: ``("choice", "options", 2)``."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with a file.

    Attributes:
        text: expected and got, and what was meant perhaps.
        at: where it stands; empty for the whole file.
        line: of the file, from 1; None where it has none.
        path: of the file, where it is another than the one that is read (its data).
        hint: what to do about it, where that is no matter of the file's own.
    """

    text: str
    at: Location = ()
    line: int | None = None
    path: Path | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A file's content before anything is known of its meaning.

    Attributes:
        path: of the file.
        value: mappings, lists, text and None.
        lines: from 1, by location.
        empty: keys without a value that were left out of `value`.
    """

    path: Path
    value: dict[str, Any]
    lines: Mapping[Location, int] = field(default_factory=dict)
    empty: tuple[Location, ...] = ()

    def mistake(self, text: str, *at: str | int, hint: str | None = None) -> Issue:
        """A mistake at a location, with the line of it or of the nearest thing around it."""
        for end in range(len(at), 0, -1):
            if at[:end] in self.lines:
                return Issue(text, at, self.lines[at[:end]], hint=hint)
        return Issue(text, at, hint=hint)


def read_document(
    path: Path, kind: str, *, begins: str = "name", rows: Sequence[str] | None = None
) -> tuple[Document, list[Issue]]:
    """Read a YAML file with a mapping.

    Args:
        path: of the file.
        kind: what it describes, for messages (``"task"``).
        begins: the key that such a file begins with, as a rule.
        rows: keys that hold rows of data, in which null is a value. Everywhere else a key with
            null is a key that is not given. None keeps every null: in a file of limits, a
            forgotten number must not be no limit.

    Returns:
        The document, and mistakes that leave the rest of it readable (a key given twice).

    Raises:
        UsageError: it cannot be read, or is no YAML mapping (with the line).
    """
    if path.is_dir():
        found = folder_kind(path) or FileKind("a folder")
        raise UsageError(
            f"expected a {kind} file, got {found.name} in `{path}`", hint="give a YAML file"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read the {kind} file `{path}`: {error.strerror}", hint="check the path"
        ) from error
    text = decode_utf8(data, path, UsageError, door=YAML)
    try:
        node = compose_yaml(text)
    except YamlFault as error:
        line = "" if error.line is None else f":{error.line}"
        raise UsageError(f"{path}{line}: {error.problem}", hint=error.hint) from error
    reader = _Reader(rows)
    value = reader.read(node, ()) if node is not None else None
    if not isinstance(value, dict):
        raise UsageError(
            f"{path}: expected keys and values (`name: ...`), got {_shown(value)}",
            hint=f"begin the {kind} file with `{begins}: ...`",
        )
    return Document(path, value, reader.lines, tuple(reader.empty)), reader.mistakes


class _Reader:
    """Turns YAML nodes into plain values and remembers their lines."""

    def __init__(self, rows: Sequence[str] | None) -> None:
        self._rows = rows
        self.empty: list[Location] = []
        self.lines: dict[Location, int] = {}
        self.mistakes: list[Issue] = []
        self._around: list[int] = []

    def read(self, node: yaml.Node, at: Location) -> Any:
        import yaml

        line = node.start_mark.line + 1
        self.lines.setdefault(at, line)
        if isinstance(node, yaml.ScalarNode):
            return (
                None if node.tag == "tag:yaml.org,2002:null" else self._text(node.value, at, line)
            )
        if id(node) in self._around:
            self.mistakes.append(Issue("an alias that stands within its own anchor", at, line))
            return None
        self._around.append(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.read(child, (*at, n)) for n, child in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._read_mapping(node, at)
        finally:
            self._around.pop()

    def _text(self, value: str, at: Location, line: int) -> str:
        """The text, without halves of surrogate pairs, which cannot be written anywhere."""
        half = describe_half(value)
        if not half:
            return value
        self.mistakes.append(Issue(f"expected text, got {half}", at, line))
        return value.encode("utf-8", "replace").decode("utf-8")

    def _read_mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, Any]:
        import yaml

        value: dict[str, Any] = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                wrong = "a key is text; a template that begins with a brace must be quoted"
                self.mistakes.append(Issue(wrong, at, line))
                continue
            name = self._text(key.value, at, line)
            place = (*at, name)
            if name in value:
                first = self.lines[place]
                self.mistakes.append(Issue(f"given twice, first in line {first}", place, line))
                continue
            self.lines[place] = line
            value[name] = self.read(child, place)
        if self._rows is not None and not (at and at[0] in self._rows):
            nulls = [name for name in value if value[name] is None]
            self.empty += [(*at, name) for name in nulls]
            value = {name: value[name] for name in value if name not in nulls}
        return value


def validate(model: type[M], document: Document) -> tuple[M | None, list[Issue]]:
    """The document as a `model`, or everything that is wrong with it."""
    from pydantic import ValidationError

    valid, faults = None, []
    try:
        valid = model.model_validate(document.value, context={"folder": document.path.parent})
    except ValidationError as error:
        faults = error.errors()
    meant: set[Location] = set()
    mistakes = []
    unknown = [fault["loc"] for fault in faults if fault["type"] == "extra_forbidden"]
    unknown += [at for at in document.empty if at[-1] not in _accepted_keys(model, at[:-1])]
    for *around, key in unknown:
        known = _keys_at(model, around)
        close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
        meant.update((*around, name) for name in close)
        suggestion = did_you_mean(str(key), known) or f"known: {', '.join(known)}"
        mistakes.append(document.mistake(f"no such key; {suggestion}", *around, key))
    for fault in faults:
        # A misspelt key has been told already; that the right one is missing follows from it.
        if fault["type"] != "extra_forbidden" and fault["loc"] not in meant:
            mistakes.append(document.mistake(_wording(fault), *fault["loc"]))
    return None if mistakes else valid, mistakes


def _wording(fault: Any) -> str:
    if fault["type"] == "missing":
        return "missing"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    expected = str(fault["msg"]).removeprefix("Input should be ")
    expected = expected.replace("a valid string", "text").replace("a valid dictionary", "keys")
    expected = expected.replace("a valid tuple", "a list").partition(", unable to parse")[0]
    expected = re.sub(r"a valid dictionary or instance of \w+|keys or instance of \w+", "keys and "
                      "values", expected)  # fmt: skip
    text = f"expected {expected}, got {_shown(fault['input'])}"
    if fault["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(fault["ctx"]["expected"]))
        suggestion = did_you_mean(str(fault["input"]), choices)
        return f"{text}; {suggestion}" if suggestion else text
    return text


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"`{value}`" if len(value) <= 40 else f"`{value[:37]}...`"
    if isinstance(value, dict):
        return "keys and values"
    return "a list" if isinstance(value, list) else repr(value)


def _keys_at(model: type[BaseModel], around: Sequence[str | int]) -> list[str]:
    return list(_model_at(model, around).model_fields)


def _accepted_keys(model: type[BaseModel], around: Sequence[str | int]) -> list[str]:
    """Keys, and their other spellings."""
    fields = _model_at(model, around).model_fields
    aliases = [getattr(one.validation_alias, "choices", ()) for one in fields.values()]
    return [*fields, *(name for names in aliases for name in names)]


def _model_at(model: type[BaseModel], around: Sequence[str | int]) -> type[BaseModel]:
    for step in around:
        if isinstance(step, str) and step in model.model_fields:
            model = next(_models_in(model.model_fields[step].annotation), model)
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean `x`?``, or nothing where nothing is like it."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


def raise_issues(
    path: Path,
    kind: str,
    mistakes: Sequence[Issue],
    *,
    hint: str,
    error: type[BitlossError] = UsageError,
) -> None:
    """Raise all of them as one `error`, in the order of the file; nothing where there are none.

    Args:
        path: of the file, stands before each mistake as compilers write it.
        kind: what the file describes.
        mistakes: see there.
        hint: where to look.
        error: one of `bitloss.errors`.
    """
    ordered = sorted(mistakes, key=lambda mistake: (mistake.line is None, mistake.line or 0))
    lines = [_line(path, mistake) for mistake in ordered]
    if len(lines) == 1:
        hint = ordered[0].hint or hint
    if len(lines) > 1:
        lines = [
            f"{line} ({one.hint})" if one.hint else line
            for line, one in zip(lines, ordered, strict=True)
        ]
        more = [f"and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
        first = f"{len(lines):,} errors in the {kind} `{path}`:"
        lines = ["\n  ".join([first, *lines[:_SHOWN], *more])]
    if lines:
        raise error(lines[0], hint=hint)


def _line(path: Path, mistake: Issue) -> str:
    path = mistake.path or path
    where = f"{path}:{mistake.line}: " if mistake.line else f"{path}: "
    at = ".".join(map(str, mistake.at))
    return f"{where}{at}: {mistake.text}" if at else f"{where}{mistake.text}"
