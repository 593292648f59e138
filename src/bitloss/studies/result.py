"""The answer of a study: ``OUT/<study>/study.json``, and what Python code gets."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from bitloss.errors import DataError
from bitloss.results import Environment, Estimate, Expected, Failure, ProtocolUsed, Standing
from bitloss.results.document import DocumentKind
from bitloss.results.values import OMIT_NULL, Frozen
from bitloss.studies.document import StudyDocument
from bitloss.studies.findings import Finding

__all__ = [
    "STUDY",
    "STUDY_VERSION",
    "CorpusMeasured",
    "LevelResult",
    "ModelResult",
    "Step",
    "StudyResult",
    "TaskMeasured",
]

STUDY_VERSION: Final = 1
STUDY: Final = DocumentKind("study", "study_version", STUDY_VERSION, DataError, "bitloss study")


class LevelResult(Frozen):
    """What one level costs the model.

    Attributes:
        level: as in `bitloss.studies.base.FactorLevel.name`.
        recipe: how the model was quantized.
        series: see `bitloss.studies.base.FactorLevel.series`.
        changes: what the level changes besides the recipe.
        error: why it was not measured; null if it was.
        bits_per_weight: of the quantized model, scales and unquantized layers included.
        file_bytes: size of its files.
        expected: the usual loss of its format; null if `bitloss.expectations` has no such row or
            the study does not show it.
        standing: its loss against `expected`, on the corpus where it is the largest.
        corpora: by corpus, then by column of the study.
        capabilities: by capability, then by column of the study; a loss is a share of the score,
            reference minus level.
        near_floor: corpora on which its divergence is within ten noise floors; absent without any.
        notes: what a reader should know of this level alone; absent without any.
    """

    level: str
    recipe: str
    series: str = ""
    changes: dict[str, Any] = Field(default_factory=dict)
    error: Failure | None = None
    bits_per_weight: float | None = None
    file_bytes: int | None = None
    expected: Expected | None = None
    standing: Standing | None = None
    corpora: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    capabilities: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    near_floor: Annotated[tuple[str, ...] | None, OMIT_NULL] = None
    notes: Annotated[tuple[str, ...] | None, OMIT_NULL] = None


class Step(Frozen):
    """The paired change from one level to the next measured level of its series.

    Attributes:
        before: the first level.
        after: its neighbor.
        corpora: by corpus, then by column: the ratio of perplexities (after over before), the
            divergence from the reference after minus before.
        capabilities: by capability, then by column: the further loss.
    """

    before: str
    after: str
    corpora: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    capabilities: dict[str, dict[str, Estimate]] = Field(default_factory=dict)


class CorpusMeasured(Frozen):
    """What was scored of a corpus.

    Attributes:
        protocol: how the text was cut and averaged.
        n_scored: tokens scored.
        n_windows: windows scored.
        perplexity: the reference's.
        notes: what a reader should know of the reference's result.
    """

    protocol: ProtocolUsed
    n_scored: int
    n_windows: int
    perplexity: float | None
    notes: tuple[str, ...] = ()


class TaskMeasured(Frozen):
    """What was evaluated of a task.

    Attributes:
        capability: the one it measures.
        metric: its score's name.
        n_scored: items evaluated.
        score: the reference's, 0 to 1.
        notes: what a reader should know of the reference's result.
    """

    capability: str
    metric: str
    n_scored: int
    score: Estimate
    notes: tuple[str, ...] = ()


class ModelResult(Frozen):
    """A study's answer for one model.

    Attributes:
        name: the reference, as the user wrote it.
        digest: sha256 (hex) of its weights and configuration.
        format: its format.
        run: the run directory with the records, relative to the study's `--out`.
        corpora: by name.
        tasks: by name.
        levels: in the order of the study.
        steps: between neighboring levels of a series, in the order of the levels.
        environment: what the results depend on besides models and data, for the first level; a
            level's `changes` say what differs.
        findings: what the study concludes of this model; absent where it concludes nothing.
    """

    name: str
    digest: str
    format: str
    run: str
    corpora: dict[str, CorpusMeasured]
    tasks: dict[str, TaskMeasured]
    levels: tuple[LevelResult, ...]
    steps: tuple[Step, ...]
    environment: Environment
    findings: Annotated[tuple[Finding, ...] | None, OMIT_NULL] = None


class StudyResult(StudyDocument):
    """What a study found. ``print(result)`` shows it as plain tables.

    Intervals are 95% intervals, each on its own: they are not corrected for their number.

    Attributes:
        study_version: of this document; no other is read.
        study: name of the study.
        factor: what was varied.
        question: that the study answers.
        columns: what was measured (`bitloss.studies.columns`).
        models: in the order given.
        findings: what the study concludes over all models; absent where it concludes nothing.
        command: the words of the command line; empty if Python called it.
    """

    kind: ClassVar[DocumentKind] = STUDY
    short: ClassVar[str] = "study"

    study_version: int = STUDY_VERSION
    study: str
    factor: str
    question: str = ""
    columns: tuple[str, ...]
    models: tuple[ModelResult, ...]
    findings: Annotated[tuple[Finding, ...] | None, OMIT_NULL] = None
    command: str = ""
