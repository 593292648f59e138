"""The text of a generation as it grows, and whether it has come to its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from bitloss.requests import Decoding, Generated, StopReason

__all__ = ["Transcript", "cut_at_stop"]

_INCOMPLETE = "\ufffd"
# Tokens that are decoded again while they end in bytes that are no character yet.
_MOST_PENDING = 16


def cut_at_stop(text: str, stop: Sequence[str], start: int = 0) -> int | None:
    """Where the text ends: the beginning of the stop string that is complete first.

    That is the one a reader would meet first who reads a character at a time, so it does not
    depend on where tokens end; of two that are complete at once the longer one counts. With
    strings that do not overlap in the text it is what lm-eval 0.4.13's
    ``postprocess_generated_text`` (models/utils.py) does by splitting.

    Args:
        text: to look in.
        stop: strings, none of them empty.
        start: no stop string is complete before this index.

    Returns:
        The index, or None where no stop string is in the text.
    """
    found: tuple[int, int] | None = None
    for string in stop:
        end = len(text) if found is None else found[0]
        at = text.find(string, max(0, start - len(string) + 1), end)
        if at >= 0:
            here = (at + len(string), at)
            found = here if found is None else min(found, here)
    return None if found is None else found[1]


class Transcript:
    """One generation's tokens and text.

    Text is decoded a few tokens at a time while it grows, which tells when to stop. What is given
    back is the decoding of all tokens at once, cut at the stop string: no tokenizer's rule about
    neighbouring tokens can make a difference.

    Args:
        decode: token ids to text, leaving out special tokens.
        decoding: its stop strings and its `decided`.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], decoding: Decoding) -> None:
        self.ids: list[int] = []
        self._decode = decode
        self._stop = tuple(string for string in decoding.stop if string)
        self._decided = None if decoding.decided is None else re.compile(decoding.decided)
        # Text of the ids before `_read`. Tokens are decoded from `_context` on, as a decoder may
        # treat the first of them differently; `_before` is the text of those before `_read`.
        self._settled = ""
        self._context = self._read = 0
        self._before = ""
        self._searched = self._pending = 0

    def add(self, token: int) -> Literal["stop", "decided"] | None:
        """Take in a token; says whether the text ends with it."""
        self.ids.append(token)
        if not self._stop and self._decided is None:
            return None
        visible = self._visible()
        reason = self._ends(visible, min(self._searched, len(visible)))
        self._searched = len(visible)
        if reason is None:
            return None
        whole = self._decode(self.ids).rstrip(_INCOMPLETE)
        confirmed = self._ends(whole, 0)
        if confirmed is None:  # the pieces were decoded differently: go on from the whole
            self._settled, self._searched = whole, 0
            self._context = self._read = len(self.ids)
            self._before = ""
        return confirmed

    def answer(self, reason: StopReason, n_tokens: int) -> Generated:
        """All that was written, up to the stop string if there is one."""
        whole = self._decode(self.ids)
        end = cut_at_stop(whole, self._stop)
        return Generated(whole[:end], n_tokens, reason if end is None else "stop")

    def _ends(self, text: str, start: int) -> Literal["stop", "decided"] | None:
        if cut_at_stop(text, self._stop, start) is not None:
            return "stop"
        if self._decided is not None and self._decided.search(text):
            return "decided"
        return None

    def _visible(self) -> str:
        """The text so far without the bytes at its end that are no character yet."""
        together = self._decode(self.ids[self._context :])
        if not together.startswith(self._before):
            # The new token changed text before it (a decoder that tidies spaces).
            self._settled = self._before = ""
            self._context = self._read = self._searched = 0
            together = self._decode(self.ids)
        new = together[len(self._before) :]
        complete = new.rstrip(_INCOMPLETE)
        if complete != new and self._pending < _MOST_PENDING:
            self._pending += 1
            return self._settled + complete
        self._pending = 0
        self._settled += new
        if new:
            self._context, self._read = self._read, len(self.ids)
            self._before = self._decode(self.ids[self._context : self._read])
        else:  # a special token: those before it stay the context
            self._read = len(self.ids)
            self._before = together
        return self._settled
