"""The models of a run: their files, how variants were made, and what was found of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bitloss.results.corpora import CorpusComparison, ReferenceCorpus
from bitloss.results.environment import PackUsed
from bitloss.results.replicates import OwnSpread, Replicates
from bitloss.results.served import Served
from bitloss.results.speed import ModelSpeed
from bitloss.results.tasks import Ability, CapabilityResult, ReferenceTask, VariantTask
from bitloss.results.values import OMIT_NULL, Failure, Frozen
from bitloss.results.verdicts import LossRanking, Verdict

__all__ = ["ModelFacts", "ReferenceResult", "VariantResult"]


class ModelFacts(Frozen):
    """What is known of a model's files (`bitloss.types.ModelInfo`); null where it has none."""

    name: str
    digest: str | None = None
    format: str | None = None
    bits: float | None = None
    bits_per_weight: float | None = None
    group_size: int | None = None
    desc_act: bool | None = None
    calibration: str | None = None
    file_bytes: int | None = None
    parameters: int | None = None
    architecture: str | None = None


class ReferenceResult(ModelFacts):
    """The reference: its files and its own results, on corpora and tasks by name.

    `abilities` says of each capability whether the reference has it; absent if no task was run.
    `pack` is the pack that the reference was read from; absent if its weights were.
    """

    digest: str
    format: str
    bits: float
    bits_per_weight: float
    file_bytes: int
    parameters: int
    corpora: dict[str, ReferenceCorpus]
    tasks: Annotated[dict[str, ReferenceTask] | None, OMIT_NULL] = None
    abilities: Annotated[dict[str, Ability] | None, OMIT_NULL] = None
    pack: Annotated[PackUsed | None, OMIT_NULL] = None


class VariantResult(ModelFacts):
    """A variant: its files, how it was made, and what it lost.

    Attributes:
        recipe: how bitloss made it; null for files that were there.
        own_spread: whether the intervals include what another seed of the recipe would change;
            absent for a file, which is one copy, and all of what is said is of it.
        replicates: of a recipe that was made several times; else absent. Results are then means
            over the replicates, with intervals over items and seeds; facts of the files are the
            first replicate's.
        status: ``"failed"`` for a variant that could not be made, read or scored.
        error: present if it failed.
        corpora: by name; what was scored before a failure stays.
        tasks: by name; absent if none was run.
        not_measured: by task that the run's first engine cannot score for it, why; absent if there
            is none.
        capabilities: what tasks of one capability say together; absent if no task was run.
        verdict: whether it is acceptable; absent if nothing was scored.
        loss_ranking: which capability lost most; absent if no task was run.
        speed: how fast it is beside the reference, and what it takes to hold it; absent if that was
            not measured.
        served: the same variant in further ways to run it; absent if the run has only one.
    """

    recipe: dict[str, Any] | None = None
    own_spread: Annotated[OwnSpread | None, OMIT_NULL] = None
    replicates: Annotated[Replicates | None, OMIT_NULL] = None
    status: Literal["ok", "failed"] = "ok"
    error: Annotated[Failure | None, OMIT_NULL] = None
    corpora: dict[str, CorpusComparison] = Field(default_factory=dict)
    tasks: Annotated[dict[str, VariantTask] | None, OMIT_NULL] = None
    not_measured: Annotated[dict[str, str] | None, OMIT_NULL] = None
    capabilities: Annotated[dict[str, CapabilityResult] | None, OMIT_NULL] = None
    verdict: Annotated[Verdict | None, OMIT_NULL] = None
    loss_ranking: Annotated[LossRanking | None, OMIT_NULL] = None
    speed: Annotated[ModelSpeed | None, OMIT_NULL] = None
    served: Annotated[tuple[Served, ...] | None, OMIT_NULL] = None

    @property
    def not_measurable(self) -> tuple[str, ...]:
        """Capabilities without a measurable loss: the reference does not have them."""
        if self.verdict is None:
            return ()
        verdicts = self.verdict.capabilities.items()
        return tuple(name for name, one in verdicts if one.outcome == "not measurable")

    @model_validator(mode="after")
    def _error_iff_failed(self) -> Self:
        if (self.status == "failed") != (self.error is not None):
            raise ValueError(f"variant `{self.name}`: an error goes with status failed, only")
        return self
