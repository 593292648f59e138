"""What the calibration text does: domains calibrated on, crossed with domains evaluated on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitloss.errors import BitlossError, UnknownName
from bitloss.results.values import Failure
from bitloss.spec.recipe import parse_recipe
from bitloss.studies.base import FactorLevel, Prepared, Study, Subject
from bitloss.studies.calibration.domains import DOMAINS, write_domain
from bitloss.studies.calibration.leaks import find_leaks
from bitloss.studies.calibration.matrix import conclude
from bitloss.studies.calibration.tasks import find_tasks

__all__ = ["CALIBRATION"]

_LEVEL = re.compile(r"(?P<recipe>[^@]+)@(?P<domain>[a-z]+)(?::(?P<samples>\d+)x(?P<length>\d+))?")
_METHODS = ("gptq-3", "awq-4", "gguf-q2_k-imatrix")
_DEFAULT = ("prose", "code", "math", "chinese", "random", "own")


@dataclass(frozen=True, slots=True)
class _Parts:
    recipe: str
    domain: str
    size: tuple[int, int] | None


def _parts(text: str) -> _Parts:
    found = _LEVEL.fullmatch(text)
    if found is None or found["domain"] not in DOMAINS:
        raise UnknownName(
            "level of the study `calibration`",
            text,
            VALUES,
            hint=f"write RECIPE@DOMAIN, or RECIPE@DOMAIN:SEQUENCESxTOKENS; domains: "
            f"{', '.join(DOMAINS)}",
        )
    samples = found["samples"]
    size = None if samples is None else (int(samples), int(found["length"]))
    return _Parts(found["recipe"], found["domain"], size)


def _parse(text: str) -> FactorLevel:
    parts = _parts(text)
    name = f"{parts.recipe}@{parts.domain}"
    parse_recipe(name)  # a recipe that does not calibrate is refused
    changes: Mapping[str, Any] = {}
    if parts.size is not None:
        changes = {"calibration": {"samples": parts.size[0], "length": parts.size[1]}}
    # Domains are no steps of anything; sizes of one domain are.
    return FactorLevel(text, name, name, changes)


def _prepare(subject: Subject) -> Prepared:
    """Write the texts of every domain that is named; levels without a text are marked."""
    files: dict[str, tuple[Path, Path]] = {}
    failed: dict[str, Failure] = {}
    for name in dict.fromkeys(_parts(level.name).domain for level in subject.levels):
        try:
            files[name] = write_domain(DOMAINS[name], subject)
        except BitlossError as error:
            failed[name] = Failure(message=error.message, hint=error.hint)
    levels = []
    for level in subject.levels:
        parts = _parts(level.name)
        if parts.domain in files:
            path = files[parts.domain][0]
            levels.append(replace(level, recipe=f"{parts.recipe}@{path}"))
        else:
            levels.append(level)
    texts = {
        name: (one.read_text(encoding="utf-8"), other.read_text(encoding="utf-8"))
        for name, (one, other) in files.items()
    }
    evaluated = [str(path) for _, path in files.values()]
    tasks, told = find_tasks(tuple(files), subject)
    return Prepared(
        tuple(levels),
        {"corpora": evaluated, **tasks, **subject.options},
        findings=(*([find_leaks(texts)] if texts else []), *told),
        failed={
            level.name: failed[domain]
            for level in subject.levels
            if (domain := _parts(level.name).domain) in failed
        },
    )


VALUES = tuple(f"{method}@{domain}" for method in _METHODS for domain in _DEFAULT)

CALIBRATION = Study(
    name="calibration",
    factor="calibration text",
    question="Which text should this model be calibrated on?",
    values=VALUES,
    parse=_parse,
    columns=("relative_perplexity", "kl_divergence", "loss"),
    prepare=_prepare,
    conclude=conclude,
)
