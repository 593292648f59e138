"""A model behind the OpenAI interface, as vLLM offers it (token ids, prompt log-probabilities), as
servers do that take text only, or as llama-server does, which has a path of its own besides. The
numbers are those of a function from ids to logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from peers.model_server import Answer, ModelServer

__all__ = ["ServedModel"]


@dataclass
class ServedModel:
    """Routes of a `ModelServer`.

    Attributes:
        name: its id.
        logits: ids to ``[len(ids), vocabulary]``.
        encode: text to ids.
        decode: ids to text; `pieces` of single tokens.
        eos: ends a text.
        context: most tokens.
        style: ``vllm``, or ``text`` (no ids, ``echo``), or ``writes`` (no log-probabilities), or
            ``llama-server`` (ids; log-probabilities of what is written, in build 0.3.36's form).
        bos: what is put before a text, and left out of what is echoed, as llama-cpp-python does.
        biased: whether a bias is part of the log-probabilities (llama-server's are without).
        room: most tokens of prompt and text together; the text ends where it is full, without a
            word of it, as in llama-server.
        shift: positions by which log-probabilities are read too late.
        constant: log-probability that every token has, if any.
    """

    name: str
    logits: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    eos: int = -1
    context: int = 1 << 20
    style: str = "vllm"
    shift: int = 0
    constant: float | None = None
    bos: int | None = None
    answers_as: str = ""
    biased: bool = False
    room: int = 1 << 20
    seen: list[Any] = field(default_factory=list)

    def server(self, **options: Any) -> ModelServer:
        routes: dict[str, Callable[[Any], Any]] = {
            "/v1/models": lambda body: {"data": [{"id": self.name, "root": self.name}]},
            "/v1/completions": self.complete,
        }
        if self.style == "llama-server":
            routes["/completion"] = self.native
            routes["/props"] = lambda body: {"total_slots": 2}
        return ModelServer(routes, **options)

    def native(self, body: Any) -> Any:
        """llama-server's own path: see its tools/server/README.md, POST /completion."""
        self.seen.append(body)
        ids = body["prompt"]
        if len(ids) >= self.context:
            message = f"request ({len(ids)} tokens) exceeds the available context size"
            return Answer({"error": {"code": 400, "message": message}}, 400)
        answer = {"model": self.answers_as or self.name, "tokens_evaluated": len(ids)}
        bias = dict(body.get("logit_bias", ()))
        if bias:
            logs = self.logs(ids)[-1 - self.shift] if self.shift < len(ids) else self.logs(ids)[0]
            if self.biased:
                logs = np.where(np.arange(len(logs)) == next(iter(bias)), 0.0, -50.0)
            (token,) = bias
            likely = np.argsort(-logs, kind="stable")[: body["n_probs"]]
            value = {n: self.constant or float(logs[n]) for n in (token, *likely.tolist())}
            top = [{"id": int(n), "logprob": value[int(n)]} for n in likely]
            position = {"id": token, "logprob": value[token], "top_logprobs": top}
            return {**answer, "tokens": [token], "completion_probabilities": [position]}
        written, ended = self.write(ids, {**body, "max_tokens": body["n_predict"]})
        return {
            **answer,
            "content": self.decode(written),
            "tokens": written + [self.eos] * (ended == "stop"),
            "stop_type": "eos" if ended == "stop" else "limit",
            "tokens_predicted": len(written) + (ended == "stop"),
        }

    def complete(self, body: Any) -> Any:
        self.seen.append(body)
        if body["model"] != self.name:
            return Answer({"error": {"message": f"model `{body['model']}` does not exist"}}, 404)
        prompt = body["prompt"]
        if isinstance(prompt, list) and self.style not in ("vllm", "llama-server"):
            return Answer({"detail": "prompt: expected a string"}, 422)
        ids = list(prompt)
        if isinstance(prompt, str):
            ids = [self.bos] * (self.bos is not None) + self.encode(prompt)
        if len(ids) + 1 > self.context:
            message = f"This model's maximum context length is {self.context} tokens"
            return Answer({"message": message}, 400)
        written, ended = self.write(ids, body)
        choice: dict[str, Any] = {
            "text": self.decode(written),
            "finish_reason": ended,
            "stop_reason": None,
        }
        if self.style == "vllm" and body.get("return_token_ids"):
            choice["token_ids"] = written + [self.eos] * (ended == "stop")
        else:
            cuts = [
                choice["text"].index(stop)
                for stop in body.get("stop", ())
                if stop in choice["text"]
            ]
            if cuts:
                choice |= {"text": choice["text"][: min(cuts)], "finish_reason": "stop"}
                del choice["stop_reason"]
        if self.style == "vllm" and body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = self.prompt_logprobs(ids, body["prompt_logprobs"])
        if self.style == "text" and body.get("echo"):
            choice["logprobs"] = self.echoed(ids + written, body["logprobs"])
        used = {"prompt_tokens": len(ids), "completion_tokens": len(written) + (ended == "stop")}
        return {"model": self.answers_as or self.name, "choices": [choice], "usage": used}

    def write(self, ids: list[int], body: Any) -> tuple[list[int], str]:
        rng = np.random.default_rng(body.get("seed", 0))
        written: list[int] = []
        room = min(self.context, self.room) - len(ids)
        while len(written) < min(body["max_tokens"], room):
            row = self.logits(np.array(ids + written, np.int32))[-1].astype(np.float64)
            if body.get("temperature"):
                p = np.exp((row - row.max()) / body["temperature"])
                token = int(rng.choice(len(row), p=p / p.sum()))
            else:
                token = int(row.argmax())
            if token == self.eos:
                return written, "stop"
            written.append(token)
        return written, "length"

    def logs(self, ids: list[int]) -> np.ndarray:
        rows = self.logits(np.array(ids, np.int32)).astype(np.float64)
        rows -= rows.max(1, keepdims=True)
        return rows - np.log(np.exp(rows).sum(1, keepdims=True))

    def prompt_logprobs(self, ids: list[int], top: int) -> list[Any]:
        logs = self.logs(ids)
        found: list[Any] = [None]
        for at in range(1, len(ids)):
            row = logs[at - 1 + self.shift]
            wanted = {*np.argsort(-row, kind="stable")[:top].tolist(), ids[at]}
            found.append(
                {
                    str(token): {
                        "logprob": self.constant or float(row[token]),
                        "rank": int((row > row[token]).sum()) + 1,
                        "decoded_token": self.decode([token]),
                    }
                    for token in wanted
                }
            )
        return found

    def echoed(self, ids: list[int], top: int) -> dict[str, Any]:
        found = self.prompt_logprobs(ids, top)
        skipped = int(self.bos is not None)
        found, ids = found[skipped:], ids[skipped:]
        own = [one and one[str(token)]["logprob"] for one, token in zip(found, ids, strict=True)]
        return {
            "tokens": [self.decode([token]) for token in ids],
            "token_logprobs": own,
            "top_logprobs": [
                one and {v["decoded_token"]: v["logprob"] for v in one.values()} for one in found
            ],
        }
