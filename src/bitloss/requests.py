"""What a model that writes is given, and what it gives back: token ids in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitloss.types import IntArray

__all__ = ["Decoding", "GenerateRequest", "Generated", "StopReason"]

StopReason = Literal["stop", "eos", "decided", "length"]
"""Why a generation ended: a stop string, the end-of-sequence token, `Decoding.decided`, or the
number of tokens (the request's own, or what is left of the model's context)."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How text is generated.

    Attributes:
        max_new_tokens: at most.
        stop: strings that end the text; what is returned ends before the first of them.
        decided: a regular expression; where it matches the text so far, nothing that follows can
            change the answer, and generation ends after that token. None never ends early.
        temperature: 0 takes the most likely token, else logits are divided by it.
        top_p: sample from the smallest set of tokens with at least this probability.
    """

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    decided: str | None = None
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A prompt to be continued.

    Attributes:
        prompt: token ids, shape ``[n]``, n >= 1.
        decoding: see there.
        seed: of this request's own random numbers: its text does not depend on its neighbours.
    """

    prompt: IntArray
    decoding: Decoding
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Generated:
    """The answer to a `GenerateRequest`.

    Attributes:
        text: what the model wrote, up to the stop string.
        n_tokens: tokens generated, those of the stop string included.
        reason: why it ended.
    """

    text: str
    n_tokens: int
    reason: StopReason
