"""What the protocols share: checks of parameters, the joined text and the finished plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitloss.errors import CorpusError, UsageError
from bitloss.protocols.base import PerplexityProtocol, parameters_of
from bitloss.types import Corpus, IntArray, TextTokenizer, Window, WindowPlan

__all__ = [
    "Counts",
    "documents_of",
    "encode",
    "finish_plan",
    "full_windows",
    "joined_text",
    "require_at_least",
    "require_stride",
    "require_tokens",
]


_TOKENIZED = 10_000
"""Documents up to which each is tokenized to know its length; of more, the characters do."""


def require_at_least(protocol: str, minimum: int, **values: int) -> None:
    """Raise `UsageError` for a value that is no integer or below the minimum."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise UsageError(
                f"protocol `{protocol}`: expected `{name}` to be an integer of at least {minimum}, "
                f"got {value!r}",
                hint=f"omit --{name.replace('_', '-')} to use the protocol's own",
            )


def require_stride(protocol: str, max_length: int, stride: int) -> None:
    """Raise `UsageError` for windows too short to score, or a stride that leaves gaps."""
    require_at_least(protocol, 2, max_length=max_length)
    require_at_least(protocol, 1, stride=stride)
    if stride > max_length:
        raise UsageError(
            f"protocol `{protocol}`: expected a stride of at most the window's {max_length} "
            f"tokens, got {stride}: the tokens between windows would never be scored",
            hint="give a smaller --stride, or a larger --max-length",
        )


def require_tokens(protocol: str, corpus: Corpus, expected: int, got: int) -> None:
    """Raise `CorpusError` for a text that has not as many tokens as the protocol needs."""
    if got < expected:
        raise CorpusError(
            f"corpus `{corpus.name}` is too short for protocol `{protocol}`: "
            f"expected at least {expected} tokens, got {got}",
            hint="give a smaller --max-length, or a longer text"
            if expected > 2
            else "give a longer text",
        )


def joined_text(corpus: Corpus) -> str:
    """The rows joined by a blank line, as every script that follows the transformers guide does."""
    return "\n\n".join(corpus.rows)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much text a plan is of.

    Attributes:
        tokens: that stand for text: all but a BOS that the tokenizer put in front.
        bytes: of UTF-8 that those tokens stand for.
        words: for protocols that report word perplexity, else None.
    """

    tokens: int
    bytes: int
    words: int | None = None


def encode(
    protocol: PerplexityProtocol,
    corpus: Corpus,
    text: str,
    tokenizer: TextTokenizer,
    *,
    at_least: int,
    special: bool = True,
    parse_special: bool = True,
) -> tuple[IntArray, Counts]:
    """Token ids of a corpus's text as one sequence, shape ``[n]``, and how much text they are.

    Args:
        protocol: for the error.
        corpus: for the error.
        text: of the corpus, in the form that the protocol reads.
        tokenizer: of the model.
        at_least: the fewest tokens that the protocol can score.
        special: whether the tokenizer adds BOS, as ``tokenizer(text)`` does. An EOS that it would
            append too is left off.
        parse_special: whether the texts of special tokens are read as these tokens, as
            ``tokenizer(text)`` does.

    Raises:
        CorpusError: there are fewer tokens.
    """
    ids = tokenizer.encode(text, special=special, parse_special=parse_special)
    require_tokens(protocol.name, corpus, at_least, len(ids))
    added = special and tokenizer.adds_bos and len(ids) > 0 and int(ids[0]) == tokenizer.bos_id
    return ids, Counts(len(ids) - int(added), len(text.encode()))


def documents_of(
    corpus: Corpus, tokenizer: TextTokenizer, n_tokens: int, middles: Sequence[float]
) -> tuple[int, ...]:
    """The document that each window of a joined text is of, that of the window's middle.

    A window that begins in one document and ends in the next depends on both neighbors, so short
    documents are put together until they have two windows.

    Args:
        corpus: the text.
        tokenizer: of the model.
        n_tokens: of the joined text.
        middles: of the windows' scored tokens, in tokens of the joined text, ascending.

    Returns:
        A number a window, ascending; nothing if the text is one document.
    """
    if len(corpus.documents) < 2:
        return ()
    # The joined text is not the documents' tokens one after the other, but nearly.
    if len(corpus.documents) > _TOKENIZED:
        lengths = [len(text) for text in corpus.documents]
    else:
        lengths = [len(tokenizer.encode(text, special=False)) for text in corpus.documents]
    ends = np.cumsum(lengths) * (n_tokens / max(1, sum(lengths)))
    places = np.searchsorted(ends, np.asarray(middles), side="right").tolist()
    groups: list[int] = []
    first = 0  # index of the group's first window
    for index, place in enumerate(places):
        if index - first >= 2 and place != places[index - 1]:
            first = index
        groups.append(first)
    if groups and first and len(groups) - first < 2:  # a last window of its own
        groups[first] = groups[first - 1]
    return tuple(groups)


def full_windows(ids: IntArray, length: int, count: int) -> list[Window]:
    """The first `count` windows of exactly `length` tokens, side by side, scored but for one."""
    return [Window(ids[start : start + length], 1) for start in range(0, count * length, length)]


def finish_plan(
    protocol: PerplexityProtocol,
    windows: Sequence[Window],
    counts: Counts,
    *,
    valid: Sequence[int] = (),
    notes: Sequence[str] = (),
    documents: Sequence[int] = (),
) -> WindowPlan:
    """The plan of these windows; see `WindowPlan`."""
    return WindowPlan(
        protocol=protocol.name,
        parameters=parameters_of(protocol),
        averaging=protocol.averaging,
        windows=tuple(windows),
        n_tokens=counts.tokens,
        n_bytes=counts.bytes,
        n_words=counts.words,
        valid=tuple(valid),
        notes=tuple(notes),
        documents=tuple(documents),
    )
