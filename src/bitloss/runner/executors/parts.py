"""Work that travels to a worker, and what comes home; plain values that can be pickled.

A model travels as its name, path and identity: the worker opens the files where it is, and makes
sure that they are the ones that were named here (`bitloss.runner.executors.worker`). Texts travel
as token ids, so that workers need no data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bitloss import errors
from bitloss.engines.base import Piece
from bitloss.engines.values import Candidate, Model, Room, Setup, Work
from bitloss.errors import BitlossError
from bitloss.formats.base import ModelIdentity
from bitloss.requests import GenerateRequest
from bitloss.spec.recipe import Recipe
from bitloss.spec.serving import Serving
from bitloss.types import Window

__all__ = [
    "Action",
    "Columns",
    "Compare",
    "Estimate",
    "Floor",
    "Make",
    "Outcome",
    "Read",
    "SentError",
    "SentModel",
    "SentSetup",
    "Write",
    "file_sizes",
]

Columns = Mapping[str, Any]
"""A record's columns, as `bitloss.engines.values.Store.write_records` takes them."""

FileSizes = tuple[tuple[str, int, int], ...]


def file_sizes(path: Path) -> FileSizes:
    """Names below the path, sizes in bytes and times of change in nanoseconds: what a folder that
    machines share has in common on all of them.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    stats = [(file.relative_to(path).as_posix(), file.stat()) for file in files]
    return tuple((name, found.st_size, found.st_mtime_ns) for name, found in stats)


@dataclass(frozen=True, slots=True)
class SentModel:
    """A model without its weights.

    Attributes:
        name: as the user wrote it.
        identity: digest, config and facts.
        path: absolute, on every machine.
        files: what is there (`file_sizes`).
        code: see `Model.code`.
        cache: see `Model.cache`.
    """

    name: str
    identity: ModelIdentity
    path: Path | None
    files: FileSizes
    code: Path | None
    cache: Path | None

    @classmethod
    def of(cls, model: Model) -> SentModel:
        """The model, to be sent."""
        path = None if model.path is None else model.path.absolute()
        identity = replace(model.identity, config=dict(model.identity.config))
        files = () if path is None else file_sizes(path)
        return cls(model.name, identity, path, files, model.code, model.cache)


@dataclass(frozen=True, slots=True)
class SentCandidate:
    """A `Candidate` whose model travels as a `SentModel`."""

    model: SentModel
    run: Candidate

    @classmethod
    def of(cls, candidate: Candidate) -> SentCandidate:
        """The candidate, to be sent."""
        sent = SentModel.of(candidate.model)
        return cls(sent, replace(candidate, model=Model(sent.name, sent.identity)))


@dataclass(frozen=True, slots=True)
class SentSetup:
    """A `Setup` for a worker's own store, and the engines of the scorer that is made of it.

    Attributes:
        reference: the reference and how it is run.
        engines: see `bitloss.engines.evaluate.make_scorer`.
        exact: whether the scorer is the exact one of that (`PairScorer.exact`).
        values: the fields of `Setup` that travel as they are.
    """

    reference: SentCandidate
    engines: tuple[str, ...]
    exact: bool
    values: Mapping[str, Any]

    @classmethod
    def of(cls, setup: Setup, engines: Sequence[str]) -> SentSetup:
        """The setup, to be sent."""
        # Without the tokenizer, which only a model behind a server needs: megabytes for each part.
        names = ("batch_tokens", "share_prefixes", "state_bytes", "memory", "room")
        values = {name: getattr(setup, name) for name in names}
        values["arithmetic"] = dict(setup.arithmetic)
        return cls(SentCandidate.of(setup.reference), tuple(engines), False, values)


# What a worker can be asked for -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """Hidden states of one model; see `PairScorer.prepare`. Gives states."""

    setup: SentSetup
    pieces: tuple[Piece, ...]
    candidate: SentCandidate | None  # None is the reference
    group: tuple[SentCandidate, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Records of the reference and a group; see `PairScorer.score`. Takes states."""

    setup: SentSetup
    pieces: tuple[Piece, ...]
    group: tuple[SentCandidate, ...]


@dataclass(frozen=True, slots=True)
class Floor:
    """What the measurement adds: `PairScorer.rounding_noise` with types, `noise_floor` without."""

    setup: SentSetup
    windows: tuple[Window, ...]
    serving: Serving | None = None
    candidate: SentCandidate | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Texts of one model for one shard of requests; gives one record under its `key`."""

    candidate: SentCandidate
    key: str
    requests: tuple[GenerateRequest, ...]
    config: Mapping[str, Any]
    tokenizer: Any
    eos_ids: frozenset[int]
    batch_tokens: int
    memory: int | None
    room: Room


@dataclass(frozen=True, slots=True)
class Make:
    """A variant made into the cache, which machines share; see `make_variant`."""

    recipe: Recipe
    model: SentModel
    data: Path | None
    cache: Path
    device: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What work takes on the worker's machine; see `Engine.cost`. Gives a `Cost`."""

    engine: str
    work: Work
    identity: ModelIdentity
    arithmetic: str
    device: str


Action = Read | Compare | Floor | Write | Make | Estimate


# What comes home ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SentError:
    """An error of the work itself. Classes of errors take arguments of their own, so that pickling
    one as it is would fail on the way home.

    Attributes:
        kind: name of its class in `bitloss.errors`.
        message: what is wrong.
        hint: what to do about it.
        exit_code: of the command.
    """

    kind: str
    message: str
    hint: str = ""
    exit_code: int = 1

    @classmethod
    def of(cls, error: BitlossError) -> SentError:
        """The error, to be sent."""
        return cls(type(error).__name__, error.message, error.hint, error.exit_code)

    def raised(self) -> BitlossError:
        """The error, as it was raised."""
        kind = getattr(errors, self.kind, BitlossError)
        if not (isinstance(kind, type) and issubclass(kind, BitlossError)):
            kind = BitlossError
        error: BitlossError = kind.__new__(kind)
        BitlossError.__init__(error, self.message, hint=self.hint)
        if error.exit_code != self.exit_code:
            error.exit_code = self.exit_code
        return error


@dataclass(slots=True)
class Outcome:
    """What a part came to.

    Attributes:
        records: by fingerprint, columns.
        failed: by the candidate's label, why it has no records.
        error: why there is nothing at all.
        crash: the traceback of what is no error of the work but a bug.
        value: what else is given back: fingerprints of a floor, a `Cost`.
        seconds: that it took, loading included.
    """

    records: dict[str, Columns] = field(default_factory=dict)
    failed: dict[str, SentError] = field(default_factory=dict)
    error: SentError | None = None
    crash: str = ""
    value: Any = None
    seconds: float = 0.0
