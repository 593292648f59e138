"""Study files: a grid of one's own, as YAML.

    name: bits-and-groups
    factor: bits and group size
    recipe: gptq-{bits}-g{group}      # one level per combination
    axes:
      bits: [4, 3]
      group: [32, 128]
    series: bits                      # steps are taken between groups, not between bits
    columns: [bits_per_weight, relative_perplexity, kl_divergence]
    options: {corpora: [wikitext-2], limit: 64}

In place of `recipe` and `axes`, `levels` lists recipes one by one, each a name or a mapping with
`name`, `recipe`, `series` and `changes`.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bitloss import registry
from bitloss.errors import UnknownName, UsageError
from bitloss.spec.documents import (
    Document,
    Issue,
    did_you_mean,
    raise_issues,
    read_document,
    validate,
)
from bitloss.spec.options import COMPARE
from bitloss.spec.recipe import parse_recipe
from bitloss.spec.run import options_of
from bitloss.studies.base import FactorLevel, Study
from bitloss.studies.columns import COLUMNS

__all__ = ["load_study_file"]

_COLUMNS = ("bits_per_weight", "relative_perplexity", "kl_divergence", "loss")
_FOLDERS = ("runs", "made")
_NAME = r"[a-z0-9][a-z0-9._-]*"
_HINT = "see docs/studies.md for the keys of a study file"
# Lists of studies that look at every window; see `bitloss.studies.run`.
_NOT_TAKEN = ("until", "precision")


class _Level(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    recipe: str
    series: str = ""
    changes: dict[str, Any] = Field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=f"^{_NAME}$")
    factor: str
    question: str = ""
    recipe: str = ""
    axes: dict[str, list[str]] = Field(default_factory=dict)
    series: str = ""
    levels: list[str | _Level] = Field(default_factory=list)
    columns: list[str] = Field(default_factory=lambda: list(_COLUMNS))
    options: dict[str, Any] = Field(default_factory=dict)


def load_study_file(path: Path) -> Study:
    """Read a study from a file.

    Args:
        path: of a YAML file.

    Raises:
        UsageError: it cannot be read, or has mistakes, all of them named with their lines.
    """
    if not path.exists():
        raise UsageError(f"no study file at `{path}`", hint="check the path")
    document, mistakes = read_document(path, "study", rows=())
    file, invalid = validate(_File, document)
    mistakes += invalid
    if file is not None:
        mistakes += _check(file, document)
    raise_issues(path, "study", mistakes, hint=_HINT)
    assert file is not None
    levels = {level.name: level for level in _levels(file)}
    return Study(
        name=file.name,
        factor=file.factor,
        question=file.question or f"What does {file.factor} cost?",
        values=tuple(levels),
        parse=partial(_parse, file.name, levels),
        columns=tuple(file.columns),
        options=file.options,
    )


def _parse(study: str, levels: dict[str, FactorLevel], text: str) -> FactorLevel:
    if text not in levels:
        raise UnknownName(f"level of the study `{study}`", text, tuple(levels))
    return levels[text]


def _levels(file: _File) -> Iterator[FactorLevel]:
    if file.recipe:
        for combination in itertools.product(*file.axes.values()):
            values = dict(zip(file.axes, combination, strict=True))
            recipe = file.recipe.format(**values)
            yield FactorLevel(recipe, recipe, values.get(file.series, ""))
    for entry in file.levels:
        if isinstance(entry, str):
            yield FactorLevel(entry, entry)
        else:
            name = entry.name or entry.recipe
            yield FactorLevel(name, entry.recipe, entry.series, entry.changes)


def _check(file: _File, document: Document) -> Iterator[Issue]:
    if file.name in registry.STUDIES or file.name in _FOLDERS:
        yield document.mistake(f"`{file.name}` is taken: choose another name", "name")
    if bool(file.recipe) == bool(file.levels):
        yield document.mistake("expected either `recipe` with `axes` or `levels`")
        return
    fields = {name for _, name, _, _ in string.Formatter().parse(file.recipe) if name is not None}
    if file.recipe and fields != set(file.axes):
        yield document.mistake(
            f"expected `axes` of {', '.join(sorted(fields)) or 'nothing'}, which `recipe` names, "
            f"got {', '.join(sorted(file.axes)) or 'nothing'}",
            "axes",
        )
        return
    if file.recipe and file.series and file.series not in file.axes:
        yield document.mistake(f"expected one of the axes, got `{file.series}`", "series")
    for column in file.columns:
        if column not in COLUMNS:
            known = did_you_mean(column, COLUMNS) or f"known: {', '.join(COLUMNS)}"
            yield document.mistake(f"unknown column `{column}`; {known}", "columns")
    yield from _check_levels(list(_levels(file)), document)
    yield from _check_options(file.options, document, "options")


def _check_levels(levels: list[FactorLevel], document: Document) -> Iterator[Issue]:
    where = "levels" if document.value.get("levels") else "recipe"
    seen: set[str] = set()
    for level in levels:
        if level.name in seen:
            yield document.mistake(f"level `{level.name}` is given twice", where)
        seen.add(level.name)
        try:
            parse_recipe(level.recipe)
        except (UnknownName, UsageError) as error:
            yield document.mistake(error.message, where)
        yield from _check_options(level.changes, document, where)


def _check_options(options: Mapping[str, Any], document: Document, where: str) -> Iterator[Issue]:
    known = {one.keyword for one in options_of(COMPARE, deep=False)} - {*_NOT_TAKEN}
    for name in options:
        if name not in known:
            other = did_you_mean(name, known) or "docs/options.md has them all"
            yield document.mistake(f"unknown option `{name}`; {other}", where, name)
