"""Products that give a row the same numbers whatever rows are beside it.

A library chooses its kernel by a product's shape, and kernels add up in different orders. In
float32 that moves the last of 24 bits; in bf16 a number whose last bit moves is off by 1/256, layer
by layer that becomes as much as all rounding, and of two tokens that are about as likely the other
one is chosen. Then a text depends on what is written beside it, and on how many of its tokens are
read at once. So while a model writes in bf16, its products have at most `BLOCK` rows, for which
oneDNN sums in one order on a processor with AMX, times weights that are laid out for them once, in
their own place. That is the faster way as well: laid out again for every product, as torch does by
default, the weights of a small batch take longer than its arithmetic. A piece of a prompt is a
product of its own: its size depends on the prompt alone.

What is left is torch's attention, which keeps to it in bf16 (`step`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import attention_dtype
from bitloss.engines.dense.row_cuts import BLOCK, RowCuts

__all__ = ["BLOCK", "BlockLinear", "PackedWeight", "use_row_blocks"]


class PackedWeight:
    """A weight as oneDNN's product of a few rows wants it.

    Args:
        weight: in bf16 on a CPU, shape ``[columns, d]``.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        kernels: Any = torch.ops.mkldnn
        self._run = kernels._linear_pointwise
        self._packed = kernels._reorder_linear_weight(weight.detach().contiguous(), BLOCK)
        self.nbytes: int = weight.nbytes

    def product(self, rows: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """As `torch.nn.functional.linear` of rows."""
        found: torch.Tensor = self._run(rows, self._packed, bias, "none", [], "")
        return found


class BlockLinear(nn.Module):
    """A linear layer that is run a block of rows at a time.

    Args:
        linear: in bf16 on a CPU. Its weight is taken over.
        cuts: says which rows are a block.
    """

    def __init__(self, linear: nn.Linear, cuts: RowCuts) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.packed = PackedWeight(linear.weight)
        self._cuts = cuts
        # Some models ask it for its type.
        self.weight = nn.Parameter(linear.weight.detach().to("meta"), requires_grad=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """As `nn.Linear`."""
        parts = self._cuts.parts(states.reshape(-1, self.in_features))
        products = [self.packed.product(part, self.bias) for part in parts]
        product = products[0] if len(products) == 1 else torch.cat(products)
        return product.view(*states.shape[:-1], self.out_features)


def use_row_blocks(graph: ModelGraph) -> bool:
    """Let a loaded graph take its products by blocks, if all of them can be; it is not to be
    loaded again then.

    Returns:
        Whether it does.
    """
    own = attention_dtype(graph.precision, graph.device.type)
    if own != torch.bfloat16 or graph.device.type != "cpu" or graph.spread:
        return False
    mkldnn: Any = torch.backends.mkldnn
    if not mkldnn.is_available() or not _only_linear(graph.body):
        return False
    graph.row_cuts = cuts = RowCuts()
    for module in list(graph.body.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, BlockLinear(child, cuts))
    return True


def _only_linear(body: nn.Module) -> bool:
    """Whether all that multiplies is a plain linear layer: no experts, whose number of tokens
    depends on the others, no convolutions, no layer whose input is changed on its way.
    """
    for module in body.modules():
        if type(module) is nn.Linear:
            if module._forward_hooks or module._forward_pre_hooks:
                return False
            continue
        own = module.parameters(recurse=False)
        if not isinstance(module, nn.Embedding) and any(one.ndim > 1 for one in own):
            return False
    return True
