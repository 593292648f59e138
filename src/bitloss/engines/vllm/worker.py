"""The child's side: a model in vLLM's hands. vLLM is imported by the functions that use it.

Of vLLM 0.33 these are used, by these names alone:

    LLM(model, skip_tokenizer_init, trust_remote_code, dtype, seed, gpu_memory_utilization,
        max_model_len, max_num_batched_tokens, kv_cache_dtype, max_logprobs, logprobs_mode,
        enable_prefix_caching, disable_log_stats)
    LLM.generate(prompts, sampling_params, use_tqdm)
    SamplingParams(max_tokens, temperature, top_p, top_k, min_p, seed, stop, stop_token_ids,
        detokenize, prompt_logprobs)
    TokensPrompt(prompt_token_ids)
    RequestOutput.prompt_logprobs, a dict of Logprob by token id for each token of the prompt but
        the first; RequestOutput.outputs[0].token_ids, .finish_reason

``raw_logprobs`` are those of the model before temperature, penalties and the like. A prompt's
log-probabilities are computed only where its tokens are read, so prefix caching is off for scoring:
vLLM skips reading the cache for such requests, and where it did not, the values of cached positions
were whatever was in memory (vllm-project/vllm#42019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.engines.generation.texts import require_room, text_of_ids
from bitloss.engines.raised import lacks_kernels
from bitloss.engines.values import Room, TextSetup
from bitloss.errors import BitlossError, CheckpointError, CorpusError, UnsupportedModel
from bitloss.requests import Generated, GenerateRequest
from bitloss.types import Window

__all__ = ["Job", "Scores", "Texts", "load_scores", "load_texts"]

# Of what is free, so that two runtimes that start together find room.
_FREE = 0.95
_MOST = 0.9
# What is given to vLLM at a time: it answers when all of it is done.
_TOKENS = 16_384
# Tokens in one forward: all of them have logits in memory, 1.2 GB of 2,048 for 150,000 tokens. vLLM
# takes no fewer than it may run texts at a time.
_FEWEST, _BATCH = 1024, 2048
_TEXTS = 512


@dataclass(frozen=True, slots=True)
class Job:
    """What the child loads, as plain values.

    Attributes:
        name: of the model, for messages.
        path: its directory.
        vocabulary: number of tokens of the reference.
        dtype: vLLM's name of the arithmetic.
        cache: vLLM's name of the type of cached keys and values.
        trusts_code: whether the model's own Python code may run.
        top: likely tokens per position.
        batch_tokens: tokens in one forward, at most: their logits are in memory at a time.
        room: see `Room`.
    """

    name: str
    path: str
    vocabulary: int
    dtype: str
    cache: str
    trusts_code: bool
    top: int
    batch_tokens: int
    room: Room


def load_scores(job: Job) -> Scores:
    """A model that gives log-probabilities of prompts."""
    return Scores(job, _load(job, reads_prefixes=False))


def load_texts(job: Job, setup: TextSetup, context: int | None) -> Texts:
    """A model that writes."""
    return Texts(job, _load(job, reads_prefixes=True), setup, context)


class Scores:
    """Likely tokens of windows; see `bitloss.engines.child.likely.ChildLikely`."""

    def __init__(self, job: Job, model: Any) -> None:
        self._job, self._model = job, model
        self.vocabulary = job.vocabulary

    def likely(self, windows: Sequence[Window]) -> Iterator[tuple[int, Any]]:
        """By window, the log-probability of each scored token and the likely tokens with theirs.

        Raises:
            CorpusError: a window is too long for the context.
            CheckpointError: vLLM's answer lacks something.
        """
        from vllm import SamplingParams, TokensPrompt

        self._require_fit(windows)
        params = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=self._job.top, detokenize=False
        )
        for indices in _groups([len(window.ids) for window in windows], _TOKENS, _TEXTS):
            prompts = [
                TokensPrompt(prompt_token_ids=[int(n) for n in windows[index].ids])
                for index in indices
            ]
            answers = self._model.generate(prompts, params, use_tqdm=False)
            for index, answer in zip(indices, answers, strict=True):
                yield index, self._positions(windows[index], answer.prompt_logprobs)

    def _require_fit(self, windows: Sequence[Window]) -> None:
        longest = max(len(window.ids) for window in windows)
        most = self._job.room.tokens
        if most is not None and longest >= most:
            raise CorpusError(
                f"expected a window of at most {most - 1} tokens, one less than the model's "
                f"context, got {longest}",
                hint="use a smaller --max-length",
            )

    def _positions(self, window: Window, found: Any) -> list[tuple[float, list[Any]]]:
        if found is None or len(found) != len(window.ids):
            got = "none" if found is None else str(len(found))
            raise CheckpointError(
                f"{self._job.name}: expected log-probabilities of {len(window.ids)} tokens from "
                f"vLLM, got {got}",
                hint="use --engine packed or dense, and report this",
            )
        positions = []
        for at in range(window.first, len(window.ids)):
            own = (found[at] or {}).get(int(window.ids[at]))
            if own is None:
                raise CheckpointError(
                    f"{self._job.name}: expected the log-probability of token {at} from vLLM, got "
                    "none",
                    hint="use --engine packed or dense, and report this",
                )
            likely = [[int(token), float(one.logprob)] for token, one in found[at].items()]
            positions.append((float(own.logprob), likely))
        return positions


class Texts:
    """Texts by the rules of every engine; see `bitloss.engines.child.writer.ChildWriter`."""

    def __init__(self, job: Job, model: Any, setup: TextSetup, context: int | None) -> None:
        self._job, self._model, self._setup = job, model, setup
        self._context = min(context or 1 << 30, job.room.tokens or 1 << 30)
        self.vocabulary = job.vocabulary
        self.facts = {"nbytes": 0}  # on the accelerator, and given back when the child ends

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """See `bitloss.engines.base.TextModel.generate`."""
        from vllm import TokensPrompt

        for index, request in enumerate(requests):
            require_room(
                self._job.name, index, request, context=self._context, known=self._job.vocabulary
            )
        sizes = [len(request.prompt) for request in requests]
        for indices in _groups(sizes, 1 << 30, _TEXTS):
            prompts = [
                TokensPrompt(prompt_token_ids=[int(n) for n in requests[index].prompt])
                for index in indices
            ]
            params = [self._params(requests[index]) for index in indices]
            answers = self._model.generate(prompts, params, use_tqdm=False)
            for index, answer in zip(indices, answers, strict=True):
                yield index, self._text(requests[index], answer.outputs[0])

    def _params(self, request: GenerateRequest) -> Any:
        from vllm import SamplingParams

        decoding = request.decoding
        # Stop strings are for the answer only; vLLM finds them in text, which needs a tokenizer.
        stops = [string for string in decoding.stop if string]
        stops = stops if decoding.thinking is None and _has_tokenizer(self._job) else []
        return SamplingParams(
            max_tokens=min(decoding.most_tokens, self._context - len(request.prompt)),
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            top_k=-1,
            min_p=0.0,
            seed=None if decoding.temperature == 0 else request.seed % (1 << 31),
            stop=stops or None,
            stop_token_ids=sorted(self._setup.eos_ids),
            detokenize=bool(stops),
        )

    def _text(self, request: GenerateRequest, output: Any) -> Generated:
        if output.finish_reason not in ("stop", "length"):
            raise CheckpointError(
                f"{self._job.name}: expected a text that ended by `stop` or `length` from vLLM, "
                f"got `{output.finish_reason}`",
                hint="rerun the same command to resume",
            )
        return text_of_ids(
            [int(n) for n in output.token_ids],
            request.decoding,
            self._setup.decode,
            self._setup.eos_ids,
            spent=output.finish_reason == "length",
        )


def _load(job: Job, *, reads_prefixes: bool) -> Any:
    """The model in vLLM's hands.

    Raises:
        UnsupportedModel: vLLM does not run this model here.
        CheckpointError: it cannot be loaded.
    """
    from vllm import LLM

    try:
        return LLM(
            model=job.path,
            skip_tokenizer_init=not _has_tokenizer(job),
            trust_remote_code=job.trusts_code,
            dtype=job.dtype,
            seed=0,
            gpu_memory_utilization=_memory_share(job.room.memory),
            max_model_len=job.room.tokens,
            max_num_batched_tokens=min(max(job.batch_tokens, _FEWEST), _BATCH),
            kv_cache_dtype=job.cache,
            max_logprobs=job.top,
            logprobs_mode="raw_logprobs",
            enable_prefix_caching=reads_prefixes,
            disable_log_stats=True,
        )
    except (BitlossError, MemoryError):
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        if "memory" in str(error).lower():
            raise CheckpointError(
                f"{job.name}: vLLM has not enough GPU memory: {reason}",
                hint="free some of the GPU's memory, or set --gpu-memory or a smaller --max-length",
            ) from error
        if lacks_kernels(error):
            raise UnsupportedModel(
                f"{job.name}: vLLM does not run this model here: {reason}",
                hint="use --engine packed, or --engine dense",
            ) from error
        raise CheckpointError(
            f"{job.name}: vLLM cannot load this model: {reason}",
            hint="fetch or make the files again, or use --engine dense, which says more about them",
        ) from error


def _memory_share(asked: float | None) -> float:
    import torch

    if asked is not None or not torch.cuda.is_available():
        return asked or _MOST
    free, total = torch.cuda.mem_get_info()
    return min(_MOST, _FREE * free / total)


def _has_tokenizer(job: Job) -> bool:
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
    return any(Path(job.path, name).is_file() for name in names)


def _groups(sizes: Sequence[int], most: int, count: int) -> Iterator[list[int]]:
    """Indices of neighbors that together have about so much, and are so many."""
    ends = np.cumsum(sizes)
    group: list[int] = []
    start = 0
    for index, end in enumerate(ends):
        group.append(index)
        if end - start >= most or len(group) == count:
            yield group
            group, start = [], int(end)
    if group:
        yield group
