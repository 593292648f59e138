"""The experts of a layer a group at a time, and of them only those that some token is sent to.

transformers' experts are one module with stacked weights, called with states, the numbers of the
experts that each is sent to, and their shares. Its outputs are put together in the order of those
numbers. Here the calls of all of the text are noted first; then the module's own forward runs for
each group on the states that are sent there, in the order in which it would have taken them itself,
with shares of one; at last the outputs are put together as `grouped_mm_experts_forward` does
(transformers.integrations.moe). Every product has the shape that it has with all experts at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from bitloss.engines.dense.streaming.states import States, StatesRoom

__all__ = ["ExpertCalls", "expert_module"]

_KIND = "grouped_mm"


def expert_module(layer: Any) -> tuple[str, Any] | None:
    """The path and the module of a layer's experts, if they can be run a group at a time."""
    found = [
        (path, module)
        for path, module in layer.named_modules()
        if isinstance(getattr(module, "num_experts", None), int) and _is_known(module)
    ]
    return found[0] if len(found) == 1 else None


def _is_known(module: Any) -> bool:
    """Whether it is run by the function that this file is written after."""
    config = getattr(module, "config", None)
    return (
        getattr(config, "_experts_implementation", None) == _KIND
        and hasattr(module, "is_transposed")
        and not getattr(module, "_is_expert_parallel", True)
        and all("." not in name for name, _ in module.named_parameters())
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the experts.

    Attributes:
        experts: the number of each pair of token and expert, sorted, shape ``[pairs]``.
        order: which pair that was, shape ``[pairs]``.
        shares: of each token's experts, shape ``[tokens, experts of a token]``.
    """

    experts: torch.Tensor
    order: torch.Tensor
    shares: torch.Tensor


class ExpertCalls:
    """The calls of one layer's experts in one wave of text.

    Args:
        module: the experts, whose weights have no memory now.
        room: for what goes in and comes out.
    """

    def __init__(self, module: Any, room: StatesRoom) -> None:
        self._module = module
        self._room = room
        self._calls: list[_Call] = []
        self._inputs = States(room)
        self._outputs: list[States] = []
        self._at = 0

    def _note(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        experts, order = torch.sort(top_k_index.reshape(-1))
        self._calls.append(_Call(experts, order, top_k_weights))
        self._inputs.append(hidden_states)
        self._outputs.append(States(self._room))
        return torch.zeros_like(hidden_states)

    def wanted(self) -> list[int]:
        """The experts that some token is sent to, in ascending order."""
        if not self._calls:
            return []
        hit = torch.cat([torch.unique(call.experts) for call in self._calls])
        found: list[int] = torch.unique(hit).tolist()
        return found

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the module's calls, for the block; what they give is of the right shape only."""
        with _forward(self._module, self._note):
            yield

    @contextmanager
    def answered(self) -> Iterator[None]:
        """Let the module's calls, which come in the same order, give what they do, for the block;
        nothing is kept after it.
        """
        try:
            with _forward(self._module, self._finish):
                yield
        finally:
            self.clear()

    def run(self, group: Sequence[int], weights: Mapping[str, torch.Tensor]) -> None:
        """Let a group compute.

        Args:
            group: ascending, and after those of earlier groups.
            weights: of the group's experts, stacked, by the parameter's name.
        """
        before = {name: one.data for name, one in self._module.named_parameters()}
        experts = self._module.num_experts
        try:
            self._module.num_experts = len(group)
            for name, parameter in self._module.named_parameters():
                parameter.data = weights[name]
            self._run(group)
        finally:
            self._module.num_experts = experts
            for name, parameter in self._module.named_parameters():
                parameter.data = before[name]

    def _run(self, group: Sequence[int]) -> None:
        self._inputs.again()
        for call, outputs in zip(self._calls, self._outputs, strict=True):
            states = self._inputs.take(keep=True)
            first = int(torch.searchsorted(call.experts, group[0]))
            last = int(torch.searchsorted(call.experts, group[-1], right=True))
            if first == last:
                continue
            numbers = torch.tensor(group, device=call.experts.device)
            own = torch.searchsorted(numbers, call.experts[first:last]).unsqueeze(1)
            rows = states[call.order[first:last] // call.shares.shape[-1]]
            outputs.append(self._module.forward(rows, own, torch.ones_like(own, dtype=rows.dtype)))

    def _finish(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        call, outputs = self._calls[self._at], self._outputs[self._at]
        self._at += 1
        made = torch.cat([outputs.take() for _ in range(len(outputs))])
        weighted = made * call.shares.reshape(-1)[call.order].unsqueeze(-1)
        back = torch.empty_like(call.order)
        back[call.order] = torch.arange(len(call.order), device=back.device)
        total = weighted[back].view(*call.shares.shape, -1).sum(dim=1)
        return total.to(hidden_states.dtype)

    def clear(self) -> None:
        """Give back the room of what was noted."""
        for states in (self._inputs, *self._outputs):
            states.clear()


@contextmanager
def _forward(module: Any, forward: Callable[..., torch.Tensor]) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
