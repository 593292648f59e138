"""Limits as they were given, before anything is known of the run: by flag, call or file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitloss.checks.measures import MEASURES, Measure, parse_limit
from bitloss.errors import UnknownName, UsageError
from bitloss.spec.documents import Document, Issue, raise_issues, read_document, validate

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["ALL", "LimitValues", "Rule", "read_thresholds", "rules_of"]

ALL = "all"
"""In place of a name: every corpus, or every capability for losses."""

LimitValues = float | str | Mapping[str, float | str]
"""One limit for all, or limits by name: ``0.05``, ``"2%"``, ``{"all": 0.05, "code": 0.1}``."""

_HINT = "see docs/check.md for every threshold"


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit, and what it is for.

    Attributes:
        measure: what is limited.
        name: of a corpus, capability or task, also as ``corpus:code``; None is all of the
            measure's default kind.
        limit: the number.
        origin: where it was given, for messages.
        variant: the only one that it is for; None is all.
        flag: whether it was given by flag or call, which goes before a file.
    """

    measure: Measure
    name: str | None
    limit: float
    origin: str
    variant: str | None = None
    flag: bool = False


def rules_of(values: Mapping[str, LimitValues | None]) -> tuple[Rule, ...]:
    """Limits that were given by flag or call.

    Args:
        values: by the keys of `bitloss.checks.measures.MEASURES`; None is no limit.

    Raises:
        UsageError: values that are no limits, all of them reported at once.
    """
    rules, wrong = [], []
    for key, given in values.items():
        if (measure := MEASURES.get(key)) is None:
            raise UnknownName("threshold", key, MEASURES)
        for name, value in _by_name(given):
            origin = measure.flag if name is None else f"{measure.flag} {name}"
            try:
                rules.append(Rule(measure, name, parse_limit(measure, value), origin, flag=True))
            except ValueError as error:
                wrong.append(f"{origin}: {error}")
    if wrong:
        raise UsageError("; ".join(wrong), hint=_HINT)
    return tuple(rules)


def read_thresholds(path: Path) -> tuple[Rule, ...]:
    """Limits from a YAML file.

    Raises:
        UsageError: it cannot be read, or has errors, all of them reported with their lines.
    """
    document, mistakes = read_document(path, "thresholds", begins="max_kld")
    _, invalid = validate(_schema(), document)
    mistakes += invalid
    rules: list[Rule] = []
    for entry in _entries(document, (), None):
        (mistakes if isinstance(entry, Issue) else rules).append(entry)  # type: ignore[arg-type]
    variants = document.value.get("variants")
    for name, below in variants.items() if isinstance(variants, dict) else ():
        if isinstance(below, dict):
            for entry in _entries(document, ("variants", name), name):
                (mistakes if isinstance(entry, Issue) else rules).append(entry)  # type: ignore[arg-type]
    if not rules and not mistakes:
        mistakes.append(document.mistake("expected at least one threshold, got none"))
    raise_issues(path, "thresholds", mistakes, hint=_HINT)
    return tuple(rules)


def _schema() -> type[BaseModel]:
    """Which keys there may be; their values are looked at one by one."""
    from pydantic import ConfigDict, Field, create_model

    forbid = ConfigDict(extra="forbid")
    limits: dict[str, Any] = dict.fromkeys(MEASURES, (Any, None))
    below = create_model("VariantThresholds", __config__=forbid, **limits)
    return create_model(
        "Thresholds",
        __config__=forbid,
        **limits,
        variants=(dict[str, below], Field(default_factory=dict)),  # type: ignore[valid-type]
    )


def _entries(
    document: Document, at: tuple[str, ...], variant: str | None
) -> Iterator[Rule | Issue]:
    values = document.value
    for step in at:
        values = values[step]
    for key, given in values.items():
        if (measure := MEASURES.get(key)) is None:
            continue  # reported by the schema
        if isinstance(given, dict) and not given:
            given = None
        for name, value in _by_name(given, absent=False):
            place = (*at, key) if name is None and not isinstance(given, dict) else (
                *at, key, name or ALL,
            )  # fmt: skip
            try:
                limit = parse_limit(measure, value)
            except ValueError as error:
                yield document.mistake(str(error), *place)
                continue
            line = document.lines.get(place)
            yield Rule(measure, name, limit, f"{document.path}:{line}", variant=variant)


def _by_name(given: object, *, absent: bool = True) -> Iterable[tuple[str | None, object]]:
    """Limits with their names; no limit at all is absent, or a value like others."""
    if isinstance(given, Mapping):
        return [(None if name == ALL else str(name), value) for name, value in given.items()]
    return [] if given is None and absent else [(None, given)]
