"""Whether an engine's own tokenizer reads texts as the reference's does.

Every engine is given the reference's tokens, so its own tokenizer decides no number here. It
decides what the model is given where it is served.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitloss.formats.tokenizers.probe import PROBE
from bitloss.types import ExactTokenizer, IntArray

__all__ = ["differences", "first_difference", "some_tokens", "texts_to_try"]

_SHOWN = 40


def texts_to_try(tokenizer: ExactTokenizer) -> tuple[str, ...]:
    """Texts that tokenizers are known to disagree on, with what begins and ends a text in some."""
    ends = (tokenizer.bos_id, tokenizer.eos_id)
    pieces = [tokenizer.text([n]) for n in ends if n is not None]
    around = (text for piece in pieces if piece for text in (f"a{piece}b", f"a {piece}\n"))
    return ("", *PROBE, *around)


def differences(
    tokenizer: ExactTokenizer, texts: Sequence[str], read: Sequence[Sequence[int]], who: str
) -> str:
    """In words, of how many texts something reads other tokens; empty where there is none.

    Args:
        tokenizer: the reference's.
        texts: what was tried.
        read: the tokens that were read of each, nothing added before or behind.
        who: what read them.
    """
    parted = []
    for text, ids in zip(texts, read, strict=True):
        ours, theirs = tokenizer.encode(text, special=False), np.array(ids, np.int32)
        if not np.array_equal(ours, theirs):
            parted.append((text, ours, theirs))
    if not parted:
        return ""
    text, ours, theirs = min(parted, key=lambda one: len(one[0]))
    at = first_difference(ours, theirs)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return (
        f"{who} itself tokenizes {len(parted)} of {len(texts)} sample texts differently from the "
        f"reference, such as {shown!r}: at {at}, {some_tokens(theirs, at)} for "
        f"{some_tokens(ours, at)}; in this run it was given the reference's tokens"
    )


def first_difference(one: IntArray, other: IntArray) -> int:
    """The first place at which two sequences differ, or at which one of them ends."""
    size = min(len(one), len(other))
    apart = np.flatnonzero(one[:size] != other[:size])
    return int(apart[0]) if len(apart) else size


def some_tokens(ids: Sequence[int] | IntArray, at: int) -> str:
    """A few tokens from a place on, for messages."""
    part = [int(n) for n in ids[at : at + 3]]
    return f"{part}" if part else "nothing more"
