"""What a study is: one factor, its levels, and the columns that answer its question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

__all__ = ["FactorLevel", "Study"]


@dataclass(frozen=True, slots=True)
class FactorLevel:
    """One value of a study's factor.

    Attributes:
        name: as `--vary` spells it and as tables show it.
        recipe: how the model is quantized at this level (`bitloss list recipes`).
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


class Study(Protocol):
    """A frozen dataclass value: one factor and how to measure it. See `bitloss.studies.sweep`.

    A study decides what is measured, never how: running, pairing, intervals, tables and the
    document are the same for all studies (`bitloss.studies.run`).
    """

    @property
    def name(self) -> str:
        """The name in `bitloss.registry.STUDIES`."""

    @property
    def factor(self) -> str:
        """What is varied, as a noun phrase: ``"group size"``."""

    @property
    def levels(self) -> tuple[FactorLevel, ...]:
        """The default levels, in the order in which neighbors are compared."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of `bitloss.studies.columns` that answer the question, in the order shown."""

    def parse(self, text: str) -> FactorLevel:
        """Turn one value of `--vary` into a level.

        Raises:
            UsageError: it is not a level of this factor.
        """
