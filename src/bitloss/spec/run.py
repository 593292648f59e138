"""A run, as asked for: every choice that a user can make, validated at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bitloss.errors import UsageError

__all__ = ["DtypePolicy", "RunSpec", "TaskChoice", "require_decidable"]

DtypePolicy = Literal["auto", "fp32", "mixed", "bf16"]


class TaskChoice(BaseModel):
    """A task of a run.

    Attributes:
        name: in the registry, or the path of a task file.
        limit: items, spread evenly over the task's subjects; None for all.
        shots: solved examples in the prompt; None is the task's own number.
        samples: texts for each item of a task that generates; None is the task's own number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    limit: int | None = Field(default=None, ge=1)
    shots: int | None = Field(default=None, ge=0)
    samples: int | None = Field(default=None, ge=1)


class RunSpec(BaseModel):
    """What `bitloss compare` was asked to do.

    Attributes:
        reference: a model, as written (see `bitloss.spec.model`).
        tokenizer: a model whose tokenizer and config are used; None is the reference.
        variants: models or recipes, as written; may be empty (perplexity of one model).
        corpora: names or paths of text files.
        corpus_limits: windows of a corpus, by its name in `corpora`, where there is no `limit`.
        tasks: what is asked besides.
        suite: the suite that corpora and tasks came from, for people.
        chat: put the model's chat template around every prompt of a task.
        unsafe_exec: run what models wrote without a sandbox.
        protocol: a perplexity protocol's name.
        protocol_parameters: values that replace the protocol's defaults.
        data: directory with local data, in the upstream layouts; None asks ``BITLOSS_DATA``,
            then the hub.
        dtype: arithmetic of the dense engine; ``auto`` decides by the measured noise floor.
        device: a torch device (``cpu``, ``cuda``, ``cuda:1``).
        limit: windows of each corpus and items of each task; None is their own, or all.
        samples: texts for each item of tasks scored by pass@k; None is their own number.
        calibration: corpus for recipes that need one and do not name it.
        calibration_samples: sequences that recipes calibrate on.
        calibration_length: tokens of each.
        seed: of bootstrap and calibration.
        batch_tokens: tokens in one forward.
        until: ``decided`` scores a variant until its verdict is settled, ``all`` to the end.
        precision: half-width of the relative perplexity's interval at which a variant is scored
            no further; None is none.
        trust_remote_code: let a model's own Python code run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: str
    tokenizer: str | None = None
    variants: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ("wikitext-2",)
    corpus_limits: dict[str, int] = Field(default_factory=dict)
    tasks: tuple[TaskChoice, ...] = ()
    suite: str | None = None
    chat: bool = False
    unsafe_exec: bool = False
    protocol: str = "strided"
    protocol_parameters: dict[str, Any] = Field(default_factory=dict)
    data: Path | None = None
    engine: Literal["dense"] = "dense"
    dtype: DtypePolicy = "auto"
    device: str = "cpu"
    limit: int | None = Field(default=None, ge=1)
    samples: int | None = Field(default=None, ge=1)
    calibration: str = "web"
    calibration_samples: int = Field(default=128, ge=1)
    calibration_length: int = Field(default=512, ge=1)
    seed: int = 0
    batch_tokens: int = Field(default=2048, ge=1)
    until: Literal["decided", "all"] = "all"
    precision: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    trust_remote_code: bool = False

    @property
    def sequential(self) -> bool:
        """Whether texts are scored in looks, in random order, until enough is known."""
        return self.until == "decided" or self.precision is not None


def require_decidable(spec: RunSpec) -> None:
    """Refuse a run that is to stop once something is decided, and has nothing to decide.

    Raises:
        UsageError: there are no variants, or no corpora.
    """
    if not spec.sequential:
        return
    if not spec.variants:
        raise UsageError(
            "expected variants to decide about, got the reference alone",
            hint="leave `until` and `precision` out, or name variants",
        )
    if not spec.corpora:
        raise UsageError(
            "expected a corpus to decide on, got tasks alone, which are always asked whole",
            hint="name a --corpus, or leave --until and --precision out",
        )
