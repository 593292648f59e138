"""What a study is: one factor, its levels, and what answers its question.

A study is one value of `Study` in a file of its own, and one line in `bitloss.registry.STUDIES`. It
decides what is measured and what is concluded, never how: running, pairing, intervals, tables, page
and document are the same for all studies (`bitloss.studies.run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss.types import Progress, SilentProgress

if TYPE_CHECKING:
    from bitloss.results.values import Failure
    from bitloss.studies.findings import Finding
    from bitloss.studies.measured import Measured

__all__ = ["FactorLevel", "Prepared", "Study", "Subject"]


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


def _as_asked(subject: Subject) -> Prepared:
    return Prepared(subject.levels, subject.options)


def _nothing_more(measured: Any) -> tuple[Finding, ...]:
    del measured
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A factor of quantization and how to measure it, composed of facts and plain functions.

    `bitloss.studies.sweep.recipe_sweep` makes one whose levels are recipes.

    Attributes:
        name: the name in `bitloss.registry.STUDIES`.
        factor: what is varied, as a noun phrase: ``"group size"``.
        question: what the study answers, in a sentence that ends with a question mark.
        values: the default levels as `--vary` spells them, in the order in which neighbors are
            compared.
        parse: turns one value of `--vary` into a level. Raises `UsageError` for anything that is
            not a level of this factor.
        columns: names of `bitloss.studies.columns` that answer the question, in the order shown.
        options: keywords of `bitloss.api.make_spec` that hold where the user chose nothing else.
        prepare: decides what is run for a model, and makes what that needs: texts, or levels that
            depend on the model (its layers). Raises `BitlossError` where the model cannot be
            studied.
        conclude: what the levels of one model come to: sentences, tables and charts beyond those
            that every study has. Called right after the model's runs.
        across: the same over all models, in the order given.
    """

    name: str
    factor: str
    question: str
    values: tuple[str, ...]
    parse: Callable[[str], FactorLevel]
    columns: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    prepare: Callable[[Subject], Prepared] = _as_asked
    conclude: Callable[[Measured], tuple[Finding, ...]] = _nothing_more
    across: Callable[[Sequence[Measured]], tuple[Finding, ...]] = _nothing_more

    @property
    def levels(self) -> tuple[FactorLevel, ...]:
        """The default levels."""
        return tuple(self.parse(value) for value in self.values)
