"""GGUF files run by llama.cpp itself, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from types import MappingProxyType

import torch

from bitloss.engines.base import Engine
from bitloss.engines.child.logits import ChildLogits
from bitloss.engines.child.process import Child, Died, Start
from bitloss.engines.child.texts import ChildTexts
from bitloss.engines.llamacpp.cost import TIMING, estimate
from bitloss.engines.llamacpp.files import found_file, gguf_file, written_file
from bitloss.engines.llamacpp.settings import OWN_CACHE, Settings, cache_settings
from bitloss.engines.tokens_read import differences, texts_to_try
from bitloss.engines.values import Candidate, TextSetup
from bitloss.errors import MissingDependency, UnsupportedModel
from bitloss.formats.base import context_length
from bitloss.types import ExactTokenizer

__all__ = ["ENGINE"]

# Tokens in one forward at most, llama.cpp's own default. It bounds the buffer of logits, too:
# 512 x 151,936 of Qwen2 are 311 MB.
_CHUNK = 512
_ENVIRONMENT = MappingProxyType(
    {
        # Threads that wait for work otherwise keep the cores from anything else that runs.
        "OMP_WAIT_POLICY": "passive",
        # No debugger is started in a process that aborts.
        "GGML_NO_BACKTRACE": "1",
    }
)
_SIGNAL_HINTS = MappingProxyType(
    {
        "SIGILL": "run `bitloss doctor`, which prints the command that builds llama-cpp-python for "
        "this processor",
        "SIGABRT": "use --engine dense for this model: llama.cpp refuses what it computes",
    }
)


def _logits(candidate: Candidate, *, batch_tokens: int) -> ChildLogits:
    return ChildLogits(_start(candidate, batch_tokens))


def _text_model(candidate: Candidate, setup: TextSetup) -> ChildTexts:
    start = _start(candidate, setup.batch_tokens)
    return ChildTexts(start, setup, context_length(setup.config))


def _check(
    candidate: Candidate, tokenizer: ExactTokenizer, passages: Sequence[str]
) -> tuple[str, ...]:
    """Have llama.cpp read what describes a file's model: an architecture that it does not know is
    refused by it alone, and may end its process. It reads texts, too, as it would serve them.
    """
    _require_runnable(candidate)
    file = found_file(candidate)
    if file is None:
        return ()
    name = candidate.model.name
    texts = (*texts_to_try(tokenizer), *passages)
    values = {"path": str(file), "name": name, "texts": texts}
    start = Start(
        "bitloss.engines.llamacpp.model:describe",
        values,
        name=name,
        runtime="llama.cpp",
        env=_ENVIRONMENT,
        signal_hints=_SIGNAL_HINTS,
    )
    try:
        child = Child(start)
        child.end()
    except Died as death:
        raise death.error from death
    note = differences(tokenizer, texts, child.facts["read"], "llama.cpp")
    return (note,) if note else ()


def _needs() -> None:
    if find_spec("llama_cpp") is None:
        raise MissingDependency("llama-cpp-python", "engine `llama.cpp`", extra="gguf")


def _require_runnable(candidate: Candidate) -> tuple[str, str, bool]:
    """Types of cached keys and values, and whether they need flash attention.

    Raises:
        UnsupportedModel: another device, or a type of cache that llama.cpp does not have.
    """
    _needs()
    if torch.device(candidate.device).type != "cpu":
        raise UnsupportedModel(
            f"{candidate.model.name}: engine `llama.cpp` runs on the CPU, got device "
            f"`{candidate.device}`",
            hint="use --device cpu, or --engine dense",
        )
    return cache_settings(candidate.serving, candidate.model.name)


def _start(candidate: Candidate, batch_tokens: int) -> Start:
    name = candidate.model.name
    keys, values, flash_attention = _require_runnable(candidate)
    settings = Settings(
        keys,
        values,
        flash_attention,
        torch.get_num_threads(),
        min(batch_tokens, _CHUNK),
        candidate.nudged,
    )
    return Start(
        "bitloss.engines.llamacpp.model:load",
        {"path": str(gguf_file(candidate)), "name": name, "settings": settings},
        name=name,
        runtime="llama.cpp",
        env=_ENVIRONMENT,
        signal_hints=_SIGNAL_HINTS,
    )


ENGINE = Engine(
    name="llama.cpp",
    version="llama.cpp-1",
    packages=("llama-cpp-python",),
    settings=MappingProxyType(
        {"chunk": _CHUNK, "cache": OWN_CACHE, "flash_attention": "for quantized values"}
    ),
    logits=_logits,
    text_model=_text_model,
    cost=estimate,
    timing=TIMING,
    needs=_needs,
    check=_check,
    offers=frozenset({"keys", "values"}),
    nudges=True,
    written_file=written_file,
)
