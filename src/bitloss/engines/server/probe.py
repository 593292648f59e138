"""What a server offers, found out by asking for it: what servers say of themselves differs.

Nothing here needs a tokenizer. Whether log-probabilities are right is judged where a text is at
hand whose losses the reference has: `bitloss.engines.server.scoring`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bitloss.engines.server.client import Client
from bitloss.errors import ServerError

__all__ = [
    "CHAT", "COMPLETIONS", "NATIVE", "Offers", "Scoring", "forced", "forced_position", "probe",
    "served_models",
]  # fmt: skip

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
NATIVE = "/completion"
"""llama-server's own path, which gives the ids of what is written."""

Scoring = Literal["prompt_logprobs", "echo", "positions", ""]
"""How log-probabilities of a prompt are had: vLLM's field, OpenAI's ``echo``, llama-server's
``n_probs`` with one request per position, or not at all."""

_ATTEMPTS = 3
_TEXT = "The quick brown fox jumps over the lazy dog."
# Ids that every vocabulary has; no text is meant.
_IDS = [40, 41, 42, 43, 44, 45]
_TOPS = (20, 5, 1, 0)
# Every server has defaults of its own for how tokens are drawn, and some take them from the model's
# files: here they are switched off. The first of these that a server takes is used.
_PLAIN: tuple[dict[str, Any], ...] = (
    {"top_k": 0, "min_p": 0, "repetition_penalty": 1.0, "repeat_penalty": 1.0},
    {"top_k": -1, "min_p": 0, "repetition_penalty": 1.0},
    {},
)
_TOKENIZERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("/tokenize", "content", {"add_special": True, "parse_special": True}),  # llama-server
    ("/tokenize", "prompt", {"add_special_tokens": True}),  # vLLM, SGLang
    ("/extras/tokenize", "input", {}),  # llama-cpp-python
)
# Paths, and where the text is: llama-server's, vLLM's, llama-cpp-python's.
_DETOKENIZERS = (
    ("/detokenize", "content"),
    ("/detokenize", "prompt"),
    ("/extras/detokenize", "text"),
)


@dataclass(frozen=True, slots=True)
class Offers:
    """What a server can do for one of its models.

    Attributes:
        model: its id there.
        completions: whether prompts are continued as they are; chat is all there is otherwise.
        chat: whether it answers in chat; asked only if it has no completions.
        token_ids: whether prompts may be token ids; text otherwise.
        returns_ids: whether the ids of what it writes can be had.
        native: whether they are had from llama-server's own path.
        slots: prompts that it holds at a time, where log-probabilities are had by position.
        scoring: see `Scoring`.
        top: most likely tokens per position, with their log-probabilities.
        plain: fields that switch off what would change how tokens are drawn.
        said: what it writes after a fixed text: other files behind the same name write something
            else, and no record of theirs is taken for one of these.
        tokenize: path, name of the text's field and further fields; None without such a path.
        detokenize: path, and name of the text's field in its answer; None without such a path.
        lacking: what is missing, and what the server said, for people.
    """

    model: str
    completions: bool = False
    chat: bool = False
    token_ids: bool = False
    returns_ids: bool = False
    native: bool = False
    slots: int = 1
    scoring: Scoring = ""
    top: int = 0
    plain: Mapping[str, Any] = field(default_factory=dict)
    tokenize: tuple[str, str, Mapping[str, Any]] | None = None
    detokenize: tuple[str, str] | None = None
    lacking: tuple[str, ...] = ()
    said: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """How far it could be seen that tokens are the same, for people."""
        if not self.completions:
            return (
                "the server answers only in chat, with its own chat template: without --chat, the "
                "reference gets prompts without any; with --chat, both templates have to give the "
                "same number of tokens",
            )
        if self.tokenize is None:
            return ("the server does not return token ids: only their number is compared",)
        ways = "texts and tokens" if self.detokenize or self.returns_ids else "tokens of texts"
        return (
            f"the server's tokenizer matches the reference's on {ways} chosen to tell them apart",
        )

    def to_dict(self) -> dict[str, Any]:
        """What decides numbers, as plain values: part of fingerprints."""
        return {
            "model": self.model,
            "completions": self.completions,
            "token_ids": self.token_ids,
            "returns_ids": self.returns_ids,
            **({"native": True} if self.native else {}),
            "scoring": self.scoring,
            "top": self.top,
            "plain": dict(self.plain),
            "said": self.said,
        }


def served_models(client: Client) -> dict[str, dict[str, Any]]:
    """The models that a server lists, by id, with what it says of each.

    Raises:
        ServerError: it cannot be reached, refuses, or lists none.
    """
    listed = client.get("/v1/models", attempts=_ATTEMPTS).get("data")
    models = listed if isinstance(listed, list) else []
    found = {
        one["id"]: one
        for one in models
        if isinstance(one, dict) and isinstance(one.get("id"), str) and one["id"]
    }
    if not found:
        raise ServerError(
            f"server {client.root}: expected a list of models at /v1/models, got none",
            hint="give --engine server=URL the address of an OpenAI-compatible server",
        )
    return found


def probe(client: Client, model: str) -> Offers:
    """Find out what a server offers for one of its models.

    Raises:
        ServerError: it cannot be reached, refuses the key, or offers neither completions nor chat.
    """
    prober = _Prober(client, model)
    if prober.tried({"prompt": _TEXT}) is None:
        return prober.chat_only()
    token_ids = prober.takes_ids()
    scoring, top = prober.scoring(_IDS if token_ids else _TEXT)
    returned = prober.tried({"prompt": _TEXT, "return_token_ids": True})
    returns = returned is not None and isinstance(_choice(returned).get("token_ids"), list)
    native = token_ids and not returns and prober.forces_tokens()
    if native and not scoring:
        scoring, top = "positions", _TOPS[0]
    if not token_ids:
        prober.lacking.append("no prompts of token ids")
    if not scoring:
        prober.lacking.append("no log-probabilities of a prompt")
    elif not top:
        prober.lacking.append("no log-probabilities of other tokens than the text's")
    return Offers(
        model=model,
        completions=True,
        token_ids=token_ids,
        returns_ids=returns or native,
        native=native,
        slots=prober.slots() if native else 1,
        scoring=scoring,
        top=top,
        plain=next(plain for plain in _PLAIN if prober.tried({"prompt": _TEXT, **plain})),
        tokenize=prober.tokenizer(),
        detokenize=prober.detokenizer(),
        lacking=tuple(prober.lacking),
        said=prober.continuation(),
    )


@dataclass
class _Prober:
    """Asks for things, and notes what a server said where it has them not."""

    client: Client
    model: str
    lacking: list[str] = field(default_factory=list)

    def tried(self, body: Mapping[str, Any], path: str = COMPLETIONS) -> dict[str, Any] | None:
        """An answer with one token; None where it is refused.

        Raises:
            ServerError: nothing could be asked for at all.
        """
        whole = {"model": self.model, "max_tokens": 1, "temperature": 0, **body}
        try:
            answer = self.client.post(path, whole, attempts=_ATTEMPTS)
        except ServerError as error:
            if "API key" in error.message or "reached" in error.message:
                raise
            self.said = error.message
            return None
        return answer if _choice(answer) else None

    def chat_only(self) -> Offers:
        said = self.said
        messages = [{"role": "user", "content": "Hello"}]
        if self.tried({"messages": messages}, CHAT) is None:
            raise ServerError(
                f"server {self.client.root}: expected completions or chat for `{self.model}`, got "
                f"neither: {said.partition(': ')[2]}",
                hint="serve a language model, or correct the URL of --engine server=URL",
            )
        lacking = ("no completions, only chat", "no log-probabilities of a prompt")
        plain = next(plain for plain in _PLAIN if self.tried({"messages": messages, **plain}, CHAT))
        return Offers(self.model, chat=True, plain=plain, lacking=lacking)

    def takes_ids(self) -> bool:
        """Whether ids are taken as ids: a server may read a list of numbers as something else."""
        answer = self.tried({"prompt": _IDS})
        used = None if answer is None else (answer.get("usage") or {}).get("prompt_tokens")
        return answer is not None and used in (None, len(_IDS))

    def scoring(self, prompt: Any) -> tuple[Scoring, int]:
        for top in _TOPS:
            answer = self.tried({"prompt": prompt, "prompt_logprobs": top})
            values = None if answer is None else _choice(answer).get("prompt_logprobs")
            if isinstance(values, list) and any(values):
                return "prompt_logprobs", top
            if answer is not None:  # the field is not known
                break
        for top in _TOPS:
            answer = self.tried({"prompt": prompt, "echo": True, "logprobs": top})
            values = None if answer is None else (_choice(answer).get("logprobs") or {})
            values = None if values is None else values.get("token_logprobs")
            # One value is that of the token that is written: the prompt was not scored.
            if isinstance(values, list) and sum(isinstance(v, int | float) for v in values) > 1:
                return "echo", top
        return "", 0

    def forces_tokens(self) -> bool:
        """Whether llama-server's own path is there, with the ids of what is written, and with the
        log-probability that the model itself gives to a token which a bias has it write.

        Two tokens are forced: a bias that is part of the log-probabilities shows, as only one of
        them can have more than half of the probability.
        """
        found = []
        for token in _IDS[:2]:
            body = {"model": self.model, "prompt": _IDS, **forced(token, _TOPS[0])}
            try:
                answer = self.client.post(NATIVE, body, attempts=1)
            except ServerError:
                return False
            position = forced_position(answer, token)
            if position is None:
                return False
            found.append(float(position["logprob"]))
        return min(found) < math.log(0.5)

    def slots(self) -> int:
        """Prompts that llama-server holds at a time."""
        try:
            count = self.client.get("/props", attempts=1).get("total_slots")
        except ServerError:
            return 1
        return count if isinstance(count, int) and count > 0 else 1

    def continuation(self) -> str:
        """A few words, which a rerun gets again."""
        answer = self.tried({"prompt": _TEXT, "max_tokens": 8})
        return "" if answer is None else str(_choice(answer).get("text"))

    def tokenizer(self) -> tuple[str, str, Mapping[str, Any]] | None:
        for path, name, more in _TOKENIZERS:
            try:
                answer = self.client.post(
                    path, {"model": self.model, name: _TEXT, **more}, attempts=1
                )
            except ServerError:
                continue
            ids = answer.get("tokens")
            if isinstance(ids, list) and len(ids) > 1 and all(isinstance(n, int) for n in ids):
                return path, name, more
        return None

    def detokenizer(self) -> tuple[str, str] | None:
        for path, name in _DETOKENIZERS:
            try:
                answer = self.client.post(
                    path, {"model": self.model, "tokens": _IDS[:2]}, attempts=1
                )
            except ServerError:
                continue
            if isinstance(answer.get(name), str) and answer[name]:
                return path, name
        return None

    said: str = ""


def forced(token: int, top: int) -> dict[str, Any]:
    """Fields of a request to `NATIVE` that has a token written, and its log-probability told."""
    return {
        "n_predict": 1,
        "n_probs": top,
        "temperature": 0,
        "logit_bias": [[token, 1e6]],
        "return_tokens": True,
        "post_sampling_probs": False,
        "backend_sampling": False,
        "cache_prompt": True,
        "samplers": [],
    }


def forced_position(answer: Mapping[str, Any], token: int) -> dict[str, Any] | None:
    """What the answer to such a request says of the position: ``logprob`` of the token, and
    ``top_logprobs``; None if it does not say.
    """
    positions = answer.get("completion_probabilities")
    first = positions[0] if isinstance(positions, list) and positions else None
    if not isinstance(first, dict) or first.get("id") != token or answer.get("tokens") != [token]:
        return None
    likely = first.get("top_logprobs")
    return first if isinstance(likely, list) and "logprob" in first else None


def _choice(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The only choice of an answer; empty where there is none."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}
