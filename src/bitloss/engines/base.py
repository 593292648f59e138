"""The seam between a run and what computes its numbers.

An *engine* is a plug of `bitloss.registry.ENGINES`: one object that satisfies `Engine`. It gives
two things:

- a `PairScorer`, which evaluates candidates beside a reference on given token ids and writes one
  record per piece of work. An engine with a fast way of its own (the dense one: bodies first, heads
  after) writes its own `PairScorer`. Every other engine needs only `Engine.logits`, a function from
  windows to next-token logits: `bitloss.engines.logits.LogitsScorer` does the rest.
- a `TextModel`, which continues prompts.

What an engine cannot do is missing from its `abilities` and `columns`, never approximated.
`tests/engines/conformance.py` holds every engine to what it claims.

Whatever decides a number is part of `Engine.identity`, and hence of the names under which records
are stored: two engines, or two versions of one, never share a record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import BitlossError
from bitloss.formats.base import Checkpoint, ModelIdentity
from bitloss.requests import Generated, GenerateRequest
from bitloss.types import IntArray, Progress, Window

if TYPE_CHECKING:
    import torch

__all__ = [
    "PAIR_COLUMNS",
    "REFERENCE_COLUMNS",
    "Ability",
    "Candidate",
    "Cost",
    "Engine",
    "LogitsModel",
    "Model",
    "PairScorer",
    "Piece",
    "Scores",
    "Setup",
    "Store",
    "TextModel",
    "TextSetup",
    "Work",
    "piece_targets",
]

Ability = Literal["score", "generate"]

REFERENCE_COLUMNS = ("window", "token", "nll", "entropy")
"""Columns of the reference's own records; ``greedy`` besides if prefixes are shared."""

PAIR_COLUMNS = (
    "window", "token", "reference_nll", "reference_entropy", "nll", "entropy", "kl_divergence",
    "same_top1", "delta_p",
)  # fmt: skip
"""Columns of a candidate's records; ``greedy`` besides if prefixes are shared. See
`bitloss.types.TokenRecords` for their meaning and units."""


# What is evaluated ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Model:
    """A model as an engine gets it.

    Attributes:
        name: as the user wrote it, for people.
        identity: digest, config, vocabulary and context: all that a run needs to know of it.
        weights: its tensors, if they can be decoded; None for a model behind a server.
        path: where its files are; None for a model without any.
        code: directory of the model's own Python code, if it has some and may run it.
    """

    name: str
    identity: ModelIdentity
    weights: Checkpoint | None = None
    path: Path | None = None
    code: Path | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model together with how it is run.

    Attributes:
        model: the model.
        engine: name in `bitloss.registry.ENGINES`.
        arithmetic: one of the engine's own (the dense engine's: ``fp32``, ``mixed``, ``bf16``).
        device: a torch device.
        alone: read one window at a time: other shapes, hence other rounding, for the noise floor.
    """

    model: Model
    engine: str = "dense"
    arithmetic: str = "fp32"
    device: str = "cpu"
    alone: bool = False

    @property
    def label(self) -> str:
        """For people and as a key within one scoring: model, engine and arithmetic."""
        return f"{self.model.name} ({self.engine} {self.arithmetic}{', alone' * self.alone})"


class Piece(Protocol):
    """Neighbouring windows that are scored, stored and resumed as one."""

    @property
    def first(self) -> int:
        """Index of the first window in the plan."""

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows."""

    @property
    def digest(self) -> str:
        """sha256 (hex) over their tokens and scored ranges."""

    @property
    def tokens(self) -> int:
        """Tokens that a model reads."""

    def window_index(self) -> IntArray:
        """The plan's window index of each scored token, shape ``[n_scored]``."""


# Where results go -----------------------------------------------------------------------------


class Store(Protocol):
    """What scorers write to; `bitloss.runner.store.RunStore` is one.

    Names are fingerprints of everything that decides the content, so what is there is right, and
    resuming is skipping it.
    """

    def has_records(self, fingerprint: str) -> bool:
        """Whether these records are there."""

    def write_records(
        self, fingerprint: str, columns: Mapping[str, NDArray[Any] | list[Any]]
    ) -> None:
        """Write arrays or lists of equal length as one file."""

    def read_records(self, fingerprints: Sequence[str], columns: tuple[str, ...]) -> dict[str, Any]:
        """Read columns of several files, joined in the given order."""

    def has_states(self, fingerprint: str) -> bool:
        """Whether a tensor is there that an engine keeps between two jobs."""

    def write_states(self, fingerprint: str, states: Any) -> None:
        """Keep a tensor."""

    def read_states(self, fingerprint: str) -> Any:
        """Read a tensor that was kept."""

    def drop_states(self, fingerprint: str) -> None:
        """Remove a tensor that is no longer needed."""


@dataclass(slots=True)
class Scores:
    """Where the records of one scoring are.

    Attributes:
        reference: fingerprints of the reference's own records, one per piece.
        variants: by the candidate's label, fingerprints of its records, one per piece.
        failed: by the candidate's label, why it could not be scored.
    """

    reference: list[str] = field(default_factory=list)
    variants: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, BitlossError] = field(default_factory=dict)

    def records_of(self, candidate: Candidate) -> list[str]:
        """Fingerprints of a candidate's records, one per piece.

        Raises:
            BitlossError: it could not be scored.
        """
        if candidate.label in self.failed:
            raise self.failed[candidate.label]
        return self.variants[candidate.label]

    def not_failed(self, group: Sequence[Candidate]) -> list[Candidate]:
        """The candidates of the group that have not failed."""
        return [candidate for candidate in group if candidate.label not in self.failed]


# What it costs --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Work:
    """What a model is to do.

    Attributes:
        read: tokens read.
        scored: positions scored.
        written: tokens generated, at most.
    """

    read: int = 0
    scored: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work of one model takes.

    Attributes:
        seconds: estimated; None if nothing is known to estimate from.
        memory_bytes: at the peak.
        disk_bytes: written, intermediate files included.
    """

    seconds: float | None = None
    memory_bytes: int = 0
    disk_bytes: int = 0


# Scoring --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setup:
    """What a scorer is given.

    Attributes:
        store: where it reads and writes.
        reference: the reference and how it is run.
        progress: where to report.
        batch_tokens: tokens in one forward.
        share_prefixes: what windows begin with in common may be computed once (tasks; running text
            has nothing of the kind). Records then say besides whether a token is the most likely
            one (column ``greedy``).
        state_bytes: what may be kept in the store between jobs, at most.
    """

    store: Store
    reference: Candidate
    progress: Progress
    batch_tokens: int = 2048
    share_prefixes: bool = False
    state_bytes: int = 8 << 30


class PairScorer(Protocol):
    """Evaluates candidates of one engine beside one reference, on the same tokens.

    The work has two parts, so that a machine can do the first for each model by itself:
    `prepare` reads the text with one model, `score` compares. Both skip what the store has, so a
    scorer that was killed at any moment ends with the same bytes when it is called again.
    """

    @property
    def reference(self) -> Candidate:
        """The reference and how it is run."""

    def pieces(self, windows: Sequence[Window]) -> Sequence[Piece]:
        """Cut windows into pieces; how they are cut changes no number."""

    def smallest_pieces(self, windows: Sequence[Window]) -> Sequence[Piece]:
        """Cut windows into the smallest pieces that can be scored alone without changing a number:
        what can be drawn at random.
        """

    def rounds(self, pieces: Sequence[Piece], candidates: int) -> int:
        """How many candidates can be prepared before they have to be scored, at least 1."""

    def prepare(
        self, pieces: Sequence[Piece], candidate: Candidate, group: Sequence[Candidate]
    ) -> None:
        """Do what one model does by itself.

        Args:
            pieces: from `pieces`.
            candidate: the reference, or one of the group.
            group: the candidates that are going to be scored together.

        Raises:
            CheckpointError: the model's weights are incomplete or damaged.
            NumericalError: it gives NaN or infinite values.
            StorageError: the store cannot be written or holds a damaged file.
        """

    def score(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> Scores:
        """Write the records of the reference and of a group of candidates that are prepared.

        A candidate whose files or numbers are at fault is among `Scores.failed`, and the others go
        on.

        Raises:
            CheckpointError: the reference's weights are incomplete or damaged.
            NumericalError: the reference itself gives NaN or infinite values.
            StorageError: the store cannot be written or holds a damaged file.
        """

    def reference_logits(self, piece: Piece) -> Iterator[torch.Tensor]:
        """The reference's logits at the piece's scored tokens, in order, in blocks of positions,
        once the reference is prepared: what scorers of other engines compare with.
        """

    def noise_floor(self, windows: Sequence[Window]) -> list[str]:
        """Measure what the measurement itself adds when nothing was quantized.

        Returns:
            Fingerprints of records whose ``kl_divergence`` is between the reference and the
            reference once more, in an arithmetic or shapes that differ as little as this engine's
            own rounding does.
        """

    def exact(self) -> PairScorer | None:
        """The same scorer in the engine's most exact arithmetic; None if this is it."""


class LogitsModel(Protocol):
    """A loaded model that gives next-token logits: all that a general engine has to write."""

    @property
    def vocabulary(self) -> int:
        """Number of logits per position."""

    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        """Logits that predict the window's scored tokens, in order, in blocks of positions.

        Args:
            window: the model reads ``ids[:-1]`` and predicts ``ids[first:]``.

        Yields:
            Float32, shape ``[some positions, vocabulary]``; ``n_scored`` positions in all.

        Raises:
            NumericalError: NaN or infinite logits.
        """


# Generation -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextSetup:
    """What a text model is given.

    Attributes:
        config: the reference's config; a variant is read into the reference's module graph.
        decode: token ids to text.
        eos_ids: tokens that end a text.
        batch_tokens: tokens in one forward.
    """

    config: Mapping[str, Any]
    decode: Callable[[Sequence[int]], str]
    eos_ids: Collection[int]
    batch_tokens: int = 2048


class TextModel(Protocol):
    """A loaded model that continues prompts."""

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """Continue all prompts; each is given back as soon as it is done.

        Yields:
            The request's index, and its text.

        Raises:
            CorpusError: a prompt leaves no room in the model's context.
            NumericalError: NaN or infinite values.
        """


# The plug -------------------------------------------------------------------------------------


class Engine(Protocol):
    """What the registry holds under an engine's name; it loads no model and keeps no state."""

    @property
    def name(self) -> str:
        """As in the registry."""

    @property
    def version(self) -> str:
        """Raised by hand whenever a change of the engine may change a number."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can be asked: ``score`` needs `logits` or `scorer`, ``generate`` `text_model`."""

    @property
    def columns(self) -> frozenset[str]:
        """Columns of `PAIR_COLUMNS` that its records have; the others are absent from results."""

    @property
    def reference_engine(self) -> str:
        """The engine that the reference is run with when variants are run with this one."""

    def identity(self, candidate: Candidate, *, batch_tokens: int) -> Mapping[str, Any]:
        """Everything that decides the numbers of a candidate, as plain values: versions of engine
        and libraries, settings, device kind, and the model's digest and config.
        """

    def arithmetic(self, asked: str, *, device: str, parameters: int, tokens: int) -> str:
        """The arithmetic that everything is scored in first.

        Args:
            asked: ``auto``, or the user's choice.
            device: a torch device.
            parameters: of the reference.
            tokens: that all models together will read.
        """

    def cost(
        self, work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
    ) -> Cost:
        """What some work takes, estimated.

        Args:
            work: what the model is to do.
            model: whose; a variant that is not made yet is estimated as its reference.
            arithmetic: see `Candidate`.
            device: a torch device.
            measure: spend a moment on measuring this machine; without it `seconds` is None.
        """

    def scorer(self, setup: Setup) -> PairScorer | None:
        """A scorer for candidates and reference of this engine; None if `logits` is all it has."""

    def logits(self, candidate: Candidate, *, batch_tokens: int) -> LogitsModel:
        """Load a model that gives logits.

        Raises:
            UnsupportedModel: the engine cannot run it.
            BitlossError: its files are incomplete or damaged.
        """

    def text_model(self, candidate: Candidate, setup: TextSetup) -> TextModel:
        """Load a model that writes.

        Raises:
            UnsupportedModel: the engine cannot run it.
            BitlossError: its files are incomplete or damaged.
        """

    def release(self) -> None:
        """Return memory that freed models left in the process, if the engine keeps any."""


def piece_targets(windows: Sequence[Window]) -> IntArray:
    """The scored tokens of all windows, shape ``[n_scored]``."""
    return np.concatenate([window.ids[window.first :] for window in windows])
