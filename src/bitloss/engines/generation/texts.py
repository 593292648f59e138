"""One request's text as it grows: the same rules for every engine that gives logits."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch

from bitloss.engines.generation.sampling import sample
from bitloss.engines.generation.stopping import Transcript
from bitloss.errors import CorpusError
from bitloss.requests import Decode, Decoding, Generated, GenerateRequest, StopReason

__all__ = ["GrowingText", "require_room", "text_of_ids"]


class GrowingText:
    """The text of a request, a token at a time.

    Args:
        request: the prompt and how it is continued.
        decode: token ids to text, special tokens left out.
        eos_ids: tokens that end a text.
        context: most tokens the model reads, prompt and generated ones together.
    """

    def __init__(
        self, request: GenerateRequest, decode: Decode, eos_ids: Collection[int], context: int
    ) -> None:
        self._decoding = request.decoding
        self._eos_ids = eos_ids
        self._transcript = Transcript(decode, request.decoding)
        self._draws = np.random.default_rng(request.seed)
        self.limit = min(request.decoding.most_tokens, context - len(request.prompt))
        """Most tokens that it may have."""

    def choose(self, logits: torch.Tensor) -> int:
        """The next token: the most likely one, the lowest id among equals, or one drawn.

        Args:
            logits: of the next token, shape ``[vocabulary]``.
        """
        decoding = self._decoding
        if decoding.temperature <= 0:
            return int(logits.argmax())
        return sample(logits, decoding.temperature, decoding.top_p, self._draws.random())

    def take(self, token: int) -> Generated | None:
        """Take in the next token; the answer, if the text ends with it."""
        transcript = self._transcript
        if token in self._eos_ids:
            return transcript.answer("eos", len(transcript.ids) + 1)
        reason: StopReason | None = transcript.add(token)
        if reason is None and (transcript.exhausted or len(transcript.ids) == self.limit):
            reason = "length"
        return None if reason is None else transcript.answer(reason, len(transcript.ids))


def text_of_ids(
    ids: Sequence[int],
    decoding: Decoding,
    decode: Decode,
    eos_ids: Collection[int],
    *,
    spent: bool,
) -> Generated:
    """The answer in tokens that a runtime has written by itself: what the rules of every engine
    leave of them, token by token.

    Args:
        ids: all that it wrote, a token that ends a text included or not.
        decoding: what it was asked for.
        decode: token ids to text, special tokens left out.
        eos_ids: tokens that end a text.
        spent: whether it ended because its tokens were spent.
    """
    transcript = Transcript(decode, decoding)
    for token in ids:
        if token in eos_ids:
            return transcript.answer("eos", len(transcript.ids) + 1)
        reason: StopReason | None = transcript.add(token)
        if reason is None and transcript.exhausted:
            reason = "length"
        if reason is not None:
            return transcript.answer(reason, len(transcript.ids))
    return transcript.answer("length" if spent else "eos", len(transcript.ids))


def require_room(
    model: str, index: int, request: GenerateRequest, *, context: int, known: int
) -> None:
    """Refuse a prompt that cannot be continued.

    Args:
        model: its name, for errors.
        index: of the request.
        request: the request.
        context: most tokens that the model reads.
        known: number of tokens that it knows.

    Raises:
        CorpusError: the prompt leaves no room in the context, or has a token unknown to the model.
    """
    size = len(request.prompt)
    if not 0 < size < context:
        raise CorpusError(
            f"{model}: request {index} has a prompt of {size} tokens; expected 1 to "
            f"{context - 1}, as the context is {context} tokens",
            hint="use fewer examples in the prompt, or a model with a longer context",
        )
    largest, least = int(request.prompt.max()), int(request.prompt.min())
    if least < 0 or largest >= known:
        raise CorpusError(
            f"{model}: request {index} has token {least if least < 0 else largest}; the "
            f"model knows 0 to {known - 1}",
            hint="copy the tokenizer's files from the model that the weights belong to",
        )
