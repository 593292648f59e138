"""What a packed forward asks of whoever says what its tokens attend to."""

from __future__ import annotations

from typing import Protocol

import torch

__all__ = ["AttentionPlan"]


class AttentionPlan(Protocol):
    """Says for the tokens of a packed forward what each attends to."""

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
        soft_cap: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attention of one layer.

        Args:
            layer: its index.
            query: of the tokens at hand, shape ``[heads, tokens, dim]``, rotated already.
            key: shape ``[key heads, tokens, dim]``; may be kept for later forwards.
            value: as `key`.
            scale: of the products.
            soft_cap: see `bitloss.engines.dense.partial_attention.attend`.
            window: a token sees itself and the ``window - 1`` tokens before it; None is all.

        Returns:
            Shape ``[heads, tokens, dim]``.
        """
