"""Prompts and their continuations as token ids, with as many solved examples as fit.

Tokens are split between prompt and continuation as lm-eval 0.4.13 does (``api/model.py``,
``_encode_pair``): white space at the prompt's end belongs to the continuation, both are encoded
together, and the prompt's own tokens are taken off. Where the tokenizer merges across the border,
the first token that differs is the first one scored, so that the model reads the text itself;
lm-eval reads a sequence there that stands for no text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from bitloss.requests import Conversation
from bitloss.tasks.base import Prompt
from bitloss.types import IntArray, TextTokenizer

__all__ = ["ChatTokenizer", "EncodedPrompt", "Encoder", "Pair"]


class ChatTokenizer(TextTokenizer, Protocol):
    """A tokenizer that also knows its model's chat template."""

    @property
    def bos_text(self) -> str:
        """The beginning-of-sequence token as text; empty where there is none."""

    def chat(self, conversations: Sequence[Conversation]) -> tuple[str, Conversation]:
        """The first of several conversations that the model's template takes, and its text up to
        where the answer begins.

        Raises:
            UsageError: the tokenizer has no template, or one that takes none of them.
        """


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with a continuation.

    Attributes:
        ids: token ids of both, shape ``[n]``.
        first: index of the continuation's first token.
        spans_boundary: whether a token spans the border.
    """

    ids: IntArray
    first: int
    spans_boundary: bool


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt that is to be continued.

    Attributes:
        ids: token ids, shape ``[n]``.
        left_out: shots for which there was no room.
        conversation: what stands in the chat template; None without one.
    """

    ids: IntArray
    left_out: int
    conversation: Conversation | None


class Encoder:
    """Encodes prompts for one model.

    Args:
        tokenizer: the reference's.
        context: tokens that the model reads at once.
        chat: put the chat template around prompts.
        arguments: for the template.
        markers: what thinking begins and ends with. Where the template opens it, it is closed
            before a continuation that is scored: that is an answer, and nothing was thought.
    """

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        *,
        context: int,
        chat: bool,
        arguments: Mapping[str, Any] = MappingProxyType({}),
        markers: tuple[str, str] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._context = context
        self._chat = chat
        self._arguments = arguments
        self._markers = markers
        self._last: tuple[str, IntArray] = ("", np.zeros(0, dtype=np.int32))

    def ends_with(self, mark: str) -> bool:
        """Whether the chat template ends with a text, so that an answer begins behind it."""
        return self._chat and self._text(Prompt("?"), 0)[0].rstrip().endswith(mark)

    def pairs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str]
    ) -> tuple[list[Pair], int] | None:
        """Prompts with their continuations, all with the same number of shots.

        Args:
            prompts: one a continuation.
            continuations: with their delimiters.

        Returns:
            The pairs and the number of shots left out; None if they do not fit without any.
        """
        for left_out in range(max(len(prompt.shots) for prompt in prompts) + 1):
            pairs = []
            for prompt, continuation in zip(prompts, continuations, strict=True):
                before = self._without_thinking(self._text(prompt, left_out)[0])
                # A conversation stands for itself, and so does what continues it.
                own = continuation if prompt.messages else self._delimited(continuation)
                pair = self._pair(before, own)
                # The last token is predicted, not read.
                if len(pair.ids) - 1 > self._context:
                    break
                pairs.append(pair)
            if len(pairs) == len(prompts):
                return pairs, left_out
        return None

    def rolling(self, text: str) -> list[Pair]:
        """A text that nothing stands before, in windows as long as the context; every token is
        scored once, the first one from the token that begins a text.

        As lm-eval 0.4.13 cuts them (``utils.py``, ``get_rolling_token_windows`` with a context of
        one token): the last window begins where it is as long as the others.

        Returns:
            Nothing for an empty text.
        """
        ids = self._encode(text)
        ids = np.concatenate([np.array([self._start], dtype=ids.dtype), ids])
        pairs = []
        for at in range(1, len(ids), self._context):
            stop = min(at + self._context, len(ids))
            begin = max(0, stop - 1 - self._context)
            pairs.append(Pair(ids[begin:stop], at - begin, spans_boundary=False))
        return pairs

    def prompt(self, prompt: Prompt, room: int) -> EncodedPrompt | None:
        """A prompt that is to be continued.

        Args:
            prompt: the prompt.
            room: new tokens that should fit the context after it.

        Returns:
            The prompt. Without any shots the room may be smaller; None if there is none.
        """
        for left_out in range(len(prompt.shots) + 1):
            text, conversation = self._text(prompt, left_out)
            found = EncodedPrompt(self._encode(text), left_out, conversation)
            if len(found.ids) + room <= self._context:
                return found
        return found if len(found.ids) < self._context else None

    def _text(self, prompt: Prompt, left_out: int) -> tuple[str, Conversation | None]:
        body = "".join(prompt.shots[left_out:]) + prompt.question
        if self._chat:
            return self._tokenizer.chat(list(self._conversations(prompt, body)))
        return prompt.description + body, None

    def _conversations(self, prompt: Prompt, body: str) -> Iterator[Conversation]:
        """What a template is offered: not every one takes a system's message."""
        system, user = prompt.description, {"role": "user", "content": body}
        if prompt.messages or not system:
            ways: tuple[tuple[Mapping[str, Any], ...], ...] = (prompt.messages or (user,),)
        else:
            ways = (
                ({"role": "system", "content": system.strip()}, user),
                ({"role": "user", "content": system + body},),
            )
        for messages in ways:
            yield Conversation(messages, prompt.tools, self._arguments)

    def _without_thinking(self, text: str) -> str:
        if not self._chat or self._markers is None:
            return text
        begin, end = self._markers
        opened = text.rstrip().endswith(begin)
        return f"{text.rstrip()}\n\n{end}\n\n" if opened else text

    def _delimited(self, continuation: str) -> str:
        # After a template nothing stands between the border and the answer (lm-eval: api/task.py,
        # construct_requests).
        return continuation.removeprefix(" ") if self._chat else continuation

    def _pair(self, text: str, continuation: str) -> Pair:
        border = len(text.rstrip())
        before = self._cached(text[:border])
        ids = self._encode(text + continuation)
        common = min(len(before), len(ids) - 1)
        differ = np.flatnonzero(before[:common] != ids[:common])
        first = int(differ[0]) if len(differ) else common
        if first > 0:
            return Pair(ids, first, spans_boundary=first < len(before))
        # Nothing before the continuation: it is predicted from the token that begins a text.
        start = np.array([self._start], dtype=ids.dtype)
        return Pair(np.concatenate([start, ids]), 1, spans_boundary=False)

    @property
    def _start(self) -> int:
        """What the first token of a text is predicted from."""
        bos, eos = self._tokenizer.bos_id, self._tokenizer.eos_id
        return bos if bos is not None else eos if eos is not None else 0

    def _cached(self, text: str) -> IntArray:
        """The options of an item have their prompt in common."""
        if self._last[0] != text:
            self._last = text, self._encode(text)
        return self._last[1]

    def _encode(self, text: str) -> IntArray:
        bos = self._tokenizer.bos_text
        return self._tokenizer.encode(text, special=not (bos and text.startswith(bos)))
