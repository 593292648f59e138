"""The experts of a layer a group at a time, and of them only those that some token is sent to.

transformers' experts are one module with stacked weights, called with states, the numbers of the
experts that each is sent to, and their shares. Here the calls of all of the text are noted first.
Then the two products are taken for one group after the other, each expert's on the rows that it
would have anyway; what is between them and after them is done to a call as a whole, since kernels
compute the last numbers of a tensor in another way than the others. So each number is what
`grouped_mm_experts_forward` makes it (transformers.integrations.moe), to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from bitloss.engines.dense.streaming.states import States, StatesRoom

__all__ = ["ExpertCalls", "expert_module", "extra_states"]

_KIND = "grouped_mm"


def expert_module(layer: Any) -> tuple[str, Any] | None:
    """The path and the module of a layer's experts, if they can be run a group at a time."""
    found = [(path, module) for path, module in layer.named_modules() if _is_known(module)]
    return found[0] if len(found) == 1 else None


def extra_states(module: Any, width: int, chosen: int) -> int:
    """How many states' room a token's pass through experts takes, beside its own.

    Args:
        module: the experts.
        width: numbers of a state.
        chosen: experts that a token is sent to.
    """
    inner = _inner(module)
    wide = inner * (2 if module.has_gate else 1)
    return -(-max(width + chosen * wide, chosen * (inner + width)) // max(1, width))


def _is_known(module: Any) -> bool:
    """Whether it is run by the function that this file is written after, on these parameters."""
    config = getattr(module, "config", None)
    if (
        getattr(config, "_experts_implementation", None) != _KIND
        or not isinstance(getattr(module, "num_experts", None), int)
        or not _inner(module)
        or not hasattr(module, "is_transposed")
        or getattr(module, "_is_expert_parallel", True)
        or getattr(module, "has_post_expert_norm", True)
    ):
        return False
    weights = [_up(module), "down_proj"]
    wanted = {*weights, *(f"{name}_bias" for name in weights if module.has_bias)}
    return {name for name, _ in module.named_parameters()} == wanted


def _inner(module: Any) -> int:
    """Numbers between an expert's two products; 0 where the module does not say."""
    found = (getattr(module, name, None) for name in ("intermediate_dim", "intermediate_size"))
    return next((value for value in found if isinstance(value, int)), 0)


def _up(module: Any) -> str:
    return "gate_up_proj" if module.has_gate else "up_proj"


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the experts.

    Attributes:
        experts: the number of each pair of token and expert, sorted, shape ``[pairs]``.
        order: which pair that was, shape ``[pairs]``.
        shares: of each token's experts, shape ``[tokens, experts of a token]``.
        made: what was made of the pairs so far, a tensor for each group in turn.
    """

    experts: torch.Tensor
    order: torch.Tensor
    shares: torch.Tensor
    made: States

    def together(self) -> torch.Tensor:
        """What was made of all pairs, in their order by experts."""
        return torch.cat([self.made.take() for _ in range(len(self.made))])


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
        self._at = 0

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

    def clear(self) -> None:
        """Give back the room of what was noted."""
        for states in (self._inputs, *(call.made for call in self._calls)):
            states.clear()

    def wanted(self) -> list[int]:
        """The experts that some token is sent to, in ascending order."""
        if not self._calls:
            return []
        hit = torch.cat([torch.unique(call.experts) for call in self._calls])
        found: list[int] = torch.unique(hit).tolist()
        return found

    def parameters(self, step: int) -> list[str]:
        """The parameters of a product.

        Args:
            step: 0 is the one into the experts, 1 the one out of them.
        """
        weight = (_up(self._module), "down_proj")[step]
        return [weight, *((f"{weight}_bias",) if self._module.has_bias else ())]

    def begin(self, step: int) -> None:
        """Before a product: what it is taken of."""
        if step == 0:
            return
        self._inputs.clear()
        module = self._module
        for call in self._calls:
            made = call.together()
            call.made.clear()
            self._inputs.append(
                module._apply_gate(made) if module.has_gate else module.act_fn(made)
            )

    def run(self, step: int, group: Sequence[int], weights: Mapping[str, torch.Tensor]) -> None:
        """Take a product with a group of experts.

        Args:
            step: see `parameters`.
            group: ascending, and after those of earlier groups.
            weights: of the group's experts, stacked, by the parameter's name.
        """
        from transformers.integrations.moe import _grouped_linear

        weight, *bias = (weights[name] for name in self.parameters(step))
        numbers = torch.tensor(group, device=weight.device)
        self._inputs.again()
        for call in self._calls:
            rows = self._inputs.take(keep=True)
            first = int(torch.searchsorted(call.experts, group[0]))
            last = int(torch.searchsorted(call.experts, group[-1], right=True))
            if first == last:
                continue
            here = slice(first, last)
            rows = rows[call.order[here] // call.shares.shape[-1]] if step == 0 else rows[here]
            own = call.experts[here].contiguous()
            ends = torch.searchsorted(own, numbers, right=True).to(torch.int32)
            added = bias[0][torch.searchsorted(numbers, own)] if bias else None
            call.made.append(
                _grouped_linear(
                    rows, weight, ends, bias=added, is_transposed=self._module.is_transposed
                )
            )

    def _note(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        experts, order = torch.sort(top_k_index.reshape(-1))
        self._calls.append(_Call(experts, order, top_k_weights, States(self._room)))
        self._inputs.append(hidden_states)
        return torch.zeros_like(hidden_states)

    def _finish(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        call = self._calls[self._at]
        self._at += 1
        weighted = call.together() * call.shares.reshape(-1)[call.order].unsqueeze(-1)
        back = torch.empty_like(call.order)
        back[call.order] = torch.arange(len(call.order), device=back.device)
        total = weighted[back].view(*call.shares.shape, -1).sum(dim=1)
        return total.to(hidden_states.dtype)


@contextmanager
def _forward(module: Any, forward: Callable[..., torch.Tensor]) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
