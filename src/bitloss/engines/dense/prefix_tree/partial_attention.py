"""Attention to one part of the keys at a time, put together by the parts' normalizers.

A softmax over all keys is the average of softmaxes over parts of them, weighted by each part's sum
of exponentials. So queries of many sequences can attend to a prefix that they share in one dense
product, and to their own tokens separately (Juravsky et al., 2024, arXiv:2402.05099).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bitloss.engines.dense.precision import many_small_products
from bitloss.engines.devices import is_cuda

__all__ = ["attend", "merge"]

# Products held at a time where no kernel avoids it: 128 MB in float32.
_PRODUCTS = 1 << 25


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float,
    causal: bool = False,
    mask: torch.Tensor | None = None,
    soft_cap: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention to one part of the keys.

    Args:
        query: shape ``[batch, heads, queries, dim]``.
        key: shape ``[batch, key heads, keys, dim]``; heads are a multiple of key heads, and
            neighbouring heads share one.
        value: as `key`.
        scale: of the products.
        causal: query i sees the keys 0 to i only (as many keys as queries).
        mask: added to the products, broadcast to ``[batch, heads, queries, keys]``; -inf hides.
            What a query gets that sees no key at all is undefined.
        soft_cap: products become ``soft_cap * tanh(product / soft_cap)`` (Gemma 2).

    Returns:
        The output, shape ``[batch, heads, queries, dim]``, and the log of the sum of exponentials,
        shape ``[batch, heads, queries]``.
    """
    batch, heads, queries, dim = query.shape
    shared = heads // key.shape[1]
    if shared > 1 and not causal and mask is None:
        # Without a mask it is all the same which head a query belongs to: no key is copied.
        folded = query.reshape(batch, key.shape[1], shared * queries, dim)
        out, log_sum = _kernel(folded, key, value, scale, False, None, soft_cap)
        return out.reshape(batch, heads, queries, -1), log_sum.reshape(batch, heads, queries)
    if shared > 1:
        if batch == 1 and (mask is None or mask.dim() == 2 or mask.shape[1] == 1):
            # Key heads as the batch, so that their queries' heads read the same keys; kernels do so
            # uncopied, `_plain` makes float32 of them.
            query = query[0].reshape(-1, shared, queries, dim)
            key, value = (p[0].unsqueeze(1).expand(-1, shared, -1, -1) for p in (key, value))
            out, log_sum = _kernel(query, key, value, scale, causal, mask, soft_cap)
            return out.flatten(0, 1).unsqueeze(0), log_sum.flatten(0, 1).unsqueeze(0)
        key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
    return _kernel(query, key, value, scale, causal, mask, soft_cap)


def merge(
    parts: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put together what `attend` gave for several parts of the keys; same shapes."""
    if len(parts) == 1:
        return parts[0]
    logs = torch.stack([log_sum for _, log_sum in parts])
    total = torch.logsumexp(logs, dim=0)
    weights = torch.exp(logs - total).unsqueeze(-1)
    merged = torch.zeros_like(parts[0][0])
    for weight, (out, _) in zip(weights, parts, strict=True):
        merged += weight.to(out.dtype) * out
    return merged, total


def _kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    causal: bool,
    mask: torch.Tensor | None,
    soft_cap: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    if soft_cap is None and query.device.type == "cpu":
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        if mask is not None:
            mask = mask.to(query.dtype)
        with many_small_products():
            out, log_sum = flash(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
        return out, log_sum
    if soft_cap is None and mask is None and _has_flash(query, value):
        out, log_sum, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            query, key, value, 0.0, causal, False, scale=scale
        )
        return out, log_sum
    rows = max(1, _PRODUCTS // (query.shape[0] * query.shape[1] * key.shape[2]))
    parts = [
        _plain(query, key, value, scale, range(at, min(at + rows, query.shape[2])), causal, mask,
               soft_cap)
        for at in range(0, query.shape[2], rows)
    ]  # fmt: skip
    return torch.cat([out for out, _ in parts], 2), torch.cat([log for _, log in parts], 2)


def _has_flash(query: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether CUDA's flash kernel takes it, which keeps products in float32 and returns their sums;
    it takes 16 bits and heads of a multiple of 8 up to 256.
    """
    dim = query.shape[-1]
    return (
        is_cuda(query.device)
        and query.dtype in (torch.bfloat16, torch.float16)
        and value.shape[-1] == dim
        and dim % 8 == 0
        and dim <= 256
        and torch.cuda.get_device_properties(query.device).major >= 8
    )


def _plain(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    rows: range,
    causal: bool,
    mask: torch.Tensor | None,
    soft_cap: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition, for some of the queries; in float32, since a product that is rounded to bf16
    before its softmax errs six times as much as the kernels do.
    """
    own = query[:, :, rows.start : rows.stop].float()
    products = own @ key.float().transpose(-1, -2) * scale
    if soft_cap is not None:
        products = torch.tanh(products / soft_cap) * soft_cap
    if causal:
        hidden = torch.ones(products.shape[-2:], dtype=torch.bool, device=query.device)
        products = products.masked_fill(hidden.triu(1 + rows.start), -torch.inf)
    if mask is not None:
        products = products + (mask[..., rows.start : rows.stop, :] if mask.shape[-2] > 1 else mask)
    log_sum = products.logsumexp(dim=-1)
    weights = torch.exp(products - log_sum.unsqueeze(-1)).to(value.dtype)
    return weights @ value, log_sum
