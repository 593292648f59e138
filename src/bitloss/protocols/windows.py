"""What the protocols share: checks of parameters, the joined text and the finished plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitloss.errors import CorpusError, UsageError
from bitloss.protocols.base import PerplexityProtocol, parameters_of
from bitloss.types import Corpus, IntArray, TextTokenizer, Window, WindowPlan

__all__ = [
    "Counts",
    "encode",
    "finish_plan",
    "full_windows",
    "joined_text",
    "require_at_least",
    "require_stride",
    "require_tokens",
]


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
) -> WindowPlan:
    """The plan of these windows."""
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
    )
