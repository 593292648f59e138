"""The result of a run: ``RUN/comparison.json``, and what Python code gets.

The models below are the format; ``comparison.schema.json`` beside this file is made from them
(``python -m bitloss.results.schema``). Nothing in a result depends on when, where or how fast it
was measured: the same run gives the same bytes. Losses, entropies and divergences are in nats a
token. A number that does not exist (a limit from a single window, an infinite perplexity) is null.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from bitloss.errors import DataError
from bitloss.files import write_text
from bitloss.registry import VIEWS, load
from bitloss.results.document import dumps, loads
from bitloss.results.tasks import CapabilityResult, ReferenceTask, VariantTask
from bitloss.results.values import (
    DeltaP,
    Estimate,
    Frozen,
    KLDivergence,
    Limits,
    NoiseFloor,
    ProtocolUsed,
    Rescored,
    Stopped,
)
from bitloss.results.verdicts import Answer, Suffering, Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SCHEMA_VERSION",
    "Comparison",
    "CorpusComparison",
    "DeltaP",
    "Engine",
    "Environment",
    "Estimate",
    "Failure",
    "KLDivergence",
    "Limits",
    "ModelFacts",
    "NoiseFloor",
    "ProtocolUsed",
    "ReferenceCorpus",
    "ReferenceResult",
    "Rescored",
    "Stopped",
    "VariantResult",
]

SCHEMA_VERSION = 1


class ReferenceCorpus(Frozen):
    """A model's own figures on one corpus.

    Attributes:
        protocol: under which it was scored.
        digest: sha256 (hex) of the text.
        source: where it was read from, as the user named it, and whether it is the published text.
        dtype: arithmetic of the scoring.
        n_scored: tokens scored.
        n_total: tokens that the protocol scores without a limit.
        n_windows: windows scored.
        perplexity: under the protocol's averaging.
        perplexity_interval: its confidence limits, by the same bootstrap as all others.
        standard_error: the ± that llama.cpp prints; protocol ``llama.cpp`` only.
        bits_per_byte: mean loss in bits for each UTF-8 byte of the text.
        word_perplexity: protocol ``lm-eval-wikitext`` only.
        byte_perplexity: protocol ``lm-eval-wikitext`` only.
        entropy: mean entropy of the next-token distribution; absent where it was not measured.
        noise_floor: see `NoiseFloor`; null where it was not measured.
        notes: what a reader should know.
    """

    protocol: ProtocolUsed
    digest: str
    source: str = ""
    dtype: str
    n_scored: int = Field(ge=0)
    n_total: int = Field(ge=0)
    n_windows: int = Field(ge=0)
    perplexity: float | None
    perplexity_interval: Limits
    standard_error: float | None = None
    bits_per_byte: float | None
    word_perplexity: float | None = None
    byte_perplexity: float | None = None
    entropy: Estimate | None = None
    noise_floor: NoiseFloor | None = None
    notes: tuple[str, ...] = ()


class CorpusComparison(ReferenceCorpus):
    """A variant's figures on one corpus, beside the reference's on the same tokens.

    Attributes:
        reference_perplexity: the reference's, from the same tokens in the same arithmetic.
        relative_perplexity: variant over reference; best value 1.
        kl_divergence: best value 0.
        top1_agreement: share of positions with the same most likely token; best value 1.
        delta_p: change of the true token's probability.
        reference_entropy: the reference's mean entropy.
        rescored: see `Rescored`; absent where all comes from one scoring.
        stopped: why no more of the text was scored; absent where all of it was asked for.
    """

    reference_perplexity: float | None
    relative_perplexity: Estimate
    kl_divergence: KLDivergence
    top1_agreement: Estimate
    delta_p: DeltaP
    reference_entropy: Estimate
    rescored: Rescored | None = None
    stopped: Stopped | None = None


class Failure(Frozen):
    """Why a variant has no figures, and what can be done."""

    message: str
    hint: str = ""


class ModelFacts(Frozen):
    """What is known of a model's files (`bitloss.types.ModelInfo`); null where it has none.

    The last is reserved for later results of the same run.
    """

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
    cost: dict[str, Any] | None = None


class ReferenceResult(ModelFacts):
    """The reference: its files and its own figures, on corpora and tasks by name."""

    digest: str
    format: str
    bits: float
    bits_per_weight: float
    file_bytes: int
    parameters: int
    corpora: dict[str, ReferenceCorpus]
    tasks: dict[str, ReferenceTask] | None = None


class VariantResult(ModelFacts):
    """A variant: its files, how it was made, and what it lost.

    Attributes:
        recipe: how bitloss made it; null for files that were there.
        status: ``"failed"`` for a variant that could not be made, read or scored.
        error: present if it failed.
        corpora: by name; what was scored before a failure stays.
        tasks: by name; absent where none was asked.
        capabilities: what tasks of one capability say together; absent where no task was asked.
        verdict: whether it is acceptable; absent where nothing was scored.
        suffering: which capability lost most; absent where no task was asked.
    """

    recipe: dict[str, Any] | None = None
    status: Literal["ok", "failed"] = "ok"
    error: Failure | None = None
    corpora: dict[str, CorpusComparison] = Field(default_factory=dict)
    tasks: dict[str, VariantTask] | None = None
    capabilities: dict[str, CapabilityResult] | None = None
    verdict: Verdict | None = None
    suffering: Suffering | None = None

    @model_validator(mode="after")
    def _error_iff_failed(self) -> Self:
        if (self.status == "failed") != (self.error is not None):
            raise ValueError(f"variant `{self.name}`: an error goes with status failed, only")
        return self


class Engine(Frozen):
    """The engine that scored, and the version of its arithmetic."""

    name: str
    version: str = ""


class Environment(Frozen):
    """What the figures depend on besides models and text.

    Attributes:
        versions: of Python and of the packages at work.
        engine: see `Engine`.
        dtype: the arithmetic asked for (``auto`` decides for each row).
        device: a torch device.
        cpu: the vector instructions that torch uses.
        threads: of the engine.
        batch_tokens: tokens in one forward.
        seeds: by purpose.
        until: ``decided`` where variants were scored until their verdicts were settled; absent
            where all was.
        precision: half-width of the relative perplexity's interval that was enough, if one was.
        command: as the user typed it.
    """

    versions: dict[str, str]
    engine: Engine
    dtype: str
    device: str
    cpu: str = ""
    threads: int | None = None
    batch_tokens: int | None = None
    seeds: dict[str, int] = Field(default_factory=dict)
    until: Literal["decided"] | None = None
    precision: float | None = None
    command: str = ""


class Comparison(Frozen):
    """What a run found: the reference, every variant beside it, and what it comes to.

    ``print(comparison)`` gives plain tables, a notebook draws them, `to_dataframe` has every
    number.

    Attributes:
        schema_version: of this document.
        reference: its own figures.
        variants: in the order in which they were asked for.
        answer: what the verdicts come to; null without variants.
        environment: what the figures depend on besides models and texts.
        missing: of a run that was stopped, what was asked for and is not in here, in sentences;
            null for a finished one.
    """

    schema_version: int = SCHEMA_VERSION
    reference: ReferenceResult
    variants: tuple[VariantResult, ...] = ()
    answer: Answer | None = None
    environment: Environment
    missing: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_protocol_a_corpus(self) -> Self:
        for variant in self.variants:
            for name, corpus in variant.corpora.items():
                beside = self.reference.corpora.get(name)
                if beside is None or beside.protocol != corpus.protocol:
                    raise ValueError(
                        f"variant `{variant.name}` and the reference were not scored under one "
                        f"protocol on `{name}`"
                    )
        return self

    def to_json(self) -> str:
        """The document: fields in declared order, numbers as Python writes them, one final newline.

        Infinite and NaN numbers become null, with a note beside them.
        """
        return dumps(self.model_dump(mode="python"))

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = "comparison") -> Comparison:
        """Read the document back.

        Args:
            text: JSON.
            name: of the file, for errors.

        Raises:
            DataError: damaged, not a comparison, or of a newer schema.
        """
        values = loads(text, newest=SCHEMA_VERSION, name=name)
        try:
            return cls.model_validate(values)
        except ValidationError as fault:
            first = fault.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise DataError(
                f"{name}: not a comparison as bitloss writes it: {place}: {first['msg']}",
                hint="make it again from the run directory: repeat the `bitloss compare`",
            ) from fault

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the document; the file is there whole or not at all.

        Raises:
            StorageError: the system refuses.
        """
        write_text(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Comparison:
        """Read a result: the file, or the run directory it is in.

        Raises:
            DataError: there is none, or see `from_json`.
        """
        source = Path(path)
        if source.is_dir():
            source = source / "comparison.json"
        try:
            text = source.read_bytes()
        except OSError as fault:
            raise DataError(
                f"cannot read {source}: {fault.strerror or fault}",
                hint="give a finished run's directory or its comparison.json",
            ) from fault
        return cls.from_json(text, name=str(source))

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each model and corpus, one column for each number, the reference first.

        Raises:
            MissingDependency: pandas is not installed.
        """
        frame: pd.DataFrame = _view("dataframe", self)
        return frame

    def __repr__(self) -> str:
        names = ", ".join(variant.name for variant in self.variants)
        return f"<Comparison of {self.reference.name} with: {names or 'nothing'}>"

    def __str__(self) -> str:
        return str(_view("text", self))

    def _repr_html_(self) -> str:
        return str(_view("html", self))


def _view(name: str, comparison: Comparison) -> Any:
    """Draw it with a view from the registry: a document does not know who draws it."""
    return load("view", VIEWS, name)(comparison)
