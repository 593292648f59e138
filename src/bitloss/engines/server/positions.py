"""Log-probabilities from llama-server, which gives none of a prompt: one request per position.

Each request has the text up to a position as its prompt, and a bias that has the text's own token
written. The server tells the log-probability that the model gives to the token, which the bias is
no part of, and those of the likeliest ones. It keeps what it has read of the text, so that a
request takes as long as writing a token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitloss.engines.server.client import Post
from bitloss.engines.server.probe import NATIVE, Offers, forced, forced_position
from bitloss.errors import ServerError
from bitloss.types import Window

__all__ = ["Position", "positions_of"]

Position = tuple[Any, list[tuple[int, Any]]]
"""Log-probability of the text's token, and likely tokens with theirs, as the server wrote them."""


def positions_of(offers: Offers, window: Window, where: str) -> Callable[[Post], list[Position]]:
    """What asks for a window's scored positions, one after the other.

    Args:
        offers: of the model.
        window: of the text.
        where: the server, for errors.
    """

    def ask(post: Post) -> list[Position]:
        found = []
        for at in range(window.first, len(window.ids)):
            token = int(window.ids[at])
            body = {"model": offers.model, "prompt": [int(n) for n in window.ids[:at]]}
            answer = post(NATIVE, {**body, **forced(token, offers.top)})
            _require_whole(answer, at, where)
            position = forced_position(answer, token)
            if position is None:
                raise ServerError(
                    f"{where}: expected the log-probability of token {token} at {at}, got "
                    f"{answer.get('tokens')}",
                    hint="check the server's log and its version",
                )
            likely = [one for one in position["top_logprobs"] if isinstance(one, dict)]
            found.append((position["logprob"], [(_id(one), one.get("logprob")) for one in likely]))
        return found

    return ask


def _id(one: dict[str, Any]) -> int:
    token = one.get("id")
    return token if isinstance(token, int) else -1


def _require_whole(answer: dict[str, Any], at: int, where: str) -> None:
    """Refuse an answer to another prompt than the one that was sent: one that was cut."""
    read = answer.get("tokens_evaluated", at)
    if answer.get("truncated") or read != at:
        raise ServerError(
            f"{where}: expected a prompt of {at} tokens to be read, got {read} read",
            hint="serve the model with a longer context, or use a smaller --max-length",
        )
