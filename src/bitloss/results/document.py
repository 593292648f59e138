"""Versioned JSON documents: the same bytes for the same values, and one way to refuse others."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bitloss.errors import BitlossError
from bitloss.results.values import OmitNull
from bitloss.spec.json_text import parse_json

__all__ = [
    "DocumentKind",
    "dumps",
    "parse",
    "read_plainly",
    "refuse_newer_schema",
    "require_version",
]

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """A kind of document that bitloss writes.

    Attributes:
        name: in messages, ``comparison``.
        version_field: the field with its version.
        version: the only one that is read.
        error: raised for a document that is not so.
        command: the command that writes it, for hints.
    """

    name: str
    version_field: str
    version: int
    error: type[BitlossError]
    command: str = "bitloss compare"

    @property
    def rewrite(self) -> str:
        """A hint: how to write a document again that is damaged."""
        return f"rerun the same `{self.command}` to write it again"

    def version_of(self, values: Any) -> int | None:
        """The version that a document states; None if it is no document of this kind."""
        version = values.get(self.version_field) if isinstance(values, dict) else None
        return version if isinstance(version, int) and not isinstance(version, bool) else None


# Reading --------------------------------------------------------------------------------------


def parse(
    model: type[_Model], text: str | bytes, kind: DocumentKind, *, file: str, remedy: str = ""
) -> _Model:
    """Read a document.

    Args:
        model: what it is read as.
        text: JSON.
        kind: what it must be.
        file: its name, for errors.
        remedy: what to do with a document of an earlier version; empty is to score again.

    Raises:
        BitlossError: `kind.error` if it is damaged, edited by hand, or of another version; the
            message names the file, and the field if it is about one.
    """
    try:
        values = parse_json(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise kind.error(
            f"{file}: damaged, not JSON ({error})",
            hint=kind.rewrite,
        ) from error
    require_version(values, kind, file=file, remedy=remedy)
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        command = _recorded_command(values)
        raise kind.error(
            f"{file}: not a {kind.name} as bitloss writes it: {_first_fault(error)}",
            hint=f"rerun to write it again: {command}" if command else kind.rewrite,
        ) from error


def _first_fault(error: ValidationError) -> str:
    """The field, and what is wrong with it; a rule for several fields names them itself."""
    first = error.errors(include_url=False)[0]
    cause = first.get("ctx", {}).get("error", first["msg"])
    field = ".".join(str(part) for part in first["loc"])
    return f"`{field}`: {cause}" if field else str(cause)


def require_version(values: Any, kind: DocumentKind, *, file: str, remedy: str = "") -> None:
    """Refuse a document whose fields are others, or mean something else.

    Args:
        values: of the document.
        kind: what it must be.
        file: its name, for errors.
        remedy: what to do with a document of an earlier version; empty is to score again.

    Raises:
        BitlossError: `kind.error`.
    """
    version = kind.version_of(values)
    if version == kind.version:
        return
    expected = f"{file}: expected a {kind.name} of version {kind.version}"
    if version is None:
        raise kind.error(
            f"{expected}, got no `{kind.version_field}`",
            hint=f"use the --out directory of a `{kind.command}`",
        )
    newer = version > kind.version
    raise kind.error(
        f"{expected}, got version {version} of {'a newer' if newer else 'an earlier'} bitloss",
        hint="pip install --upgrade bitloss"
        if newer
        else remedy or _score_again(values, Path(file).parent),
    )


def refuse_newer_schema(file: Path, kind: DocumentKind) -> None:
    """Refuse to overwrite what a newer bitloss wrote; anything else there may be replaced.

    Args:
        file: may be absent or damaged.
        kind: what may be there.

    Raises:
        BitlossError: `kind.error`.
    """
    version = kind.version_of(read_plainly(file))
    if version is not None and version > kind.version:
        raise kind.error(
            f"{file}: expected a {kind.name} of version {kind.version} at most, got version "
            f"{version} of a newer bitloss",
            hint="pip install --upgrade bitloss, or choose another directory with --out",
        )


def read_plainly(file: Path) -> Any:
    """The plain values of a JSON file; None if it is absent or damaged."""
    try:
        return parse_json(file.read_bytes())
    except (OSError, ValueError):
        return None


def _recorded_command(values: Any) -> str:
    """The command that scored the run, if a document of any version still has it."""
    environment = values.get("environment") if isinstance(values, dict) else None
    command = environment.get("command") if isinstance(environment, dict) else None
    return command if isinstance(command, str) else ""


def _score_again(values: Any, run: Path) -> str:
    """A hint: the recorded command with another run directory.

    Args:
        values: of a document of any version.
        run: the directory it is in.
    """
    command = _recorded_command(values)
    action = "score again in a new directory"
    if not command:
        return f"{action}: choose another one with --out"
    return f"{action}: {_with_new_out(command, run)}"


def _with_new_out(command: str, run: Path) -> str:
    """The command line with another run directory, a name beside the old one."""
    try:
        words = shlex.split(command)
    except ValueError:  # edited by hand
        return command
    kept: list[str] = []
    out = str(run if run.name else run.resolve())
    rest = iter(words)
    for word in rest:
        if word == "--out":
            out = next(rest, out)
        elif word.startswith("--out="):
            out = word.removeprefix("--out=")
        else:
            kept.append(word)
    return shlex.join([*kept, "--out", f"{out.rstrip('/')}-new"])


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")


# Writing --------------------------------------------------------------------------------------


def dumps(document: BaseModel) -> str:
    """Write a document: fields in declared order, numbers as Python writes them, a final newline.

    Fields that are marked with `OMIT_NULL` are left out if they are null. An infinite or NaN number
    becomes null and is named in the ``notes`` of the innermost object that has them.
    """
    plain, _ = _plain(document, ())
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True)
class _NotFinite:
    """A number that JSON does not have, and where it stood."""

    path: tuple[str, ...]
    what: str

    def below(self, path: tuple[str, ...]) -> str:
        """The note, as read at a place above."""
        return f"{''.join(self.path[len(path) :]).removeprefix('.')} is {self.what}"


def _plain(value: Any, path: tuple[str, ...]) -> tuple[Any, list[_NotFinite]]:
    """The value as JSON knows it, and the numbers below it that nobody has noted yet."""
    if isinstance(value, float) and not math.isfinite(value):
        return None, [_NotFinite(path, "not a number" if math.isnan(value) else "infinite")]
    if isinstance(value, list | tuple):
        return _plain_items(value, path)
    if not isinstance(value, BaseModel | Mapping):
        return value, []
    plain: dict[str, Any] = {}
    pending: list[_NotFinite] = []
    for key, item in _entries(value):
        plain[key], unnoted = _plain(item, (*path, f".{key}"))
        pending.extend(unnoted)
    if "notes" in plain and pending:
        plain["notes"] = [*plain["notes"], *(number.below(path) for number in pending)]
        pending = []
    return plain, pending


def _plain_items(
    values: Sequence[Any], path: tuple[str, ...]
) -> tuple[list[Any], list[_NotFinite]]:
    pairs = [_plain(item, (*path, f"[{index}]")) for index, item in enumerate(values)]
    return [plain for plain, _ in pairs], [number for _, unnoted in pairs for number in unnoted]


def _entries(value: BaseModel | Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values in order, without fields that are left out."""
    if isinstance(value, Mapping):
        yield from value.items()
        return
    for name, field in type(value).model_fields.items():
        item = getattr(value, name)
        if item is None and any(isinstance(mark, OmitNull) for mark in field.metadata):
            continue
        yield name, item
