"""`load_expectations`: the tables that come with bitloss, changed by a file of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat

from bitloss.errors import UsageError
from bitloss.expectations.table import Expectations, FormatRow, Levels, Published
from bitloss.spec.documents import (
    Document,
    Mistake,
    did_you_mean,
    raise_mistakes,
    read_document,
    validate,
)

__all__ = ["load_expectations"]

_BUILT_IN = Path(__file__).with_name("expectations.yaml")
_HINT = "docs/verdicts.md has an example; bitloss's own file, with all keys, is " + _BUILT_IN.name


class _SomeLevels(BaseModel):
    """Levels of which a user's file need not name all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    yes: FiniteFloat | None = None
    usually: FiniteFloat | None = None
    marginal: FiniteFloat | None = None


class _File(BaseModel):
    """What may stand in a file; what does not is kept as it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: _SomeLevels = _SomeLevels()
    margins: dict[str, FiniteFloat] = {}
    formats: tuple[FormatRow, ...] = ()
    published: tuple[Published, ...] = ()


def load_expectations(path: Path | None = None) -> Expectations:
    """The built-in tables, or those with a file of the user's laid over them.

    A level, a margin or a row of ``formats`` (by format and bits) in the file takes the place of
    the built-in one, the rest stays; published points are added. ``default`` under ``margins`` is
    the margin of every capability that the file does not name.

    Args:
        path: of a YAML file; None is the built-in tables.

    Raises:
        UsageError: the file cannot be read, or has mistakes, all of them told with their lines.
    """
    document, _ = read_document(_BUILT_IN, "expectations")
    built_in, mistakes = validate(_File, document)
    assert built_in is not None, mistakes
    expectations = Expectations(
        thresholds=Levels(**built_in.levels.model_dump()),
        margins=built_in.margins,
        formats=built_in.formats,
        published=built_in.published,
        digest=_digest(_BUILT_IN),
    )
    return expectations if path is None else _laid_over(expectations, path)


def _laid_over(below: Expectations, path: Path) -> Expectations:
    if not path.is_file():
        raise UsageError(f"no expectations file at `{path}`", hint="check the path")
    document, mistakes = read_document(path, "expectations", begins="levels")
    file, invalid = validate(_File, document)
    mistakes += [*invalid, *_check_margins(document, below)]
    levels = below.thresholds.model_dump()
    if file is not None:
        levels |= file.levels.model_dump(exclude_none=True)
        mistakes += _check_levels(document, levels)
        mistakes += _check_rows(document, file)
    raise_mistakes(path, "expectations", mistakes, hint=_HINT)
    assert file is not None
    margins = dict(file.margins)
    everywhere = margins.pop("default", None)
    rest = below.margins if everywhere is None else dict.fromkeys(below.margins, everywhere)
    replaced = {(row.format.lower(), row.bits) for row in file.formats}
    kept = [row for row in below.formats if (row.format.lower(), row.bits) not in replaced]
    return Expectations(
        thresholds=Levels(**levels),
        margins={**rest, **margins},
        formats=(*file.formats, *kept),
        published=(*below.published, *file.published),
        source=str(path),
        digest=_digest(path),
    )


def _check_margins(document: Document, below: Expectations) -> Iterator[Mistake]:
    margins = document.value.get("margins")
    known = [*below.margins, "default"]
    for name, value in (margins if isinstance(margins, dict) else {}).items():
        if name not in known:
            other = did_you_mean(name, known) or f"known: {', '.join(known)}"
            yield document.mistake(f"no such capability; {other}", "margins", name)
        try:
            share = float(value)
        except (TypeError, ValueError):  # told by the schema
            continue
        if not 0 <= share <= 1:
            wrong = f"expected a share of the score from 0 to 1 (2 points are 0.02), got {value}"
            yield document.mistake(wrong, "margins", name)


def _check_levels(document: Document, levels: dict[str, float]) -> Iterator[Mistake]:
    try:
        Levels(**levels)
    except ValueError:
        shown = ", ".join(f"{name} {limit:g}" for name, limit in levels.items())
        yield document.mistake(
            f"expected positive limits with yes < usually < marginal, got {shown}", "levels"
        )


def _check_rows(document: Document, file: _File) -> Iterator[Mistake]:
    seen = set()
    for number, row in enumerate(file.formats):
        key = (row.format.lower(), row.bits)
        if key in seen:
            wrong = f"`{row.format}` with {row.bits:g} bits is there twice"
            yield document.mistake(wrong, "formats", number)
        seen.add(key)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
