"""Tiny models rounded to nearest and packed in the layouts that libraries have kernels for.

Packed the slow, obvious way, beside a float32 model with the weights that the files mean.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.packed.loading import require_runnable
from bitloss.engines.packed.model import PackedLogits, PackedTexts, load_logits, load_texts
from bitloss.engines.packed.plug import ENGINE
from bitloss.engines.values import Candidate, Model, TextSetup
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.types import Window
from peers.checkpoints import write_model
from peers.packing import pack_columns, pack_rows
from peers.tiny import VOCABULARY, save_tiny

__all__ = [
    "IN_PROCESS", "LAYOUTS", "Make", "candidate", "logits_of", "maker", "save_packed",
    "some_window",
]  # fmt: skip

Make = Callable[..., tuple[Path, Any]]

_NEEDS = {
    "gptq-8": "gptqmodel", "gptq-4": "gptqmodel", "awq-4": "gptqmodel",
    "w4a16": "compressed_tensors", "w8a16": "compressed_tensors", "w8a8": "compressed_tensors",
}  # fmt: skip
_GROUP = 32
# Columns in the nibbles of a word, lowest first.
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_Part = dict[str, torch.Tensor]
_Pack = Callable[[torch.Tensor], tuple[_Part, torch.Tensor]]


def maker(folder: Path) -> Make:
    """A function ``(layout, noise)`` that makes each model once; see `save_packed`.

    It skips the test where the library that runs the layout is absent.
    """

    @cache
    def made(layout: str, noise: float = 0.0) -> tuple[Path, Any]:
        need = _NEEDS.get(layout)
        if need is not None and find_spec(need) is None:
            pytest.skip(f"{need} is not installed")
        path = folder / f"{layout}-{noise}"
        return path, save_packed(path, layout, noise=noise)

    return made


def candidate(
    path: Path, arithmetic: str = "fp32", engine: str = "packed", **options: Any
) -> Candidate:
    """A directory as an engine gets it."""
    checkpoint = open_checkpoint(path)
    model = Model(path.name, identify(checkpoint), checkpoint, path)
    return Candidate(model, engine, arithmetic, **options)


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """GPTQModel sets variables, handlers and filters; what it does is for a process of its own."""
    root = logging.getLogger()
    variables, handlers, level = dict(os.environ), list(root.handlers), root.level
    disabled = root.manager.disable
    os.environ.update(GPTQMODEL_CPU_WORKERS="2", TORCHDYNAMO_DISABLE="1")
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
        os.environ.clear()
        os.environ.update(variables)


def _logits(own: Candidate, *, batch_tokens: int) -> PackedLogits:
    job = require_runnable(own)
    with _contained():
        return load_logits(job)


def _text_model(own: Candidate, setup: TextSetup) -> PackedTexts:
    job = require_runnable(own)
    with _contained():
        return load_texts(job, setup)


IN_PROCESS = replace(ENGINE, logits=_logits, text_model=_text_model)
"""The engine without a child, whose start takes seconds."""


def some_window(size: int = 40) -> Window:
    """Random tokens, all but the first of them scored."""
    ids = np.random.default_rng(5).integers(2, VOCABULARY, size).astype(np.int32)
    return Window(ids, 1)


def logits_of(own: Candidate, window: Window) -> torch.Tensor:
    """What the packed engine gives for a window."""
    return torch.cat(list(_logits(own, batch_tokens=64).logits(window)))


def save_packed(folder: Path, layout: str, *, noise: float = 0.0, seed: int = 3) -> Any:
    """Save a tiny Llama with every linear layer but the head packed.

    Args:
        folder: to write.
        layout: a name in `LAYOUTS`, or ``dense``.
        noise: standard deviation of what is added to all weights before, NaN to break the model.
        seed: of the noise.

    Returns:
        transformers' model in float32 with the weights that the files mean.
    """
    model = save_tiny(folder, "llama")
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += noise * torch.randn_like(weight) if noise else 0.0
            weight.copy_(weight.half().float())  # what 16 bits keep
    if layout == "dense":
        model.save_pretrained(folder)
        return model
    pack, quantization = LAYOUTS[layout]
    tensors: _Part = {}
    for name, weight in model.state_dict().items():
        module = name.removesuffix(".weight")
        if not module.endswith("_proj"):
            tensors[name] = weight.half()
            continue
        parts, dense = pack(weight)
        tensors |= {f"{module}.{part}": value.contiguous() for part, value in parts.items()}
        model.get_submodule(module).weight.data = dense
    config = {key: value for key, value in model.config.to_dict().items() if key != "dtype"}
    write_model(folder, tensors, quantization, **config, dtype="float16")
    return model


def _rounded(weight: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes ``[out, in]``, and scales and zero points ``[out, groups]``, float16 and integer."""
    groups = weight.reshape(weight.shape[0], -1, _GROUP)
    low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
    scales = ((high - low) / (2**bits - 1)).half()
    zeros = (-low / scales.float()).round().nan_to_num().clamp(1, 2**bits - 1)
    codes = (groups / scales.float()[..., None] + zeros[..., None]).round().nan_to_num()
    return codes.clamp(0, 2**bits - 1).reshape(weight.shape).int(), scales, zeros.int()


def _meant(codes: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor) -> torch.Tensor:
    wide = [part.float().repeat_interleave(_GROUP, 1) for part in (scales, zeros)]
    return (codes - wide[1]) * wide[0]


def _gptq(weight: torch.Tensor, bits: int) -> tuple[_Part, torch.Tensor]:
    codes, scales, zeros = _rounded(weight, bits)
    parts = {
        "qweight": pack_columns(codes.t(), bits),
        "qzeros": pack_rows((zeros.t() - 1).tolist(), bits),
        "scales": scales.t(),
        "g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // _GROUP,
    }
    return parts, _meant(codes, scales, zeros)


def _awq(weight: torch.Tensor) -> tuple[_Part, torch.Tensor]:
    codes, scales, zeros = _rounded(weight, 4)
    order = torch.tensor(_AWQ_ORDER).repeat(weight.shape[0] // 8)
    order += torch.arange(weight.shape[0]) // 8 * 8
    parts = {
        "qweight": pack_rows(codes.t()[:, order].tolist(), 4),
        "qzeros": pack_rows(zeros.t()[:, order].tolist(), 4),
        "scales": scales.t(),
    }
    return parts, _meant(codes, scales, zeros)


def _compressed(weight: torch.Tensor, form: str, weights: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # imports of optional packages
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    arguments = QuantizationArgs(**weights)
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments, format=form)
    size = arguments.group_size or weight.shape[1]
    groups = weight.reshape(weight.shape[0], -1, size)
    scales = (groups.abs().amax(2) / (2 ** (arguments.num_bits - 1) - 1)).half()
    compressor = BaseCompressor.get_value_from_registry(form)
    state = {"weight": weight.half(), "weight_scale": scales}
    parts = compressor.compress(dict(state), scheme)
    exact = {**parts, "weight_scale": parts["weight_scale"].float()}
    return parts, compressor.decompress(exact, scheme)["weight"].float()


def _gptq_config(bits: int) -> dict[str, Any]:
    return {"quant_method": "gptq", "bits": bits, "group_size": _GROUP, "desc_act": False,
            "sym": True, "checkpoint_format": "gptq", "lm_head": False}  # fmt: skip


def _compressed_config(form: str, weights: Any, inputs: Any = None) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs,
             "format": form}  # fmt: skip
    return {"quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"],
            "quantization_status": "compressed", "config_groups": {"group_0": group}}  # fmt: skip


_INT4 = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": _GROUP}
_INT8 = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
_TOKEN = {**_INT8, "strategy": "token", "dynamic": True}

LAYOUTS: dict[str, tuple[_Pack, dict[str, Any]]] = {
    "gptq-8": (lambda weight: _gptq(weight, 8), _gptq_config(8)),
    "gptq-4": (lambda weight: _gptq(weight, 4), _gptq_config(4)),
    "awq-4": (_awq, {"quant_method": "awq", "bits": 4, "group_size": _GROUP, "zero_point": True,
                     "version": "gemm"}),
    "w4a16": (lambda weight: _compressed(weight, "pack-quantized", _INT4),
              _compressed_config("pack-quantized", _INT4)),
    "w8a16": (lambda weight: _compressed(weight, "int-quantized", _INT8),
              _compressed_config("int-quantized", _INT8)),
    "w8a8": (lambda weight: _compressed(weight, "int-quantized", _INT8),
             _compressed_config("int-quantized", _INT8, _TOKEN)),
}  # fmt: skip
"""Layouts by name: how a weight ``[out, in]`` is packed, and the model's quantization config."""
