"""Texts that a server writes; satisfies `bitloss.engines.base.TextModel`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bitloss.engines.generation.stopping import cut_at_stop
from bitloss.engines.generation.texts import require_room, text_of_ids
from bitloss.engines.server.chat import asked_in_chat, text_of_message
from bitloss.engines.server.client import Client
from bitloss.engines.server.probe import CHAT, COMPLETIONS, NATIVE, Offers
from bitloss.engines.server.tokens import Tokens
from bitloss.engines.values import TextSetup
from bitloss.errors import ServerError, UnsupportedModel
from bitloss.requests import Decoding, Generated, GenerateRequest, StopReason
from bitloss.types import ExactTokenizer

__all__ = ["ServerTexts"]

# OpenAI's own limit. What a server does not stop at is cut off here.
_MOST_STOPS = 4


class ServerTexts:
    """Prompts are sent, and what comes back is cut by the rules of every engine.

    Args:
        client: of the server.
        offers: of the model there.
        tokens: of the reference.
        tokenizer: the same.
        setup: how tokens become text, and what ends one.
        name: of the variant, for errors.
        context: most tokens of the reference, if it is known.
        vocabulary: number of tokens of the reference.
    """

    nbytes = 0

    def __init__(
        self,
        client: Client,
        offers: Offers,
        tokens: Tokens,
        setup: TextSetup,
        tokenizer: ExactTokenizer,
        *,
        name: str,
        context: int | None,
        vocabulary: int,
    ) -> None:
        self._client = client
        self._offers = offers
        self._tokens = tokens
        self._setup = setup
        self._tokenizer = tokenizer
        self._name = name
        self._context = context or 1 << 30
        self._vocabulary = vocabulary

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """See `TextModel.generate`.

        Raises:
            ServerError: a request has no complete answer; no text is made up for it.
            UnsupportedModel: special tokens are to stay in a text of which only text is had.
        """
        for index, request in enumerate(requests):
            require_room(self._name, index, request, context=self._context, known=self._vocabulary)
            lost = () if self._offers.returns_ids else self._left_out(request.decoding.keep)
            if lost:
                raise UnsupportedModel(
                    f"{self._name}: the task needs `{lost[0]}` in the text, a special token, which "
                    "the server leaves out",
                    hint="omit the task, or serve the model with vLLM, which returns token ids",
                )
        return self._generate(requests)

    def _generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        chat = not self._offers.completions
        path = NATIVE if self._offers.native else CHAT if chat else COMPLETIONS
        bodies = [self._body(request) for request in requests]
        for index, answer in self._client.post_all(path, bodies):
            choice = self._complete(answer)
            request = requests[index]
            if self._offers.completions:
                self._tokens.require_count(answer, len(request.prompt))
            elif request.conversation is not None:
                self._tokens.require_template(answer, len(request.prompt))
            self._require_room_for(choice, request)
            yield index, self._chatted(choice, request) if chat else self._written(choice, request)

    def _body(self, request: GenerateRequest) -> dict[str, Any]:
        decoding = request.decoding
        stops = [string for string in decoding.stop if string]
        body: dict[str, Any] = {
            "model": self._offers.model,
            "n_predict" if self._offers.native else "max_tokens": self._limit(request),
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "seed": request.seed % (1 << 31),
            **self._offers.plain,
        }
        if self._offers.completions:
            body["prompt"] = self._tokens.prompt(request.prompt)
        else:
            body |= asked_in_chat(request, self._tokenizer)
        if self._offers.returns_ids:
            body["return_tokens" if self._offers.native else "return_token_ids"] = True
        # Stop strings are for the answer only, not for what is thought before it.
        if stops and decoding.thinking is None:
            body["stop"] = stops[:_MOST_STOPS]
        return body

    def _limit(self, request: GenerateRequest) -> int:
        return min(request.decoding.most_tokens, self._context - len(request.prompt))

    def _complete(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The only choice, if it is one of the right model and came to its end."""
        if self._offers.native:
            answer = _as_completion(answer)
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        where = f"server {self._client.root}"
        if answer.get("model", self._offers.model) != self._offers.model:
            raise ServerError(
                f"{where}: expected an answer of `{self._offers.model}`, got one of "
                f"`{answer['model']}`",
                hint="name the model that is meant: --engine server=URL#MODEL",
            )
        if not isinstance(choice, dict) or choice.get("finish_reason") not in ("stop", "length"):
            got = choice.get("finish_reason") if isinstance(choice, dict) else "no choice"
            raise ServerError(
                f"{where}: expected a text that ended by `stop` or `length`, got `{got}`",
                hint="check the server's log, and rerun the same command to resume",
            )
        return {**choice, "usage": answer.get("usage") or {}}

    def _require_room_for(self, choice: Mapping[str, Any], request: GenerateRequest) -> None:
        """Refuse a text that ended because the served context was full: the model was not asked for
        as many tokens as the others.
        """
        used, limit = choice["usage"].get("completion_tokens"), self._limit(request)
        if choice["finish_reason"] == "length" and isinstance(used, int) and used < limit:
            raise ServerError(
                f"server {self._client.root}: expected room for {limit} tokens after a prompt of "
                f"{len(request.prompt)}, got a text cut after {used}: the served context is full",
                hint="serve the model with a longer context",
            )

    def _written(self, choice: Mapping[str, Any], request: GenerateRequest) -> Generated:
        if self._offers.returns_ids:
            return self._from_ids(choice, request)
        return self._cut(self._text(choice.get("text")), choice, request)

    def _chatted(self, choice: Mapping[str, Any], request: GenerateRequest) -> Generated:
        return self._cut(self._text(text_of_message(choice, request.decoding)), choice, request)

    def _left_out(self, keep: Sequence[str]) -> list[str]:
        """Which of the texts are special tokens: they stay out of a text as a server gives it."""
        return [
            mark
            for mark in keep
            if mark not in self._setup.decode(self._tokenizer.encode(mark, special=False).tolist())
        ]

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ServerError(
                f"server {self._client.root}: expected a text, got {type(value).__name__}",
                hint="check the server's log, and rerun the same command to resume",
            )
        return value

    def _from_ids(self, choice: Mapping[str, Any], request: GenerateRequest) -> Generated:
        """Token by token, as in every other engine."""
        ids = choice.get("token_ids")
        if not isinstance(ids, list) or not all(isinstance(n, int) for n in ids):
            raise ServerError(
                f"server {self._client.root}: expected the ids of a text, got {type(ids).__name__}",
                hint="check the server's log, and rerun the same command to resume",
            )
        return text_of_ids(
            ids,
            request.decoding,
            self._setup.decode,
            self._setup.eos_ids,
            spent=choice["finish_reason"] == "length",
        )

    def _cut(self, text: str, choice: Mapping[str, Any], request: GenerateRequest) -> Generated:
        """A text by the rules for texts; tokens are counted with the reference's tokenizer."""
        decoding = request.decoding
        reason: StopReason = "length"
        if choice["finish_reason"] == "stop":
            reason = "stop" if decoding.stop and decoding.thinking is None else "eos"
            if choice.get("stop_reason", "") is None:  # vLLM: null is the model's own end
                reason = "eos"
        thought, answer, n_thinking = self._split(text, decoding)
        used = choice["usage"].get("completion_tokens")
        n_tokens = used if isinstance(used, int) else self._count(text)
        if answer is None:
            budget = None if decoding.thinking is None else decoding.thinking.budget
            if budget is not None and n_tokens > budget:  # what others stop at
                n_tokens, reason = budget, "length"
            return Generated("", n_tokens, reason, thought, n_tokens, answered=False)
        if decoding.thinking is not None and decoding.thinking.budget is not None:
            most = decoding.max_new_tokens
            if self._count(answer) > most:
                answer = self._first(answer, most)
                reason, n_tokens = "length", n_thinking + most
        end = cut_at_stop(answer, [string for string in decoding.stop if string])
        return Generated(
            answer[:end], n_tokens, reason if end is None else "stop", thought, n_thinking
        )

    def _split(self, text: str, decoding: Decoding) -> tuple[str, str | None, int]:
        """What was thought, the answer, and tokens of thinking."""
        thinking = decoding.thinking
        if thinking is None:
            return "", text, 0
        thought, answer = thinking.split(text)
        if answer is None or not (thought or thinking.end in text):
            return thought, answer, 0
        spent = self._count(text[: text.find(thinking.end) + len(thinking.end)])
        if thinking.budget is not None and spent > thinking.budget:
            return thought, None, spent
        return thought, answer, spent

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, special=False, parse_special=False))

    def _first(self, text: str, most: int) -> str:
        """The beginning of a text that has so many tokens; nothing in it changes."""
        size = bisect_right(range(len(text)), most, key=lambda n: self._count(text[:n]))
        return text[: size - 1]


# What ended a text, in llama-server's words and in OpenAI's.
_ENDS = {"eos": "stop", "word": "stop", "limit": "length"}


def _as_completion(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of llama-server's own path in the form of the others."""
    choice = {
        "text": answer.get("content"),
        "token_ids": answer.get("tokens"),
        "finish_reason": _ENDS.get(str(answer.get("stop_type"))),
    }
    used = {"completion_tokens": answer.get("tokens_predicted")}
    model = {"model": answer["model"]} if "model" in answer else {}
    return {**model, "choices": [choice], "usage": used}
