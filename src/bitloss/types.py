"""The values that travel between floors: small, frozen, without behaviour of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int32]
else:  # numpy takes longer to import than the rest of `bitloss --help`
    FloatArray = IntArray = Any

__all__ = [
    "Averaging",
    "Bounded",
    "Corpus",
    "ExactTokenizer",
    "FloatArray",
    "IntArray",
    "ModelInfo",
    "Progress",
    "ScoredCorpus",
    "SilentProgress",
    "TextTokenizer",
    "TokenRecords",
    "Window",
    "WindowPlan",
]

Averaging = Literal["tokens", "windows", "windows-by-valid-minus-one"]
"""How per-token losses become one number; see `bitloss.metrics.perplexity`."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model's files without running it.

    Attributes:
        name: how the user called it (path, hub id or recipe), for people.
        digest: sha256 (hex) over the weight files' contents and the quantization config.
        format: ``"safetensors-bf16"``, ``"gptq"``, ``"awq"``, ``"compressed-tensors"``,
            ``"modelopt-nvfp4"``, ``"fp8"``, ``"bitsandbytes-nf4"``, ``"torchao-int8"``,
            ``"gguf-q4_k_m"`` and the like: a library's plain name is its integers.
        bits: nominal bits of a quantized weight, as in the recipe's name; 16 or 32 for dense.
        bits_per_weight: bits stored for a parameter on average, with scales, zeros, group
            indices, embeddings and head all counted.
        file_bytes: bytes of the weight files on disk.
        parameters: number of parameters of the dense model.
        group_size: weights that share a scale; -1 is one group a row, None is not grouped.
        desc_act: GPTQ's act-order; None where the word has no meaning.
        calibration: the calibration text, where the files record it.
        architecture: the first of the config's ``architectures``.
    """

    name: str
    digest: str
    format: str
    bits: float
    bits_per_weight: float
    file_bytes: int
    parameters: int
    group_size: int | None = None
    desc_act: bool | None = None
    calibration: str | None = None
    architecture: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    r"""Running text in every shape that the perplexity protocols ask for.

    Attributes:
        name: ``"wikitext-2"`` or the file's name.
        digest: sha256 (hex) of `raw` in UTF-8.
        raw: the whole text, byte for byte as in the file.
        rows: the data set's rows as a hub's loader yields them (WikiText: one row a line, a
            blank line is ``""``); a plain text file is one row.
        documents: pages (WikiText: split at level-one headings), undetokenized.
        source: where it was read from, for people.
        notes: what a reader of its results should know (rows without text, a chosen column).
    """

    name: str
    digest: str
    raw: str
    rows: tuple[str, ...]
    documents: tuple[str, ...]
    source: str = ""
    notes: tuple[str, ...] = ()


class TextTokenizer(Protocol):
    """What a protocol needs of a tokenizer: plain ids, and the facts about BOS and EOS."""

    @property
    def bos_id(self) -> int | None:
        """Id of the beginning-of-sequence token, if there is one."""

    @property
    def eos_id(self) -> int | None:
        """Id of the end-of-sequence token, if there is one."""

    @property
    def adds_bos(self) -> bool:
        """Whether encoding with special tokens puts BOS in front."""

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        """Token ids of `text`, shape ``[n]``, without an EOS behind it.

        Args:
            text: what is encoded.
            special: let the tokenizer put its tokens (BOS) before the text.
            parse_special: read the texts of special tokens as these tokens, not as text.
        """


class ExactTokenizer(TextTokenizer, Protocol):
    """What an engine needs that speaks with its model in text."""

    @property
    def size(self) -> int:
        """Number of tokens."""

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens included."""

    def piece(self, token: int) -> str:
        """The text that a token adds within a text; bytes that are no character are U+FFFD."""


@dataclass(frozen=True, slots=True)
class Window:
    """One sequence given to the model.

    The model reads ``ids[:-1]``; the tokens ``ids[first:]`` are scored, each from all before it.

    Attributes:
        ids: token ids, shape ``[n]``, n >= 2.
        first: index of the first scored token, ``1 <= first < n``.
        document: the document the window belongs to (0 where the text is one).
        place: index among all windows of the text, if this is one of some that were drawn from
            it; None if the plan has them all, so that its index there is the place.
    """

    ids: IntArray
    first: int
    document: int = 0
    place: int | None = None

    @property
    def n_scored(self) -> int:
        """How many tokens of this window are scored."""
        return len(self.ids) - self.first


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """A corpus cut up by a perplexity protocol: what every model will be asked.

    Attributes:
        protocol: the protocol's name.
        parameters: its parameters, as they are recorded.
        averaging: how losses become one number.
        windows: in the order of the text.
        valid: for ``windows-by-valid-minus-one``, the labels of each window that the guide counts
            as valid (its weight is one less), else empty.
        n_tokens: tokens of the whole corpus under this tokenizer.
        n_bytes: UTF-8 bytes that those tokens stand for.
        n_words: words, for protocols that report word perplexity, else None.
        notes: what a reader of the result should know (a dropped tail).
        documents: of each window, the document it is of; documents so short that a window is of
            several are one. Empty if the text is one document.
    """

    protocol: str
    parameters: dict[str, Any]
    averaging: Averaging
    windows: tuple[Window, ...]
    n_tokens: int
    n_bytes: int
    n_words: int | None = None
    valid: tuple[int, ...] = ()
    notes: tuple[str, ...] = field(default=())
    documents: tuple[int, ...] = ()

    @property
    def n_scored(self) -> int:
        """How many tokens are scored over all windows."""
        return sum(window.n_scored for window in self.windows)


@dataclass(frozen=True, slots=True)
class ScoredCorpus:
    """What remains of a window plan in the records once its windows have been scored.

    Attributes:
        name: the corpus, as in the result.
        digest: of its text.
        source: where the text was read from.
        protocol: the protocol's name.
        parameters: its parameters.
        averaging: see `WindowPlan`.
        valid: see `WindowPlan`; one per window of the text.
        n_windows: windows scored.
        n_windows_total: windows of the whole corpus.
        n_scored: tokens scored.
        n_total: tokens that the protocol scores without a limit.
        n_tokens: tokens of the whole corpus.
        n_bytes: its UTF-8 bytes.
        n_words: its words, for protocols that report word perplexity.
        notes: what a reader of the result should know.
        vocabulary: tokens the reference chooses from; None if it is not known.
        draw_seed: of the draw, if the windows are some that were drawn from the text at random;
            None if they are neighbors.
        documents: see `WindowPlan`; one per window of the text.
    """

    name: str
    digest: str
    source: str
    protocol: str
    parameters: dict[str, Any]
    averaging: Averaging
    valid: tuple[int, ...]
    n_windows: int
    n_windows_total: int
    n_scored: int
    n_total: int
    n_tokens: int
    n_bytes: int
    n_words: int | None
    notes: tuple[str, ...]
    vocabulary: int | None = None
    draw_seed: int | None = None
    documents: tuple[int, ...] = ()

    @property
    def drawn_from(self) -> int | None:
        """Windows that the scored ones were drawn from at random; None if they are neighbors."""
        return None if self.draw_seed is None else self.n_windows_total


@dataclass(frozen=True, slots=True)
class TokenRecords:
    """Per-token results of one variant beside the reference on one corpus.

    All arrays have shape ``[n_scored]`` and follow the order of scoring, tokens in text order
    within a window. Losses, divergences and entropies are in nats.

    Attributes:
        window: index of the token's window among all windows of the text.
        reference_nll: negative log-likelihood of the true token under the reference.
        nll: the same under the variant.
        kl_divergence: KL(reference || variant) over the whole next-token distribution.
        same_top1: whether both models' most likely token is the same.
        delta_p: probability of the true token, variant minus reference.
        overlap: probability that both next-token distributions have in common, sum min(p, q).
        reference_entropy: of the reference's next-token distribution.
        entropy: of the variant's.
    """

    window: IntArray
    reference_nll: NDArray[np.float32]
    nll: NDArray[np.float32]
    kl_divergence: NDArray[np.float32]
    same_top1: NDArray[np.bool_]
    delta_p: NDArray[np.float32]
    overlap: NDArray[np.float32]
    reference_entropy: NDArray[np.float32]
    entropy: NDArray[np.float32]


class Progress(Protocol):
    """Where long work reports to; the command line draws it, libraries stay silent."""

    def task(
        self, label: str, total: int | None, unit: str = "tokens"
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar of `total` units; calling the value it yields moves it on."""


class SilentProgress:
    """Reports nothing."""

    @contextmanager
    def task(
        self, label: str, total: int | None, unit: str = "tokens"
    ) -> Iterator[Callable[[int], None]]:
        """See `Progress.task`."""
        del label, total, unit
        yield lambda n: None


class Bounded(Protocol):
    """A number with the bounds of its interval; any of them may be missing."""

    @property
    def value(self) -> float | None:
        """The number."""

    @property
    def low(self) -> float | None:
        """The lower bound."""

    @property
    def high(self) -> float | None:
        """The upper bound."""
