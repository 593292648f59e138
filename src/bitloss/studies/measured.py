"""A model's levels once they are measured: what a study concludes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bitloss.results import Comparison, VariantResult
from bitloss.spec.run import RunSpec
from bitloss.studies.levels import FactorLevel
from bitloss.studies.paired import RunRecords
from bitloss.studies.result import LevelResult, ModelResult
from bitloss.types import Progress

__all__ = ["Measured", "MeasuredRun"]


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run of levels that differ in nothing but their recipes.

    Attributes:
        spec: of the run.
        comparison: its result.
        records: behind it.
        levels: that it measured.
    """

    spec: RunSpec
    comparison: Comparison
    records: RunRecords
    levels: tuple[FactorLevel, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A model's levels, measured.

    Attributes:
        result: what every study has of the model.
        runs: behind it; one, unless levels change the run.
        folder: the run directory.
        timed: whether speed was asked for.
        progress: where to report.
    """

    result: ModelResult
    runs: tuple[MeasuredRun, ...]
    folder: Path
    timed: bool
    progress: Progress

    @property
    def seed(self) -> int:
        """Of the bootstrap."""
        return self.result.environment.seeds.bootstrap

    @property
    def levels(self) -> tuple[LevelResult, ...]:
        """Those without an error, in the order of the study."""
        return tuple(level for level in self.result.levels if level.error is None)

    @property
    def corpora(self) -> tuple[str, ...]:
        """Names of the texts that were scored."""
        return tuple(self.result.corpora)

    def run_of(self, level: str) -> MeasuredRun:
        """The run that measured a level."""
        return next(run for run in self.runs if level in {one.name for one in run.levels})

    def variant(self, level: str) -> VariantResult:
        """A level's result in its run, with everything that a comparison says of a variant."""
        run = self.run_of(level)
        recipe = next(one.recipe for one in run.levels if one.name == level)
        return next(one for one in run.comparison.variants if one.name == recipe)

    def of_series(self) -> dict[str, Sequence[LevelResult]]:
        """The levels by series."""
        found: dict[str, list[LevelResult]] = {}
        for level in self.levels:
            found.setdefault(level.series, []).append(level)
        return dict(found)
