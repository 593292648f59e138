"""Servers that only answer in chat; answers by hand, in the forms of vLLM and llama-server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from bitloss.engines.server.chat import asked_in_chat
from bitloss.engines.server.client import Client
from bitloss.engines.server.probe import Offers
from bitloss.engines.server.tokens import Tokens
from bitloss.engines.server.writing import ServerTexts
from bitloss.engines.values import TextSetup
from bitloss.errors import Incomparable, UnsupportedModel
from bitloss.requests import Conversation, Decoding, Generated, GenerateRequest, Thinking
from bitloss.types import IntArray
from peers.model_server import ModelServer, serve

SAID = Conversation(
    ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}),
    ({"type": "function", "function": {"name": "timer"}},),
    {"enable_thinking": True},
)


class Letters:
    """A token a character; `special` is one that no text shows."""

    bos_id = eos_id = None
    adds_bos = False
    size = 256

    def __init__(self, special: str = "") -> None:
        self._special = special

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        return np.array([ord(character) for character in text], np.int32)

    def text(self, ids: Sequence[int]) -> str:
        return "".join(map(self.piece, ids))

    def decode(self, ids: Sequence[int], *, keep: Any = ()) -> str:
        return self.text(ids).replace(self._special, "") if self._special else self.text(ids)

    def piece(self, token: int) -> str:
        return chr(token)


@contextmanager
def answering(
    message: Mapping[str, Any],
    reason: str = "stop",
    tokenizer: Letters | None = None,
    read: int = 5,
) -> Iterator[tuple[ServerTexts, list[Any]]]:
    """Texts of a server with one answer, and what it is asked."""
    seen: list[Any] = []

    def chat(body: Any) -> Any:
        seen.append(body)
        choice = {"message": {"role": "assistant", **message}, "finish_reason": reason}
        return {"model": "m", "choices": [choice], "usage": {"prompt_tokens": read}}

    tokenizer = tokenizer or Letters()
    offers = Offers("m", chat=True)
    with serve(ModelServer({"/v1/chat/completions": chat})) as server:
        client = Client(server.url)
        setup = TextSetup({}, tokenizer.decode, (1,), batch_tokens=64, tokenizer=tokenizer)
        tokens = Tokens(client, offers, tokenizer, "variant")
        yield (
            ServerTexts(
                client, offers, tokens, setup, tokenizer,
                name="variant", context=None, vocabulary=256,
            ),
            seen,
        )  # fmt: skip


def request(decoding: Decoding, conversation: Conversation | None = SAID) -> GenerateRequest:
    return GenerateRequest(np.arange(5, dtype=np.int32), decoding, conversation=conversation)


def written(texts: ServerTexts, decoding: Decoding) -> Generated:
    ((_, found),) = texts.generate([request(decoding)])
    return found


def test_the_conversation_is_sent_and_not_its_template() -> None:
    with answering({"content": "Hello"}) as (texts, seen):
        assert written(texts, Decoding(9)).text == "Hello"
    (body,) = seen
    assert body["messages"] == [dict(message) for message in SAID.messages]
    assert body["tools"] == [dict(tool) for tool in SAID.tools]
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    assert "prompt" not in body
    bare = asked_in_chat(request(Decoding(9), Conversation(SAID.messages)), Letters())
    assert set(bare) == {"messages"}


def test_another_template_is_another_question() -> None:
    with (
        answering({"content": "Hello"}, read=7) as (texts, _),
        pytest.raises(Incomparable, match=r"have 5 tokens in the server's chat template.*got 7"),
    ):
        written(texts, Decoding(9))


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("message", "reason", "text", "thinking", "answered"),
    [
        ({"content": "yes", "reasoning_content": "hm"}, "stop", "yes", "hm", True),
        ({"content": "yes", "reasoning": "hm"}, "stop", "yes", "hm", True),
        ({"content": None, "reasoning_content": "hm"}, "length", "", "hm", False),
        ({"content": "", "reasoning_content": "hm"}, "length", "", "hm", False),
        ({"content": "<t>hm</t>yes", "reasoning_content": None}, "stop", "yes", "hm", True),
        ({"content": "hm</t>yes"}, "stop", "yes", "hm", True),
        ({"content": "<t>hm"}, "length", "", "hm", False),
        ({"content": "yes"}, "stop", "yes", "", True),
    ],
)
def test_thinking_is_told_from_the_answer(
    message: Mapping[str, Any], reason: str, text: str, thinking: str, answered: bool, opened: bool
) -> None:
    """Whether the server separates it, leaves its marks, or never thought."""
    decoding = Decoding(40, thinking=Thinking("<t>", "</t>", opened=opened), keep=("<t>", "</t>"))
    with answering(message, reason) as (texts, _):
        found = written(texts, decoding)
    assert (found.text, found.thinking, found.answered) == (text, thinking, answered)


def test_a_text_cut_off_in_thinking_that_the_template_opened_is_no_answer() -> None:
    for opened, answered in ((True, False), (False, True)):
        with answering({"content": "hm"}, "length") as (texts, _):
            thinking = Thinking("<t>", "</t>", opened=opened)
            assert written(texts, Decoding(2, thinking=thinking)).answered is answered


def test_marks_that_the_server_leaves_out_are_missed_beforehand() -> None:
    decoding = Decoding(9, thinking=Thinking("<t>", "</t>"), keep=("<t>", "</t>"))
    with (
        answering({"content": "hm yes"}, tokenizer=Letters("</t>")) as (texts, seen),
        pytest.raises(UnsupportedModel, match="needs `</t>` in the text, a special token"),
    ):
        written(texts, decoding)
    assert not seen
