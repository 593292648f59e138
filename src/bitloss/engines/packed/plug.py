"""Quantized files run by the kernels of the library that loads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType

import torch

from bitloss.engines.base import Engine, LogitsModel
from bitloss.engines.child.logits import ChildLogits
from bitloss.engines.child.process import Start
from bitloss.engines.child.writer import ChildWriter
from bitloss.engines.dense.precision import as_precision
from bitloss.engines.packed.cost import TIMING, estimate
from bitloss.engines.packed.loading import require_runnable
from bitloss.engines.packed.methods import KERNELS, PACKAGES
from bitloss.engines.values import Candidate, TextSetup
from bitloss.types import ExactTokenizer, Window

__all__ = ["ENGINE"]

_ENVIRONMENT = MappingProxyType(
    {
        "GPTQMODEL_CPU_WORKERS": "2",  # it refuses to work with one
        "TORCHDYNAMO_DISABLE": "1",  # else kernels in Python are compiled at first use
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "DEBUG": "0",
    }
)


class _Moved:
    """Logits of a child, on the reference's device."""

    def __init__(self, model: ChildLogits, device: str) -> None:
        self._model, self._device = model, device
        self.vocabulary = model.vocabulary

    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        """See `LogitsModel.logits`."""
        for block in self._model.logits(window):
            yield block.to(self._device)


def _logits(candidate: Candidate, *, batch_tokens: int) -> LogitsModel:
    del batch_tokens  # one window is read at a time
    model = ChildLogits(_start(candidate, "load_logits"))
    on_cpu = torch.device(candidate.device).type == "cpu"
    return model if on_cpu else _Moved(model, candidate.device)


def _text_model(candidate: Candidate, setup: TextSetup) -> ChildWriter:
    return ChildWriter(_start(candidate, "load_texts", setup=setup))


def _check(
    candidate: Candidate, tokenizer: ExactTokenizer, passages: Sequence[str]
) -> tuple[str, ...]:
    del tokenizer, passages  # a directory has one tokenizer, which the formats read
    require_runnable(candidate)
    return ()


def _start(candidate: Candidate, function: str, **values: object) -> Start:
    return Start(
        f"bitloss.engines.packed.model:{function}",
        {"job": require_runnable(candidate), **values},
        name=candidate.model.name,
        runtime="the process of its packed kernels",
        env=_ENVIRONMENT,
    )


def _arithmetic(asked: str, *, device: str, parameters: int, tokens: int) -> str:
    """16 bits, as the kernels are used; float32 only where it is named."""
    del device, parameters, tokens
    return "fp32" if asked != "auto" and as_precision(asked) == "fp32" else "bf16"


def _accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


ENGINE = Engine(
    name="packed",
    version="packed-1",
    packages=PACKAGES,
    settings=MappingProxyType(
        {
            "kernels": {method: dict(kinds) for method, kinds in KERNELS.items()},
            "threads": torch.get_num_threads(),
            "accelerator": _accelerator(),  # decides which kernel `auto` is
        }
    ),
    logits=_logits,
    text_model=_text_model,
    arithmetic=_arithmetic,
    cost=estimate,
    timing=TIMING,
    check=_check,
)
