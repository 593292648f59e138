"""Attention in the way that is fastest for a device and a type.

Without AMX, torch's flash kernel takes 30 ms for 2 x 14 heads of 1,024 tokens in bf16 and 17 ms in
float32 (an EPYC with AVX512-BF16; benchmarks/throughput.py shows the sum). The result is rounded to
bf16 once instead of at every step, so the noise floor falls a little too.

On a card in float32, key heads that several heads share are repeated before the kernel: told to
share them, torch takes the one that holds all products, and three times as long
(github.com/pytorch/pytorch/issues/181528).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from bitloss.engines.dense.precision import Precision, has_amx, storage_dtype
from bitloss.engines.devices import is_cuda

__all__ = ["repeated_attention", "suit_attention"]

_WIDE, _REPEATED = "bitloss_float32_sdpa", "bitloss_repeated_sdpa"


def suit_attention(model: Any, precision: Precision, device: str) -> None:
    """Let a transformers model take its attention as it is fastest.

    Models that do not go through torch's scaled-dot-product attention are left as they are.
    """
    if model.config._attn_implementation != "sdpa":
        return
    if is_cuda(device) and storage_dtype(precision) == torch.float32:
        _use(model, _REPEATED, repeated_attention)
    elif precision == "bf16" and device.startswith("cpu") and not has_amx():
        _use(model, _WIDE, _float32_attention)


def _use(model: Any, name: str, attention: Any) -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    # A name in transformers' own tables; registering it again changes nothing.
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    model.config._attn_implementation = name


def repeated_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention over torch's kernel, with as many key heads as there are heads."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    shared = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
    # Of the module, it asks how many heads share keys, and whether tokens see later ones.
    alone: Any = SimpleNamespace(is_causal=getattr(module, "is_causal", True))
    output, _ = sdpa_attention_forward(alone, query, key, value, attention_mask, **options)
    return output, None


def _float32_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    output, _ = sdpa_attention_forward(
        module, query.float(), key.float(), value.float(), attention_mask, **options
    )
    return output.to(query.dtype), None
