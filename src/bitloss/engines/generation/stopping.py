"""The text of a generation as it grows, and whether it has come to its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Literal

from bitloss.requests import Decode, Decoding, Generated, StopReason, Thinking

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
        decode: token ids to text, leaving out special tokens but for those to be kept.
        decoding: its stop strings, its `decided` and its `thinking`.
    """

    def __init__(self, decode: Decode, decoding: Decoding) -> None:
        self.ids: list[int] = []
        self._decode = partial(decode, keep=decoding.keep) if decoding.keep else decode
        self._stop = tuple(string for string in decoding.stop if string)
        self._decided = None if decoding.decided is None else re.compile(decoding.decided)
        # Text of the ids before `_read`. Tokens are decoded from `_context` on, as a decoder may
        # treat the first of them differently; `_before` is the text of those before `_read`.
        self._settled = ""
        self._context = self._read = 0
        self._before = ""
        self._searched = self._pending = 0
        self._limit = decoding.max_new_tokens
        self._thinking = decoding.thinking
        # While the model thinks, None; then where the answer begins in the text.
        self._answer_at: int | None = 0 if self._thinking is None else None
        self._n_thinking = 0
        self._thinks = self._thinking is not None and self._thinking.opened

    @property
    def exhausted(self) -> bool:
        """Whether the tokens for thinking, or those for the answer, are spent."""
        budget = None if self._thinking is None else self._thinking.budget
        if budget is None:
            return len(self.ids) >= self._limit
        if self._answer_at is None:  # it thinks, or has not finished the mark that begins it
            return len(self.ids) >= (budget if self._thinks else max(budget, self._limit))
        return len(self.ids) - self._n_thinking >= self._limit

    def add(self, token: int) -> Literal["stop", "decided"] | None:
        """Take in a token; says whether the text ends with it."""
        self.ids.append(token)
        if not self._stop and self._decided is None and self._thinking is None:
            return None
        visible = self._visible()
        if self._thinking is not None:
            self._follow_thinking(visible, self._thinking)
        reason = None
        if self._answer_at is not None:
            searched = min(self._searched, len(visible)) - self._answer_at
            reason = self._ends(visible[self._answer_at :], max(0, searched))
        self._searched = len(visible)
        if reason is None:
            return None
        whole = self._decode(self.ids).rstrip(_INCOMPLETE)
        confirmed = self._ends(self._split(whole)[1] or "", 0)
        if confirmed is None:  # the pieces were decoded differently: go on from the whole
            self._settled, self._searched = whole, 0
            self._context = self._read = len(self.ids)
            self._before = ""
        return confirmed

    def answer(self, reason: StopReason, n_tokens: int) -> Generated:
        """All that was written, up to the stop string if there is one."""
        thought, text = self._split(self._decode(self.ids))
        if text is None:
            return Generated("", n_tokens, reason, thought, n_tokens, answered=False)
        end = cut_at_stop(text, self._stop)
        reason = reason if end is None else "stop"
        return Generated(text[:end], n_tokens, reason, thought, self._n_thinking)

    def _split(self, text: str) -> tuple[str, str | None]:
        return ("", text) if self._thinking is None else self._thinking.split(text)

    def _follow_thinking(self, visible: str, thinking: Thinking) -> None:
        """Note where thinking ends and the answer begins, as `Thinking.split` has it."""
        if self._n_thinking:
            # Line ends before the answer may come in tokens of their own.
            assert self._answer_at is not None
            while visible[self._answer_at : self._answer_at + 1] == "\n":
                self._answer_at += 1
            return
        at = visible.find(thinking.end, max(0, self._searched - len(thinking.end)))
        if at >= 0:
            self._n_thinking = len(self.ids)
            self._answer_at = at + len(thinking.end)
            self._follow_thinking(visible, thinking)
        elif self._answer_at is None and not self._thinks:
            head = visible.lstrip()
            self._thinks = head.startswith(thinking.begin)
            if not thinking.begin.startswith(head) and not self._thinks:
                self._answer_at = 0

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
