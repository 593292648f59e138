"""A study's levels, and the model that they are measured on, before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss.types import Progress, SilentProgress

if TYPE_CHECKING:
    from bitloss.results.values import Failure
    from bitloss.studies.findings import Finding

__all__ = ["FactorLevel", "Prepared", "Subject"]


@dataclass(frozen=True, slots=True)
class FactorLevel:
    """One value of a study's factor.

    Attributes:
        name: as `--vary` spells it and as tables show it.
        recipe: how the model is quantized at this level (`bitloss list recipes`), or the path of a
            quantized copy.
        series: levels of one series are compared with their neighbors. Levels that differ in more
            than the factor, such as two methods, belong to different series.
        changes: keywords of `bitloss.api.make_spec` that this level sets, for a factor that is not
            part of the recipe (``{"chat": True}``); levels with equal changes share one run. A
            step between levels is measured only where the reference is evaluated alike at both.
    """

    name: str
    recipe: str
    series: str = ""
    changes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is studied, before anything is run.

    Attributes:
        model: as the user wrote it.
        levels: those asked for.
        options: keywords of `bitloss.api.make_spec`, the study's own among them.
        folder: for what is made for this model alone, such as texts; it may not exist yet, and is
            kept, so that a study that is stopped finds it again.
        progress: where to report.
    """

    model: str
    levels: tuple[FactorLevel, ...]
    options: Mapping[str, Any]
    folder: Path
    progress: Progress = field(default_factory=SilentProgress)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is run for a model.

    Attributes:
        levels: of this model.
        options: keywords of `bitloss.api.make_spec` for all levels.
        findings: what is known before anything was run (a text that two sides share).
        failed: by level, why it cannot be run; the others are.
    """

    levels: tuple[FactorLevel, ...]
    options: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()
    failed: Mapping[str, Failure] = field(default_factory=lambda: MappingProxyType({}))
