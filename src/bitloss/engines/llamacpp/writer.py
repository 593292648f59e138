"""Texts written in the child: some side by side, a prompt read as soon as one has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitloss.engines.llamacpp.context import Context, common_length
from bitloss.types import IntArray

__all__ = ["Steps", "write"]

# Copying a stream is estimated to take as long as reading this many tokens.
_WORTH_COPYING = 32

Steps = Generator[tuple[list[int], NDArray[np.float32]], list[int], None]


@dataclass(slots=True)
class _Writing:
    """A text that is being written: what its stream holds, and the token that comes next."""

    index: int
    held: list[int]
    next: int = -1


def write(context: Context, prompts: Sequence[tuple[IntArray, int]], *, shares: bool) -> Steps:
    """Yield the logits that the next tokens of some prompts are chosen from.

    Texts fill the first streams without a gap: llama.cpp reads the next tokens of neighboring
    streams in one forward.

    Args:
        context: its streams hold the longest prompt and its text.
        prompts: token ids, and how many tokens may follow.
        shares: whether what a stream holds may be cut, so that prompts can share a beginning.
    """
    # Sorted, so that prompts with a common beginning follow each other.
    order = sorted(range(len(prompts)), key=lambda i: prompts[i][0].astype(">u4").tobytes())
    waiting = deque(order)
    streams = _Streams(context, shares)
    active: list[_Writing] = []
    context.clear()
    while waiting or active:
        while waiting and len(active) < context.streams:
            index = waiting.popleft()
            prompt = prompts[index][0]
            rows = streams.read_prompt(len(active), prompt)
            (token,) = yield [index], rows
            if token >= 0:
                active.append(_Writing(index, prompt.tolist(), token))
        if not active:
            continue
        rows = streams.read_next(active)
        tokens = yield [text.index for text in active], rows
        for text, token in zip(active, tokens, strict=True):
            text.held.append(text.next)
            text.next = token
        for n in range(len(active) - 1, -1, -1):
            if active[n].next < 0:
                last = active.pop()
                if n < len(active):
                    active[n] = last
                    streams.move(len(active), n)


class _Streams:
    """What each stream of a context holds, texts that have ended included."""

    def __init__(self, context: Context, shares: bool) -> None:
        self._context = context
        self._shares = shares
        self._held: list[IntArray] = [np.empty(0, np.int32)] * context.streams

    def read_prompt(self, stream: int, prompt: IntArray) -> NDArray[np.float32]:
        """Read a prompt into a stream, what others have of it copied; logits of its last token."""
        context = self._context
        start = self._reuse(stream, prompt) if self._shares else 0
        if start == 0 or not context.cut(stream, start):
            context.cut(stream, 0)
            start = 0
        rows: NDArray[np.float32] = np.empty((0, 0), np.float32)
        for at in range(start, len(prompt), context.chunk):
            ids = prompt[at : at + context.chunk]
            positions = np.arange(at, at + len(ids), dtype=np.int32)
            wanted = positions == len(prompt) - 1
            rows = context.read(ids, positions, np.full_like(ids, stream), wanted)
        self._held[stream] = prompt
        return rows

    def read_next(self, active: Sequence[_Writing]) -> NDArray[np.float32]:
        """Read the next token of all texts, those of the first streams in order."""
        n = len(active)
        ids = np.array([text.next for text in active], np.int32)
        positions = np.array([len(text.held) for text in active], np.int32)
        return self._context.read(
            ids, positions, np.arange(n, dtype=np.int32), np.ones(n, dtype=bool)
        )

    def move(self, source: int, stream: int) -> None:
        """Make a stream hold what another holds."""
        self._context.copy(source, stream)
        self._held[stream] = self._held[source]

    def _reuse(self, stream: int, prompt: IntArray) -> int:
        """Make a stream begin with as much of a prompt as any does; gives how much that is.

        The last token of the prompt is read in any case: its logits are wanted.
        """
        common = [common_length(held, prompt[:-1]) for held in self._held]
        best = int(np.argmax(common))
        if common[best] < common[stream] + _WORTH_COPYING:
            return common[stream]
        self._context.copy(best, stream)
        return common[best]
