"""A stand-in for vLLM in a child's process: the classes that the engine uses, with exactly the
arguments and attributes that vLLM 0.33 documents for them and the engine names. Anything else is a
TypeError or an AttributeError here. Numbers are of transformers, in float32 on the CPU.

`FAKE_VLLM` holds JSON: ``log`` (a file, to which what the engine was made with is written),
``raises`` (what loading raises), ``lacks`` (no prompt log-probabilities), ``shift``
(positions by which they are read too late), ``dies`` (a file; the process is killed once, in the
middle, and makes it).
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch

__all__ = ["LLM", "SamplingParams", "TokensPrompt"]

SETTINGS = json.loads(os.environ.get("FAKE_VLLM", "{}"))
EOS = 1


class TokensPrompt(TypedDict):
    prompt_token_ids: list[int]


@dataclass
class SamplingParams:
    max_tokens: int | None = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    detokenize: bool = True
    prompt_logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.stop and not self.detokenize:
            raise ValueError("stop strings are only supported when detokenize is True")


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    token_ids: list[int]
    finish_reason: str | None


@dataclass
class RequestOutput:
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput]


class LLM:
    def __init__(
        self,
        model: str,
        *,
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        dtype: str = "auto",
        seed: int = 0,
        gpu_memory_utilization: float = 0.9,
        max_model_len: int | None = None,
        max_num_batched_tokens: int | None = None,
        kv_cache_dtype: str = "auto",
        max_logprobs: int = 20,
        logprobs_mode: str = "raw_logprobs",
        enable_prefix_caching: bool | None = None,
        disable_log_stats: bool = True,
    ) -> None:
        from transformers import AutoModelForCausalLM

        given = {name: value for name, value in locals().items() if name not in ("self",)}
        given.pop("AutoModelForCausalLM")
        if "log" in SETTINGS:
            Path(SETTINGS["log"]).write_text(json.dumps(given))
        if "raises" in SETTINGS:
            raise ValueError(SETTINGS["raises"])
        self._given = given
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    def generate(
        self,
        prompts: list[TokensPrompt],
        sampling_params: SamplingParams | list[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        many = isinstance(sampling_params, list)
        params: Any = sampling_params if many else [sampling_params] * len(prompts)
        found = [
            self._answer(p["prompt_token_ids"], q) for p, q in zip(prompts, params, strict=True)
        ]
        if "dies" in SETTINGS and not Path(SETTINGS["dies"]).exists():
            Path(SETTINGS["dies"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    def _answer(self, ids: list[int], params: SamplingParams) -> RequestOutput:
        limit = self._given["max_model_len"]
        if limit is not None and len(ids) + 1 > limit:
            raise ValueError(f"The decoder prompt (length {len(ids)}) is longer than {limit}")
        logs = None
        if params.prompt_logprobs is not None:
            assert params.prompt_logprobs <= self._given["max_logprobs"]
            assert self._given["enable_prefix_caching"] is False
            logs = None if SETTINGS.get("lacks") else self._logprobs(ids, params.prompt_logprobs)
        written, reason = self._write(ids, params)
        return RequestOutput(logs, [CompletionOutput(written, reason)])

    @torch.no_grad()
    def _logprobs(self, ids: list[int], top: int) -> list[dict[int, Logprob] | None]:
        rows = self._model(torch.tensor([ids])).logits[0].double().log_softmax(1)
        found: list[dict[int, Logprob] | None] = [None]
        for at in range(1, len(ids)):
            row = rows[min(at - 1 + SETTINGS.get("shift", 0), len(ids) - 1)]
            wanted = dict.fromkeys([*row.topk(min(top, len(row))).indices.tolist(), ids[at]])
            found.append({token: Logprob(float(row[token])) for token in wanted})
        return found

    @torch.no_grad()
    def _write(self, ids: list[int], params: SamplingParams) -> tuple[list[int], str]:
        drawn = torch.Generator().manual_seed(params.seed or 0)
        written: list[int] = []
        assert params.max_tokens is not None
        while len(written) < params.max_tokens:
            row = self._model(torch.tensor([ids + written])).logits[0, -1].double()
            if params.temperature:
                p = (row / params.temperature).softmax(0)
                token = int(torch.multinomial(p, 1, generator=drawn))
            else:
                token = int(row.argmax())
            written.append(token)
            if token in (params.stop_token_ids or ()):
                return written, "stop"
        return written, "length"
