"""Models run by vLLM on a GPU, offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.base import Engine
from bitloss.engines.child.likely import ChildLikely
from bitloss.engines.child.process import Start
from bitloss.engines.child.writer import ChildWriter
from bitloss.engines.top_k import (
    ROUNDING,
    TOP_K_COLUMNS,
    TopK,
    as_top_k,
    in_order,
    require_text,
)
from bitloss.engines.values import Candidate, Room, Setup, TextSetup
from bitloss.engines.vllm.worker import Job
from bitloss.errors import MissingDependency, NumericalError, UnsupportedModel
from bitloss.formats.base import context_length
from bitloss.formats.gguf.files import find_file
from bitloss.formats.storage.directory import quant_method
from bitloss.spec.serving import Serving
from bitloss.types import ExactTokenizer, Window

__all__ = ["ENGINE", "VllmScores"]

# Likely tokens per position. vLLM makes a Python object of each, and they are most of what scoring
# takes beyond reading; all of a vocabulary of 150,000 would take a second per ten tokens.
TOP = 100
_METHODS = (
    "auto-round", "awq", "bitsandbytes", "compressed-tensors", "compressed_tensors", "fp8", "gptq",
    "modelopt", "mxfp4", "torchao",
)  # fmt: skip
# By the name that a run has for a type of cached keys and values, vLLM's. Its scales are 1.
_CACHES = MappingProxyType({"": "auto", "bf16": "bfloat16", "fp8": "fp8_e4m3"})
_DTYPES = MappingProxyType({"bf16": "bfloat16", "fp32": "float32"})
_ENVIRONMENT = MappingProxyType(
    {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        # Its engine in the child itself: what is scheduled with what does not depend on timing.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
)
_HINT = "use --engine packed, or --engine dense"


class VllmScores:
    """Log-probabilities of windows; satisfies `bitloss.engines.top_k.TopKModel`.

    Args:
        child: runs the model.
        name: of the variant, for errors.
        vocabulary: number of tokens of the reference.
    """

    def __init__(self, child: ChildLikely, name: str, vocabulary: int) -> None:
        self._child = child
        self._name = name
        self._vocabulary = vocabulary

    def top_k(self, windows: Sequence[Window]) -> Iterator[TopK]:
        """See `TopKModel.top_k`.

        Raises:
            NumericalError: a log-probability that is none.
            Incomparable: probabilities that are not of one distribution.
        """
        ready: dict[int, TopK] = {}
        given = 0
        for index, positions in self._child.likely(windows):
            ready[index] = self._read(positions)
            while given in ready:
                yield ready.pop(given)
                given += 1

    def require_right(self, window: Window, reference_nll: NDArray[np.float32]) -> None:
        """See `TopKModel.require_right`."""
        require_text(
            self.top_k, window, reference_nll, name=self._name, vocabulary=self._vocabulary
        )

    def _read(self, positions: Sequence[Any]) -> TopK:
        for own, likely in positions:
            for value in (own, *(q for _, q in likely)):
                if not value <= ROUNDING:  # NaN, too
                    raise NumericalError(
                        f"{self._name}: expected a log-probability of at most 0, got {value}",
                        hint="check the file with --engine dense",
                    )
        nll = np.array([-own for own, _ in positions], dtype=np.float64)
        rows = [in_order([(int(n), q) for n, q in likely], self._name) for _, likely in positions]
        return as_top_k(nll, rows)


def _top_k(candidate: Candidate, setup: Setup) -> VllmScores:
    start = _start(candidate, "load_scores", setup.room, setup.batch_tokens)
    vocabulary = candidate.model.identity.vocabulary
    return VllmScores(ChildLikely(start), candidate.model.name, vocabulary)


def _text_model(candidate: Candidate, setup: TextSetup) -> ChildWriter:
    context = context_length(setup.config)
    return ChildWriter(
        _start(
            candidate, "load_texts", setup.room, setup.batch_tokens, setup=setup, context=context
        )
    )


def _start(
    candidate: Candidate, function: str, room: Room, batch_tokens: int, **values: object
) -> Start:
    job = _job(candidate, room, batch_tokens)
    return Start(
        f"bitloss.engines.vllm.worker:{function}",
        {"job": job, **values},
        name=candidate.model.name,
        runtime="vLLM",
        env=_ENVIRONMENT,
        hint=_HINT,
    )


def _needs() -> None:
    if find_spec("vllm") is None:
        raise MissingDependency("vllm", "engine `vllm`", extra="vllm")


def _check(
    candidate: Candidate, tokenizer: ExactTokenizer, passages: Sequence[str]
) -> tuple[str, ...]:
    del tokenizer, passages  # it is given tokens, and has no tokenizer
    _job(candidate, Room(), 1)
    return ()


def _job(candidate: Candidate, room: Room, batch_tokens: int) -> Job:
    """What the child loads, where all that can be known without loading allows it.

    Raises:
        MissingDependency: vLLM is not installed.
        UnsupportedModel: no GPU, or a model or a type of cache that vLLM does not run.
    """
    model, name = candidate.model, candidate.model.name
    _needs()
    if candidate.alone:
        raise UnsupportedModel(
            "vLLM returns only the likeliest tokens, which give no noise floor",
            hint="use --engine dense or packed for a noise floor",
        )
    _require_gpu(candidate)
    if candidate.arithmetic not in _DTYPES:
        raise UnsupportedModel(
            f"{name}: engine `vllm` computes in bf16 or fp32, got `{candidate.arithmetic}`",
            hint="use --dtype auto",
        )
    path = model.path
    if path is None or find_file(path) is not None or not (path / "config.json").is_file():
        got = "a model without files" if path is None else "a GGUF file or no config.json"
        raise UnsupportedModel(
            f"{name}: engine `vllm` expected a model directory, got {got}",
            hint="use --engine llama.cpp for GGUF files, or server=URL for a served model",
        )
    method = quant_method(path)
    if method is not None and method not in _METHODS:
        known = ", ".join(known for known in _METHODS if "_" not in known)
        raise UnsupportedModel(
            f"{name}: engine `vllm` expected a model of {known}, or an unquantized one, got "
            f"`{method}`",
            hint="use --engine dense",
        )
    return Job(
        name=name,
        path=str(path.resolve()),
        vocabulary=model.identity.vocabulary,
        dtype=_DTYPES[candidate.arithmetic],
        cache=_cache_type(candidate.serving, name),
        trusts_code=model.code is not None,
        top=TOP,
        batch_tokens=batch_tokens,
        room=room,
    )


def _require_gpu(candidate: Candidate) -> None:
    kind, _, index = candidate.device.partition(":")
    if kind != "cuda" or index not in ("", "0") or not gpu_is_there():
        got = f"`{candidate.device}`" + ", and found none" * (kind == "cuda" and index in ("", "0"))
        raise UnsupportedModel(
            f"{candidate.model.name}: engine `vllm` runs on the first GPU, got device {got}",
            hint="use --device cuda on a machine with a GPU (CUDA_VISIBLE_DEVICES chooses one), or "
            "--engine packed",
        )


def gpu_is_there() -> bool:
    """Whether there is a device for vLLM."""
    return torch.cuda.is_available()


def _cache_type(serving: Serving, name: str) -> str:
    if serving.activations or serving.keys != serving.values or serving.keys not in _CACHES:
        known = ", ".join(filter(None, _CACHES))
        raise UnsupportedModel(
            f"{name}: vLLM has one type for keys and values, of {known}, got {serving.label}",
            hint="choose another --cache-type, or --engine dense",
        )
    return _CACHES[serving.keys]


def _arithmetic(asked: str, *, device: str, parameters: int, tokens: int) -> str:
    """16 bits, as models are served; float32 only where it is named."""
    del device, parameters, tokens
    return "fp32" if asked == "fp32" else "bf16"


def _accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


ENGINE = Engine(
    name="vllm",
    version="vllm-1",
    packages=("vllm", "torch"),
    settings=MappingProxyType({"top": TOP, "mode": "raw_logprobs", "accelerator": _accelerator()}),
    columns=frozenset(TOP_K_COLUMNS),
    top_k=_top_k,
    text_model=_text_model,
    arithmetic=_arithmetic,
    timing="times of vLLM are not known",
    needs=_needs,
    check=_check,
    offers=frozenset({"keys", "values"}),
    lacks=("no log-probabilities of other tokens than the likely ones",),
)
