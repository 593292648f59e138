"""`load_expectations`: the tables that come with bitloss, changed by a file of the user's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat

from bitloss.errors import UsageError
from bitloss.expectations.axes import AXES, AxisName
from bitloss.expectations.table import Expectations, FormatRow, Levels, Published
from bitloss.spec.documents import (
    Document,
    Issue,
    did_you_mean,
    raise_issues,
    read_document,
    validate,
)

__all__ = ["load_expectations"]

_BUILT_IN = Path(__file__).with_name("expectations.yaml")
_HINT = (
    "see docs/verdicts.md for an example; bitloss's own file, with all keys, is " + _BUILT_IN.name
)


class _SomeLevels(BaseModel):
    """Levels of an axis, of which a user's file need not name all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    yes: FiniteFloat | None = None
    usually: FiniteFloat | None = None
    marginal: FiniteFloat | None = None


class _AxisLevels(_SomeLevels):
    """Levels under the name of an axis."""

    source: str | None = None


class _AllLevels(_SomeLevels):
    """Levels by axis; without an axis they are those of the relative perplexity."""

    relative_perplexity: _AxisLevels | None = None
    top1_agreement: _AxisLevels | None = None
    overlap: _AxisLevels | None = None
    kl_divergence: _AxisLevels | None = None

    def plain(self) -> dict[str, float]:
        """Those without an axis."""
        return self.model_dump(include={"yes", "usually", "marginal"}, exclude_none=True)

    def of(self, axis: AxisName) -> dict[str, float | str]:
        """What is said of an axis, however it is written."""
        own: _AxisLevels | None = getattr(self, axis)
        plain: dict[str, float | str] = {**self.plain()} if axis == "relative_perplexity" else {}
        return plain | ({} if own is None else own.model_dump(exclude_none=True))


class _File(BaseModel):
    """What may stand in a file; what does not is kept as it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: _AllLevels = _AllLevels()
    margins: dict[str, FiniteFloat] = {}
    formats: tuple[FormatRow, ...] = ()
    published: tuple[Published, ...] = ()


def load_expectations(path: Path | None = None) -> Expectations:
    """The built-in tables, or those with a file of the user's laid over them.

    A level of an axis, a margin or a row of ``formats`` (by format and bits) in the file takes the
    place of the built-in one, the rest stays; published points are added. Levels without an axis
    are those of the relative perplexity. ``default`` under ``margins`` is the margin of every
    capability that the file does not name.

    Args:
        path: of a YAML file; None is the built-in tables.

    Raises:
        UsageError: the file cannot be read, or has mistakes, all of them told with their lines.
    """
    return _built_in() if path is None else _laid_over(_built_in(), path)


@cache
def _built_in() -> Expectations:
    """Read once: a page of a report asks for it with every chart."""
    document, _ = read_document(_BUILT_IN, "expectations")
    built_in, mistakes = validate(_File, document)
    assert built_in is not None, mistakes
    return Expectations(
        thresholds={axis: Levels.model_validate(built_in.levels.of(axis)) for axis in AXES},
        margins=built_in.margins,
        formats=built_in.formats,
        published=built_in.published,
        digest=_digest(_BUILT_IN),
    )


def _laid_over(below: Expectations, path: Path) -> Expectations:
    if not path.exists():
        raise UsageError(f"no expectations file at `{path}`", hint="check the path")
    document, mistakes = read_document(path, "expectations", begins="levels")
    file, invalid = validate(_File, document)
    mistakes += [*invalid, *_check_margins(document, below)]
    thresholds = dict(below.thresholds)
    if file is not None:
        thresholds = _levels_over(below, file.levels, str(path))
        mistakes += _check_levels(document, file.levels, thresholds)
        mistakes += _check_rows(document, file)
    raise_issues(path, "expectations", mistakes, hint=_HINT)
    assert file is not None
    margins = dict(file.margins)
    everywhere = margins.pop("default", None)
    rest = below.margins if everywhere is None else dict.fromkeys(below.margins, everywhere)
    replaced = {(row.format.lower(), row.bits) for row in file.formats}
    kept = [row for row in below.formats if (row.format.lower(), row.bits) not in replaced]
    return Expectations(
        thresholds=thresholds,
        margins={**rest, **margins},
        formats=(*file.formats, *kept),
        published=(*below.published, *file.published),
        source=str(path),
        digest=_digest(path),
    )


def _check_margins(document: Document, below: Expectations) -> Iterator[Issue]:
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


def _levels_over(below: Expectations, levels: _AllLevels, path: str) -> dict[AxisName, Levels]:
    """The levels of every axis; those that the file changes are the file's."""
    changed = {axis: {"source": path, **levels.of(axis)} for axis in AXES if levels.of(axis)}
    return {
        axis: Levels.model_validate({**one.model_dump(), **changed.get(axis, {})})
        for axis, one in below.thresholds.items()
    }


def _check_levels(
    document: Document, levels: _AllLevels, thresholds: dict[AxisName, Levels]
) -> Iterator[Issue]:
    if levels.plain() and levels.relative_perplexity is not None:
        yield document.mistake(
            "levels without an axis are those of `relative_perplexity`, which is there too",
            "levels", "relative_perplexity",
        )  # fmt: skip
    for name, axis in AXES.items():
        own = thresholds[name]
        if levels.of(name) and (wrong := axis.wrong(own.limits)):
            shown = f"yes {own.yes:g}, usually {own.usually:g}, marginal {own.marginal:g}"
            place = ("levels",) if getattr(levels, name) is None else ("levels", name)
            yield document.mistake(f"{wrong}, got {shown}", *place)


def _check_rows(document: Document, file: _File) -> Iterator[Issue]:
    seen = set()
    for number, row in enumerate(file.formats):
        key = (row.format.lower(), row.bits)
        if key in seen:
            wrong = f"`{row.format}` with {row.bits:g} bits appears twice"
            yield document.mistake(wrong, "formats", number)
        seen.add(key)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
