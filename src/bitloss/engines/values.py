"""What goes through the seam: models, candidates, work, and where results are."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import BitlossError
from bitloss.formats.base import Checkpoint, ModelIdentity
from bitloss.requests import Decode
from bitloss.spec.serving import AS_COMPUTED, Serving
from bitloss.types import ExactTokenizer, IntArray, Progress, Window

__all__ = [
    "Candidate",
    "Cost",
    "Model",
    "Room",
    "Scores",
    "Setup",
    "Store",
    "TextSetup",
    "Work",
    "digest_windows",
    "scored_tokens",
    "window_index",
]


@dataclass(frozen=True, slots=True)
class Model:
    """A model as an engine gets it.

    Attributes:
        name: as the user wrote it, for people.
        identity: digest, config, vocabulary and context: all that a run needs to know of it.
        weights: its tensors, if they can be decoded; None for a model behind a server.
        path: its file or directory (`bitloss.formats.gguf.files.find_file` finds the GGUF file in
            either); None for a model without any.
        code: directory of the model's own Python code, if it has some and may run it.
        cache: where an engine keeps files that it makes of the model; None is the user's cache.
        recorded: of a model whose hidden states were computed elsewhere and whose weights are not
            here: what decided them (`bitloss.engines.base.Engine.identity`); None for others.
    """

    name: str
    identity: ModelIdentity
    weights: Checkpoint | None = None
    path: Path | None = None
    code: Path | None = None
    cache: Path | None = None
    recorded: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model together with how it is run.

    Attributes:
        model: the model.
        engine: name in `bitloss.registry.ENGINES`.
        arithmetic: one of the reference engine's (the dense engine's: ``fp32``, ``mixed``,
            ``bf16``). An engine with only one of its own ignores it.
        device: a torch device. An engine refuses one that it does not run on.
        alone: read one window at a time: other shapes, hence other rounding, for the noise floor.
            An engine that always does so ignores it.
        serving: types of its cache and activations; an engine refuses what it does not offer.
        nudged: move every layer's output by about what rounding does to it, at random by a fixed
            seed: how far a model is from itself when nothing but the last bit differs. Only engines
            that say so (`bitloss.engines.base.Engine.nudges`) can.
    """

    model: Model
    engine: str = "dense"
    arithmetic: str = "fp32"
    device: str = "cpu"
    alone: bool = False
    serving: Serving = AS_COMPUTED
    nudged: bool = False

    @property
    def label(self) -> str:
        """For people and as a key within one scoring: model, engine and arithmetic."""
        more = f"{', alone' * self.alone}{f', {self.serving.label}' if self.serving else ''}"
        more += ", nudged" * self.nudged
        return f"{self.model.name} ({self.engine} {self.arithmetic}{more})"


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


@dataclass(frozen=True, slots=True)
class Work:
    """What a model is to do.

    Attributes:
        read: tokens read.
        scored: positions scored: whose states are kept until they are compared.
        written: tokens generated, at most.
        texts: in how many texts.
        longest: tokens of the longest of them, with its prompt.
        compared: positions at which models are compared, each with its own head.
        variants: with the reference; 0 where it alone is scored.
        memory: bytes that the model may take; None is what the device has free.
    """

    read: int = 0
    scored: int = 0
    written: int = 0
    texts: int = 0
    longest: int = 0
    compared: int = 0
    variants: int = 0
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What some work of one model takes.

    Attributes:
        seconds: estimated; None if nothing is known to estimate from.
        memory_bytes: at the peak.
        disk_bytes: written, intermediate files included.
        by_layers: whether the model is read a layer at a time.
    """

    seconds: float | None = None
    memory_bytes: int = 0
    disk_bytes: int = 0
    by_layers: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """What a runtime that takes its memory at once is to be made for; no number depends on it.

    Attributes:
        tokens: of the longest text that it reads or writes; None if that is not known.
        memory: share of an accelerator's memory that it may take; None is what is free.
    """

    tokens: int | None = None
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a scorer is given.

    Attributes:
        store: where it reads and writes.
        reference: the reference and how it is run.
        progress: where to report.
        batch_tokens: tokens in one forward; a single window may be longer.
        share_prefixes: what windows begin with in common may be computed once (tasks; running text
            has nothing of the kind). Records then say besides whether a token is the most likely
            one (column ``greedy``).
        state_bytes: what may be kept in the store between jobs, at most.
        arithmetic: by engine, of candidates of another one than the reference's; one that is not
            named has the reference's.
        tokenizer: the run's, for engines that speak with their model in text.
        memory: bytes that a model may take; None is what the device has free.
        room: see `Room`.
        scratch: folder for files that end with the process; None is the system's place for them.
        devices: over which an engine may put the layers of a model that does not fit on the
            reference's, which is the first of them; none is that one alone.
    """

    store: Store
    reference: Candidate
    progress: Progress
    batch_tokens: int = 2048
    share_prefixes: bool = False
    state_bytes: int = 8 << 30
    arithmetic: Mapping[str, str] = field(default_factory=dict)
    tokenizer: ExactTokenizer | None = None
    memory: int | None = None
    room: Room = Room()
    scratch: Path | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextSetup:
    """What a text model is given.

    Attributes:
        config: the reference's config; a variant is read into the reference's module graph.
        decode: token ids to text.
        eos_ids: tokens that end a text.
        batch_tokens: tokens in one forward.
        tokenizer: the run's, for engines that speak with their model in text.
        memory: bytes that a model may take; None is what the device has free.
        room: see `Room`.
        devices: see `Setup`.
    """

    config: Mapping[str, Any]
    decode: Decode
    eos_ids: Collection[int]
    batch_tokens: int = 2048
    tokenizer: ExactTokenizer | None = None
    memory: int | None = None
    room: Room = Room()
    devices: tuple[str, ...] = ()


def window_index(first: int, windows: Sequence[Window]) -> IntArray:
    """The place of each scored token's window in the text, shape ``[n_scored]``.

    Args:
        first: index of the first of these windows in the plan.
        windows: neighbors in the plan.
    """
    places = [
        index if window.place is None else window.place
        for index, window in enumerate(windows, start=first)
    ]
    return np.repeat(np.array(places, dtype=np.int32), [window.n_scored for window in windows])


def digest_windows(windows: Sequence[Window]) -> str:
    """sha256 (hex) over the windows' tokens, scored ranges and, if they were drawn, places."""
    total = hashlib.sha256()
    for window in windows:
        place = [] if window.place is None else [window.place]
        total.update(np.array([window.first, len(window.ids), *place], dtype="<i8").tobytes())
        total.update(window.ids.astype("<i4").tobytes())
    return total.hexdigest()


def scored_tokens(windows: Sequence[Window]) -> IntArray:
    """The scored tokens of all windows, shape ``[n_scored]``."""
    return np.concatenate([window.ids[window.first :] for window in windows])
