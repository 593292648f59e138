"""Quantized files run by the kernels of the library that loads them."""

from __future__ import annotations

from types import MappingProxyType

import torch

from bitloss.engines.base import Engine
from bitloss.engines.dense.memory import return_freed_memory
from bitloss.engines.dense.precision import as_precision
from bitloss.engines.packed.loading import load
from bitloss.engines.packed.methods import KERNELS, PACKAGES
from bitloss.engines.packed.model import PackedLogits, PackedTextModel
from bitloss.engines.values import Candidate, TextSetup

__all__ = ["ENGINE"]


def _logits(candidate: Candidate, *, batch_tokens: int) -> PackedLogits:
    del batch_tokens  # one window is read at a time
    return PackedLogits(load(candidate), candidate)


def _text_model(candidate: Candidate, setup: TextSetup) -> PackedTextModel:
    return PackedTextModel(load(candidate), candidate, setup)


def _arithmetic(asked: str, *, device: str, parameters: int, tokens: int) -> str:
    """16 bits, as the kernels are used; float32 only where it is asked for by name."""
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
    release=return_freed_memory,
)
