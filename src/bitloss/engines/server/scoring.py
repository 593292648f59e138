"""Log-probabilities of windows, as a server gives them; satisfies `TopKModel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.engines.server.client import Client
from bitloss.engines.server.positions import Position, positions_of
from bitloss.engines.server.probe import COMPLETIONS, Offers
from bitloss.engines.server.tokens import Tokens
from bitloss.engines.top_k import ROUNDING, TopK, as_top_k, in_order, require_text
from bitloss.errors import Incomparable, NumericalError, ServerError
from bitloss.types import Window

__all__ = ["ServerScores"]


class ServerScores:
    """Windows are sent as prompts, and log-probabilities of their tokens read from the answers.

    Args:
        client: of the server.
        offers: of the model there, with a way of scoring.
        tokens: of the reference.
        name: of the variant, for errors.
        vocabulary: number of tokens of the reference.
    """

    def __init__(
        self, client: Client, offers: Offers, tokens: Tokens, *, name: str, vocabulary: int
    ) -> None:
        self._client = client
        self._offers = offers
        self._tokens = tokens
        self._name = name
        self._vocabulary = vocabulary

    def top_k(self, windows: Sequence[Window]) -> Iterator[TopK]:
        """See `TopKModel.top_k`.

        Raises:
            ServerError: a window has no complete answer.
            Incomparable: the server read other tokens.
        """
        ready: dict[int, TopK] = {}
        given = 0
        for index, found in self._answers(windows):
            ready[index] = found
            while given in ready:
                yield ready.pop(given)
                given += 1

    def _answers(self, windows: Sequence[Window]) -> Iterator[tuple[int, TopK]]:
        """What is said of each window, in the order of the answers."""
        if self._offers.scoring == "positions":
            where = f"server {self._client.root}"
            calls = [positions_of(self._offers, window, where) for window in windows]
            for index, positions in self._client.each(calls, self._offers.slots):
                yield index, self._read_positions(positions, windows[index])
            return
        bodies = [self._body(window) for window in windows]
        for index, answer in self._client.post_all(COMPLETIONS, bodies):
            yield index, self._read(answer, windows[index])

    def _read_positions(self, positions: Sequence[Position], window: Window) -> TopK:
        nll = [-self._number(own, at) for at, (own, _) in enumerate(positions, start=window.first)]
        rows = [
            in_order([(token, self._number(q, 0)) for token, q in likely], self._name)
            for _, likely in positions
        ]
        return as_top_k(np.array(nll), rows)

    def require_right(self, window: Window, reference_nll: NDArray[np.float32]) -> None:
        """See `TopKModel.require_right`: the served model must do better on the text than on its
        tokens in disorder, as any model does that the reference's losses say knows the text.

        Servers are known that score each token with the logits behind it, or not at all (every
        answer then scores the same, and tasks come out at chance).
        """
        require_text(
            self.top_k,
            window,
            reference_nll,
            name=self._name,
            vocabulary=self._vocabulary,
            # A server that reads text may read others from disorder.
            reread=None if self._offers.token_ids else self._as_read,
        )

    def _as_read(self, ids: Any) -> Any:
        return self._tokens.reread(ids)

    def _body(self, window: Window) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._offers.model,
            "prompt": self._tokens.prompt(window.ids),
            "max_tokens": 1,  # 0 means "as many as fit" to some
            "temperature": 0,
        }
        if self._offers.scoring == "prompt_logprobs":
            return {**body, "prompt_logprobs": self._offers.top}
        return {**body, "echo": True, "logprobs": self._offers.top}

    def _read(self, answer: Mapping[str, Any], window: Window) -> TopK:
        if answer.get("model", self._offers.model) != self._offers.model:
            raise ServerError(
                f"server {self._client.root}: expected an answer of `{self._offers.model}`, got "
                f"one of `{answer['model']}`",
                hint="name the model that is meant: --engine server=URL#MODEL",
            )
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        own: list[Any] = []
        tops: list[Any] = []
        if isinstance(choice, dict):
            if self._offers.scoring == "prompt_logprobs":
                tops = _list(choice.get("prompt_logprobs"))
                own = [
                    one.get(str(int(token))) if isinstance(one, dict) else None
                    for one, token in zip(tops, window.ids, strict=False)
                ]
            else:
                logs = choice.get("logprobs")
                logs = logs if isinstance(logs, dict) else {}
                self._tokens.require_count(answer, len(window.ids))
                self._require_same_texts(_list(logs.get("tokens")), window)
                own, tops = _list(logs.get("token_logprobs")), _list(logs.get("top_logprobs"))
        size = len(window.ids)
        skipped = self._left_out(window)
        own, tops = ([None] * skipped + part for part in (own, tops))
        if len(own) < size or (self._offers.top and len(tops) < size):
            raise self._incomplete(len(own), size)
        wanted = range(window.first, size)
        nll = np.array([-self._number(own[at], at) for at in wanted])
        rows = [self._likely(tops[at]) if self._offers.top else [] for at in wanted]
        return as_top_k(nll, rows)

    def _left_out(self, window: Window) -> int:
        """Tokens before the first that an answer tells of: a BOS of the server's own."""
        echoes_text = self._offers.scoring == "echo" and not self._offers.token_ids
        own_bos = int(window.ids[0]) == self._tokens.bos_id
        return int(echoes_text and self._tokens.adds_bos and own_bos)

    def _require_same_texts(self, texts: Sequence[Any], window: Window) -> None:
        """Compare the tokens of an answer with what was sent, where only text was."""
        if self._offers.token_ids:
            return
        ids = window.ids[self._left_out(window) :]
        got = f"{len(texts)}" if len(texts) not in (len(ids), len(ids) + 1) else ""
        if not got:
            ours = [self._tokens.piece(int(token)) for token in ids]
            at = next((n for n, own in enumerate(ours) if not _same_text(own, texts[n], n)), None)
            got = "" if at is None else f"`{texts[at]}` for `{ours[at]}` at {at}"
        if got:
            raise Incomparable(
                f"{self._name}: expected {len(ids)} tokens in the server's answer, got {got}: it "
                "tokenizes the text differently from the reference",
                hint="serve the model with a server that takes prompts of token ids (vLLM, "
                "llama-server)",
            )

    def _number(self, value: Any, at: int) -> float:
        if isinstance(value, dict):
            value = value.get("logprob")
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ServerError(
                f"server {self._client.root}: expected the log-probability of token {at} of a "
                f"window, got {'none' if value is None else type(value).__name__}",
                hint="use another protocol, such as --protocol llama.cpp, if it is the first one "
                "after a BOS; or another server",
            )
        if not value <= ROUNDING:  # NaN, too
            raise NumericalError(
                f"{self._name}: expected a log-probability of at most 0, got {value}",
                hint="check the served file with --engine dense",
            )
        return float(value)

    def _likely(self, value: Any) -> list[tuple[int, float]]:
        """Likely tokens, the most likely first; -1 for one that is not certain."""
        if not isinstance(value, dict):
            return []
        found = [(self._tokens.id_of(key), self._number(one, 0)) for key, one in value.items()]
        return in_order(found, self._name)

    def _incomplete(self, got: int, expected: int) -> ServerError:
        return ServerError(
            f"server {self._client.root}: expected log-probabilities of {expected} tokens, got "
            f"{got}",
            hint="check the server's log, and rerun the same command to resume",
        )


def _same_text(own: str, other: Any, at: int) -> bool:
    """Whether two texts may be of the same token. A token of incomplete bytes is written in several
    ways, a special one may be left out, and the first of a text may lack its blank.
    """
    if "\ufffd" in own or not isinstance(other, str) or "\ufffd" in other or not other:
        return True
    return own == other or (at == 0 and own.lstrip(" ") == other.lstrip(" "))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
