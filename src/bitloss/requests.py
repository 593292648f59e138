"""What a model that writes is given, and what it gives back: token ids in, text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from bitloss.types import IntArray

__all__ = [
    "Conversation",
    "Decode",
    "Decoding",
    "GenerateRequest",
    "Generated",
    "StopReason",
    "Thinking",
]

Decode = Callable[..., str]
"""Token ids to text, special tokens left out; called with ``keep=`` (their texts) where some are to
stay."""

StopReason = Literal["stop", "eos", "decided", "length"]
"""Why a generation ended: a stop string, the end-of-sequence token, `Decoding.decided`, or the
number of tokens (the request's own, or what is left of the model's context)."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model's thinking is separated from its answer.

    Thinking begins with the text, and ends with the first `end` in it. It is no part of the
    answer: stop strings, `Decoding.decided` and `Decoding.max_new_tokens` are for what follows it.

    Attributes:
        begin: what a text that thinks begins with, such as ``<think>``.
        end: what ends thinking. A text without `begin` that has it thought up to there.
        budget: tokens of thinking, `end` included; a text that spends them without an `end` has no
            answer. None takes them from `Decoding.max_new_tokens`.
        opened: the prompt ends with `begin`: the text begins with thinking.
    """

    begin: str
    end: str
    budget: int | None = None
    opened: bool = False

    def split(self, text: str) -> tuple[str, str | None]:
        """What was thought, and the answer; None for an answer that was not begun."""
        at = text.find(self.end)
        thought = self.opened or text.lstrip().startswith(self.begin)
        if at < 0 and not thought:
            return "", text
        inner = (text if at < 0 else text[:at]).lstrip().removeprefix(self.begin).strip()
        return inner, None if at < 0 else text[at + len(self.end) :].lstrip("\n")


@dataclass(frozen=True, slots=True)
class Decoding:
    """How text is generated.

    Attributes:
        max_new_tokens: at most, thinking with a budget of its own left out.
        stop: strings that end the text; what is returned ends before the first of them.
        decided: a regular expression; where it matches the text so far, nothing that follows can
            change the answer, and generation ends after that token. None never ends early.
        temperature: 0 takes the most likely token, else logits are divided by it.
        top_p: sample from the smallest set of tokens with at least this probability.
        thinking: None for a model that is not asked to think: all of its text is the answer.
        keep: special tokens that stay in the text, which has no others.
    """

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    decided: str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    thinking: Thinking | None = None
    keep: tuple[str, ...] = ()

    @property
    def most_tokens(self) -> int:
        """Tokens at most, thinking and answer together."""
        budget = None if self.thinking is None else self.thinking.budget
        return self.max_new_tokens + (budget or 0)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a chat template is applied to.

    Attributes:
        messages: ``{"role": ..., "content": ...}``, the last of which is to be answered.
        tools: what the model may call, in OpenAI's form.
        arguments: for the template (``enable_thinking``).
    """

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A prompt to be continued.

    Attributes:
        prompt: token ids, shape ``[n]``, n >= 1.
        decoding: see there.
        seed: of this request's own random numbers: its text does not depend on its neighbours.
        conversation: what `prompt` is in the reference's chat template; None without one. For
            engines that are given no tokens.
        draft: tokens that the text is likely to have, such as what another model wrote here, shape
            ``[n]``; None is not known. An engine may try them first: they decide how fast a text
            is written, never which.
    """

    prompt: IntArray
    decoding: Decoding
    seed: int = 0
    conversation: Conversation | None = None
    draft: IntArray | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """The answer to a `GenerateRequest`.

    Attributes:
        text: the answer, up to the stop string; without what the model thought before it.
        n_tokens: tokens generated, those of the stop string and of thinking included.
        reason: why it ended.
        thinking: what the model thought, without its marks.
        n_thinking: tokens of thinking, those of its marks included.
        answered: whether an answer was begun: not where thinking never ended.
    """

    text: str
    n_tokens: int
    reason: StopReason
    thinking: str = ""
    n_thinking: int = 0
    answered: bool = True
