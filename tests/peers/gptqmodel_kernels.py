"""GPTQModel's packers and torch kernels, as oracles; the package prints and warns on import."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from peers.exact import multiplied_out

__all__ = ["awq_gemv_parts", "awq_pair", "exl3_weight", "gptq_layer"]

_KEYS = ("qweight", "qzeros", "scales", "g_idx")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        # What it compiles gives the same numbers, some seconds later.
        eager = torch.compiler.set_stance("force_eager")
        with eager, contextlib.redirect_stderr(io.StringIO()):
            yield


@functools.cache
def _package() -> SimpleNamespace:
    # Only while it is imported: left behind, the variables would be those of every later process.
    variables = {"GPTQMODEL_CPU_WORKERS": "2", **os.environ}
    with _quiet(), mock.patch.dict(os.environ, variables):
        from gptqmodel.nn_modules import exllamav3_torch
        from gptqmodel.nn_modules.qlinear.gemv_awq import AwqGEMVLinear
        from gptqmodel.nn_modules.qlinear.gemv_fast_awq import AwqGEMVFastLinear, LLMAwqLinear
        from gptqmodel.nn_modules.qlinear.torch import TorchLinear
        from gptqmodel.quantization import FORMAT
        from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm, pack_awq
        from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module
    return SimpleNamespace(
        linear=TorchLinear, to_v1=convert_gptq_v2_to_v1_format_module,
        pack_awq=pack_awq, dequantize_gemm=dequantize_gemm, formats=FORMAT, exl3=exllamav3_torch,
        gemv={"gemv": AwqGEMVLinear, "gemv_fast": AwqGEMVFastLinear, "llm-awq": LLMAwqLinear},
    )  # fmt: skip


def gptq_layer(
    module: torch.nn.Module,
    groups: torch.Tensor,
    *,
    bits: int,
    group_size: int,
    symmetric: bool = True,
    v1: bool = True,
    planar: bool = False,
    seed: int = 0,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Pack a module with random scales and zero points, and dequantize it again.

    Args:
        module: a linear layer, Conv1D or embedding.
        groups: the group of each input, shape ``[in]``.
        bits: of a code.
        group_size: -1 is one group a row.
        symmetric: zero points in the middle; else anywhere, 0 included.
        v1: store zero points less one.
        planar: in format ``gptq_p``.
        seed: of scales and zero points.

    Returns:
        The stored tensors by name, and the exact weight ``[in, out]``, of which the kernel's is
        known to be the rounding.
    """
    package = _package()
    inputs, outputs = len(groups), module.weight.numel() // len(groups)
    generator = torch.Generator().manual_seed(seed)
    shape = (outputs, int(groups.max()) + 1)
    scales = torch.rand(shape, generator=generator) * 0.01 + 0.001
    zeros = torch.full(shape, 2.0 ** (bits - 1))
    if not symmetric:
        zeros = torch.randint(0, 2**bits, shape, generator=generator).float()
    with _quiet():
        kernel: Any = package.linear(
            bits=bits, group_size=group_size, sym=symmetric, desc_act=False, in_features=inputs,
            out_features=outputs, bias=getattr(module, "bias", None) is not None,
            pack_dtype=torch.int32, register_buffers=True,
            format=package.formats.GPTQ_P if planar else package.formats.GPTQ_V2,
        )  # fmt: skip
        kernel.pack_original(module, scales, zeros, groups.to(torch.int32))
        kernel.post_init()
        dense = kernel.dequantize_weight().detach().clone()
        if v1:
            package.to_v1(kernel, SimpleNamespace(bits=bits, pack_dtype=torch.int32))
    tensors = {key: getattr(kernel, key).detach().clone() for key in _KEYS}
    return tensors, multiplied_out(dense, tensors["scales"][groups])


def awq_pair(
    shape: tuple[int, int], *, bits: int, group_size: int, dtype: torch.dtype, seed: int = 0
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Random codes, zero points and scales for ``(in, out)``, packed; and the exact weight.

    The kernel's weight is known to be its rounding.
    """
    package = _package()
    generator = torch.Generator().manual_seed(seed)
    groups = (shape[0] // group_size, shape[1])
    codes = torch.randint(0, 2**bits, shape, generator=generator, dtype=torch.int32)
    zeros = torch.randint(0, 2**bits, groups, generator=generator, dtype=torch.int32)
    scales = (torch.rand(groups, generator=generator) * 0.01).to(dtype)
    qweight, qzeros = package.pack_awq(codes, zeros, bits)
    dense = package.dequantize_gemm(qweight, qzeros, scales, bits, group_size)
    spread = [table.repeat_interleave(group_size, 0).double() for table in (zeros, scales)]
    exact = (codes - spread[0]) * spread[1]
    assert torch.equal(exact.to(dtype), dense)
    return {"qweight": qweight, "qzeros": qzeros, "scales": scales}, exact.float()


def exl3_weight(
    tensors: dict[str, torch.Tensor], x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The torch kernel of EXL3: its forward of `x`, and its weight with a table rounded to fp16.

    Args:
        tensors: of a module by part (``trellis``, ``suh`` ...).
        x: shape ``[rows, in]``.

    Returns:
        ``[rows, out]`` and ``[out, in]``.
    """
    package = _package().exl3
    inputs, outputs = (16 * size for size in tensors["trellis"].shape[:2])
    make = functools.partial(
        package.ExllamaV3TorchLinear.from_tensors,
        in_features=inputs, out_features=outputs, name="module", tensors=tensors,
    )  # fmt: skip
    forward = make()(x)
    table = package._codebook_lut
    try:
        package._codebook_lut = lambda *arguments: table(*arguments).half().float()
        weight = make().get_weight_tensor().T
    finally:
        package._codebook_lut = table
    return forward, weight


def awq_gemv_parts(
    layout: str, codes: torch.Tensor, zeros: torch.Tensor, scales: torch.Tensor, group_size: int
) -> dict[str, torch.Tensor]:
    """Pack a layer in a layout for single tokens.

    Args:
        layout: ``gemv``, ``gemv_fast`` or ``llm-awq``.
        codes: integers, shape ``[out, in]``.
        zeros: integers, shape ``[out, groups]``.
        scales: float16, shape ``[out, groups]``.
        group_size: inputs that share a scale.
    """
    outputs, inputs = codes.shape
    spread = [table.float().repeat_interleave(group_size, 1) for table in (zeros, scales)]
    linear = torch.nn.Linear(inputs, outputs, bias=False)
    linear.weight.data = (codes - spread[0]) * spread[1]
    with _quiet():
        kernel: Any = _package().gemv[layout](
            bits=4, group_size=group_size, sym=False, desc_act=False, in_features=inputs,
            out_features=outputs, pack_dtype=torch.int32 if layout == "gemv" else torch.int16,
        )  # fmt: skip
        kernel.pack(linear, scales.float(), zeros.float())
    return {name: tensor.detach().clone() for name, tensor in kernel.named_buffers()}
