"""Conversations as servers take them, and what their messages say as one text.

A server that only answers in chat applies its own template. So it is given what the reference's
template was applied to, and not the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitloss.requests import Decoding, GenerateRequest
from bitloss.types import ExactTokenizer

__all__ = ["asked_in_chat", "text_of_message"]


def asked_in_chat(request: GenerateRequest, tokenizer: ExactTokenizer) -> dict[str, Any]:
    """The fields of a chat request that hold the question.

    Args:
        request: without a conversation its prompt is the user's only message.
        tokenizer: the reference's.
    """
    conversation = request.conversation
    if conversation is None:
        text = tokenizer.text([int(n) for n in request.prompt])
        return {"messages": [{"role": "user", "content": text}]}
    fields: dict[str, Any] = {"messages": [dict(one) for one in conversation.messages]}
    if conversation.tools:
        fields["tools"] = [dict(tool) for tool in conversation.tools]
    if conversation.arguments:
        # The name that vLLM, SGLang and llama-server share.
        fields["chat_template_kwargs"] = dict(conversation.arguments)
    return fields


def text_of_message(choice: Mapping[str, Any], decoding: Decoding) -> Any:
    """What a model wrote, with the marks around its thinking that a server may have taken off.

    Where the template opens the thinking, a text without an end mark would be taken for thought.
    A server that separates thinking gives the answer alone, so the marks are put back; one that
    does not, and a text that ended by itself, have no thinking at all.

    Args:
        choice: of the server's answer.
        decoding: of the request.

    Returns:
        The text, or what stands in its place: not always a string.
    """
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    content = message.get("content")
    thinking = decoding.thinking
    if thinking is None:
        return content
    opened = thinking.begin if not thinking.opened else ""
    if isinstance(thought, str) and thought:
        if content is None or content == "":
            return f"{opened}{thought}"
        return f"{opened}{thought}{thinking.end}{content}"
    if not isinstance(content, str) or not thinking.opened or thinking.end in content:
        return content
    return content if choice.get("finish_reason") == "length" else f"{thinking.end}{content}"
