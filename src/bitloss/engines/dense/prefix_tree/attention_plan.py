"""What a packed forward asks of whoever says what its tokens attend to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

__all__ = ["AttentionPlan", "PlanPerDevice", "plan_per_device"]


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


_Plan = TypeVar("_Plan", bound=AttentionPlan)


@dataclass(frozen=True, slots=True)
class PlanPerDevice:
    """Plans of the same forward whose tensors are on different devices; an `AttentionPlan` of
    layers on all of them.
    """

    plans: Mapping[torch.device, AttentionPlan]

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
        """See `AttentionPlan`."""
        plan = self.plans[query.device]
        return plan.attend(layer, query, key, value, scale=scale, soft_cap=soft_cap, window=window)


def plan_per_device(
    devices: Sequence[torch.device], make: Callable[[torch.device], _Plan]
) -> tuple[AttentionPlan, list[_Plan]]:
    """A plan for layers on these devices, and the plans that it is made of."""
    plans = {device: make(device) for device in devices}
    if len(plans) == 1:
        (plan,) = plans.values()
        return plan, [plan]
    return PlanPerDevice(plans), list(plans.values())
