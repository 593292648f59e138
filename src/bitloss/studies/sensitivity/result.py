"""The answer of `bitloss study sensitivity`: ``OUT/sensitivity/<model>/sensitivity.json``."""

from __future__ import annotations

from typing import ClassVar, Final

from bitloss.errors import DataError
from bitloss.results import Environment, Estimate, Failure, ProtocolUsed
from bitloss.results.document import DocumentKind
from bitloss.results.values import Frozen
from bitloss.studies.document import StudyDocument
from bitloss.studies.sensitivity.decide import Standing

__all__ = [
    "SENSITIVITY",
    "SENSITIVITY_VERSION",
    "DivisionResult",
    "PartResult",
    "SensitivityResult",
    "VariantParts",
    "WorkDone",
]

SENSITIVITY_VERSION: Final = 1
SENSITIVITY: Final = DocumentKind(
    "sensitivity study",
    "sensitivity_version",
    SENSITIVITY_VERSION,
    DataError,
    "bitloss study sensitivity",
)


class PartResult(Frozen):
    """What one part of a variant costs.

    Attributes:
        part: its name: ``down``, ``layer-3``, ``layer-3.down``.
        weights: how many numbers it has.
        tensors: how many tensors.
        loss: KL(reference || hybrid), nats per token, with this part of the variant alone.
        share: `loss` over the variant's loss, on the same windows.
        recovered: by which share of the variant's loss it falls if this part alone is the
            reference's again; null if that was not measured.
        standing: see `bitloss.studies.sensitivity.decide.Standing`.
        n_windows: windows scored.
        decided: whether scoring stopped because nothing that matters was open.
    """

    part: str
    weights: int
    tensors: int
    loss: Estimate
    share: Estimate
    recovered: Estimate | None = None
    standing: Standing
    n_windows: int
    decided: bool


class DivisionResult(Frozen):
    """The parts of one division, the most loss first.

    Attributes:
        division: a name in `bitloss.engines.dense.swaps.parts.DIVISIONS`.
        parts: those that the variant has otherwise than the reference.
        unchanged: parts that are the reference's to the bit: they cost nothing.
        sum_of_parts: the losses of all parts together over the variant's: 1 if losses add up.
        sum_windows: windows that all of them were scored on.
    """

    division: str
    parts: tuple[PartResult, ...]
    unchanged: tuple[str, ...] = ()
    sum_of_parts: Estimate
    sum_windows: int


class VariantParts(Frozen):
    """One variant.

    Attributes:
        name: as the user wrote it.
        digest: sha256 (hex) of its weights; null if it could not be made.
        bits_per_weight: of its files.
        loss: KL(reference || variant), nats per token; null if it has none.
        divisions: in the order asked for.
        notes: what a reader should know.
        error: why it was not measured; null if it was.
    """

    name: str
    digest: str | None = None
    bits_per_weight: float | None = None
    loss: Estimate | None = None
    divisions: tuple[DivisionResult, ...] = ()
    notes: tuple[str, ...] = ()
    error: Failure | None = None


class WorkDone(Frozen):
    """How much was computed.

    Attributes:
        swaps: hybrids scored, the variants among them.
        looks: how many times the text was looked at.
        windows: windows of the text that any part was scored on.
        share_of_full: estimated multiplications over those of scoring every swap in full on the
            whole text.
        reused_states: whether swaps began at the first layer that they change.
    """

    swaps: int
    looks: int
    windows: int
    share_of_full: float
    reused_states: bool


class SensitivityResult(StudyDocument):
    """What a study of parts found. ``print(result)`` shows it as plain tables.

    Attributes:
        sensitivity_version: of this document.
        model: the reference, as the user wrote it.
        digest: sha256 (hex) of its weights and configuration.
        corpus: the text.
        protocol: how it was cut.
        n_windows: windows of it that could be drawn.
        n_tokens: scored tokens of those.
        sequential: whether scoring stopped as soon as the ranking was decided; intervals then hold
            at every look.
        statements: how many the family has that standings are corrected for.
        variants: in the order given.
        work: how much was computed.
        environment: what the results depend on besides models and data.
    """

    kind: ClassVar[DocumentKind] = SENSITIVITY
    short: ClassVar[str] = "sensitivity"

    sensitivity_version: int = SENSITIVITY_VERSION
    model: str
    digest: str
    corpus: str
    protocol: ProtocolUsed
    n_windows: int
    n_tokens: int
    sequential: bool
    statements: int
    variants: tuple[VariantParts, ...]
    work: WorkDone
    environment: Environment
