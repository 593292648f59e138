"""The seam between a run and what computes its numbers.

An *engine* is a plug of `bitloss.registry.ENGINES`: a value of the class `Engine` below, in a file
of its own. To write one that is complete, write a function that loads a model and returns a
`LogitsModel`, whose one method goes from a window of token ids to next-token logits:

    ENGINE = Engine(name="mine", version="mine-1", packages=("my-runtime",), logits=load)

`bitloss.engines.logits.LogitsScorer` then compares those logits with the reference's, whichever
engine that is run by, block by block. An engine with a faster way (the dense one keeps hidden
states and runs all heads together) brings a `PairScorer` of its own; one that can also write brings
a `TextModel`.

What an engine cannot do is missing from its `abilities` and `columns`, never approximated.
`tests/engines/pair_checks.py` and `text_checks.py` hold every engine to what it claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bitloss._version import __version__
from bitloss.engines import devices
from bitloss.engines.defaults import (
    ChooseArithmetic,
    EstimateCost,
    anything,
    as_asked,
    installed,
    none,
    nothing,
    unknown,
)
from bitloss.engines.values import Candidate, Cost, Model, Scores, Setup, TextSetup
from bitloss.engines.versions import package_version
from bitloss.requests import Generated, GenerateRequest
from bitloss.spec.fingerprint import sha256_files
from bitloss.spec.serving import Serving
from bitloss.types import ExactTokenizer, IntArray, Window

if TYPE_CHECKING:
    import torch

    from bitloss.engines.top_k import TopKModel

__all__ = [
    "PAIR_COLUMNS",
    "REFERENCE_COLUMNS",
    "Ability",
    "ChooseArithmetic",
    "Engine",
    "EstimateCost",
    "LoadLogits",
    "LogitsModel",
    "ManyLogitsModel",
    "PairScorer",
    "Piece",
    "TextModel",
]

Ability = Literal["score", "generate"]

REFERENCE_COLUMNS = ("window", "token", "nll", "entropy")
"""Columns of the reference's own records; ``greedy`` besides if prefixes are shared."""

PAIR_COLUMNS = (
    "window", "token", "reference_nll", "reference_entropy", "nll", "entropy", "kl_divergence",
    "same_top1", "delta_p", "overlap", "hellinger",
)  # fmt: skip
"""Columns of a candidate's records; ``greedy`` besides if prefixes are shared. See
`bitloss.types.TokenRecords` for their meaning and units."""


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
        """sha256 (hex) over their tokens, scored ranges and places."""

    @property
    def tokens(self) -> int:
        """Tokens that a model reads."""

    def window_index(self) -> IntArray:
        """The place of each scored token's window in the text, shape ``[n_scored]``."""


# Scoring --------------------------------------------------------------------------------------


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

    def smallest_pieces(self, windows: Sequence[Window], enough: int) -> Sequence[Piece]:
        """Cut windows into pieces that can be scored alone without changing a number: what can be
        drawn at random. Of a short text they are smaller, so that there are `enough` of them.
        """

    def unscored(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> Sequence[Piece]:
        """The pieces of which the store lacks records of the reference or of one of the group."""

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

    def kept_states(self, pieces: Sequence[Piece]) -> list[str]:
        """Names in the store of what is kept of the reference, once it is prepared, to compare any
        candidate with it; empty if nothing is.
        """

    def noise_floor(self, windows: Sequence[Window]) -> list[str]:
        """Measure what the measurement itself adds when nothing was quantized.

        Returns:
            Fingerprints of records whose ``kl_divergence`` is between the reference and the
            reference once more, in an arithmetic or shapes that differ as little as this engine's
            own rounding does.

        Raises:
            BitlossError: the candidates' engine cannot run the reference's files.
        """

    def rounding_noise(
        self, windows: Sequence[Window], serving: Serving, candidate: Candidate | None = None
    ) -> list[str]:
        """Measure how far a model is from itself, run by the candidates' engine in its own
        arithmetic and with some types of caches and activations, when every layer's output moves by
        its last bit. Where numbers are stored in few bits, a last bit decides between two codes,
        and layer by layer that becomes as much as the types themselves lose.

        Args:
            windows: the text.
            serving: the types.
            candidate: a variant as it is run, whose own types are then taken; None is the
                reference. Kernels that round what enters a product do so for quantized files only.

        Returns:
            Fingerprints of records whose ``kl_divergence`` is between the two runs.

        Raises:
            UnsupportedModel: the engine cannot move a layer's output.
            BitlossError: it cannot run the reference's files, or not with these types.
        """

    def exact(self) -> PairScorer | None:
        """The same scorer in the engine's most exact arithmetic; None if this is it."""


class LogitsModel(Protocol):
    """A loaded model that gives next-token logits: all that a general engine has to write.

    Scorers drop their reference to it when they are done: a native runtime frees its memory with
    `weakref.finalize`. A run loads a model again for each look and for the noise floor.
    """

    @property
    def vocabulary(self) -> int:
        """Number of logits per position. Tokens of the text have to be below it; distributions
        are over the rows that both models have.
        """

    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        """Logits that predict the window's scored tokens, in order, in blocks of positions.

        The model has seen nothing before the window: a cache is cleared first. The ids are
        complete; no BOS is added. The logits at position ``i`` predict ``ids[i + 1]``, so the first
        ones wanted are at ``first - 1``.

        Args:
            window: the model reads ``ids[:-1]`` and predicts ``ids[first:]``. It may be longer than
                ``batch_tokens``, up to the reference's context (`ModelIdentity.context`).

        Yields:
            Float32 on the reference's device, shape ``[some positions, vocabulary]``; ``n_scored``
            positions in all. Blocks are kept while later ones are computed: a view of a buffer that
            the runtime fills again has to be copied.

        Raises:
            NumericalError: NaN or infinite logits. The scorer adds the model's name.
        """


class ManyLogitsModel(LogitsModel, Protocol):
    """A `LogitsModel` that gains from seeing several windows: what they begin with in common is
    computed once, or several are read in one forward.
    """

    def logits_of(self, windows: Sequence[Window]) -> Iterator[torch.Tensor]:
        """The logits of all windows, as `logits` gives those of each, window after window.

        The model has seen nothing before the first of them. A block may have positions of several
        windows. What a window gets depends on its neighbors by rounding at most.
        """


# Generation -----------------------------------------------------------------------------------


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


class LoadLogits(Protocol):
    """See `Engine.logits`."""

    def __call__(self, candidate: Candidate, *, batch_tokens: int) -> LogitsModel:
        """Load it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What the registry holds under an engine's name: facts, and functions that load models.

    An engine is a value, not a class to derive from. One that yields logits needs ``name``,
    ``version`` and ``logits`` and is complete; everything else has a default.

    Attributes:
        name: as in the registry.
        version: raised by hand whenever a change of the engine may change a number.
        writing: likewise, of a change that may change texts alone.
        packages: distributions whose versions decide its numbers, as pip names them; recorded, too.
        settings: anything else that does, as plain values: threads, kernels, cache types.
        reference_engine: name of the engine that runs the reference of variants of this one.
        columns: columns that its records have: those of `PAIR_COLUMNS`, or of
            `bitloss.engines.top_k.TOP_K_COLUMNS` where only likely tokens are known.
        logits: loads a model that gives logits, given ``batch_tokens``, tokens in one forward.
            Raises `UnsupportedModel` for a model or a device that the engine cannot run, which the
            loader itself has to check, or another `BitlossError` for files that are incomplete or
            damaged. Messages begin with the model's name. A runtime that refuses the reference's
            files has no noise floor. Nothing is printed: a native library's log is silenced. None
            if it gives no logits.
        top_k: loads a model of which only the log-probabilities of likely tokens are known, for an
            engine without `logits`; raises as `logits` does.
        scorer: makes a scorer for candidates and reference of this engine that is faster than
            comparing logits; None if there is no such way.
        text_model: loads a model that writes; raises as `logits` does. None if it cannot write.
        arithmetic: the arithmetic that everything is scored in first: given what the user asked for
            (``auto`` or a name), the device, the reference's parameters, and the tokens that all
            models together will read.
        cost: estimates what some work of one model takes. A variant that is not made yet is
            estimated as its reference. With ``measure`` a moment may be spent on measuring the
            machine; without it `Cost.seconds` is None.
        timing: what its times are from, if they are not measured; for people.
        needs: raises `MissingDependency` where a package is missing without which it runs nothing.
        check: refuses a candidate that cannot be run, as far as that is known without its weights;
            raises as `logits` does. Given the run's tokenizer and passages of its texts, it returns
            what a reader should know. It is called before any work, and may take a second.
        release: returns memory that freed models left in the process.
        at: makes the engine at the address that follows its name (``server=URL``), if it needs one.
        only: the one model that it runs, whatever a variant is called; empty runs any.
        lacks: what it was found not to offer, for people.
        notes: what a reader of its results should know.
        written_file: what the file takes that it writes of an unquantized model in order to run it,
            once, in the cache of made variants; None for a model that it runs as it is.
        nudges: whether it can move layers' outputs by their last bit (`Candidate.nudged`).
        offers: fields of `bitloss.spec.serving.Serving` that it can set; a run refuses the others.
    """

    name: str
    version: str
    packages: tuple[str, ...] = ()
    writing: str = ""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    reference_engine: str = "dense"
    columns: frozenset[str] = frozenset(PAIR_COLUMNS)
    logits: LoadLogits | None = None
    top_k: Callable[[Candidate, Setup], TopKModel] | None = None
    scorer: Callable[[Setup], PairScorer] | None = None
    text_model: Callable[[Candidate, TextSetup], TextModel] | None = None
    arithmetic: ChooseArithmetic = as_asked
    cost: EstimateCost = unknown
    timing: str = ""
    needs: Callable[[], None] = installed
    check: Callable[[Candidate, ExactTokenizer, Sequence[str]], tuple[str, ...]] = anything
    release: Callable[[], None] = nothing
    offers: frozenset[str] = frozenset()
    at: Callable[[str], Engine] | None = None
    only: str = ""
    lacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    nudges: bool = False
    written_file: Callable[[Model], Cost | None] = none

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can be asked for, which follows from what it has."""
        scores: frozenset[Ability] = frozenset(
            {"score"} if self.logits or self.scorer or self.top_k else ()
        )
        writes: frozenset[Ability] = frozenset({"generate"} if self.text_model else ())
        return scores | writes

    @property
    def is_partial(self) -> bool:
        """Whether its records lack columns of `PAIR_COLUMNS`: no divergence, no overlap."""
        return not self.columns.issuperset(PAIR_COLUMNS)

    def identity(self, candidate: Candidate, *, batch_tokens: int) -> dict[str, Any]:
        """Everything that decides a candidate's numbers, as plain values: part of every
        fingerprint, so that no record of another engine, version, model or setting is ever taken
        for it.
        """
        model = candidate.model
        if model.recorded is not None:
            return dict(model.recorded)
        return {
            "engine": self.name,
            "version": self.version,
            "bitloss": __version__,
            "packages": {package: package_version(package) for package in self.packages},
            "settings": dict(self.settings),
            "device": devices.describe(candidate.device),
            "digest": model.identity.info.digest,
            "config": dict(model.identity.config),
            "code": None if model.code is None else _code_digest(model.code),
            "arithmetic": candidate.arithmetic,
            "batch_tokens": 1 if candidate.alone else batch_tokens,
            **candidate.serving.to_dict(),
            **({"nudged": True} if candidate.nudged else {}),
        }


def _code_digest(code: Path) -> str:
    return sha256_files(sorted(code.rglob("*.py")))
