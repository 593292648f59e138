"""Tokens of many sequences in one forward, end to end, without padding.

Every layer but attention looks at one token at a time, so tokens of different sequences can stand
side by side as one sequence of a batch of one. What a token attends to is then said by an
`AttentionPlan` instead of by its place: a tree of `prefix_tree.tree`, or the rows of sequences
that `generation.generate` decodes.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch

from bitloss.engines.dense.precision import arithmetic
from bitloss.engines.dense.prefix_tree.attention_plan import AttentionPlan
from bitloss.engines.dense.rope import depends_on_length
from bitloss.errors import NumericalError, UnsupportedModel

if TYPE_CHECKING:
    from bitloss.engines.dense.graph import ModelGraph

__all__ = ["can_pack", "packed_states"]

_NAME = "bitloss_packed"
# Kinds of layers whose tokens meet in attention only.
_LAYERS = {"full_attention", "sliding_attention"}
# Tensors that some models hand to their attention, where they say nothing new.
_HARMLESS = {"position_ids", "cache_position"}


_PLAN: ContextVar[AttentionPlan] = ContextVar("bitloss_attention_plan")


def can_pack(graph: ModelGraph) -> bool:
    """Whether a model's tokens meet in attention only, and its attention can be replaced.

    A rotary table that depends on the longest sequence of a forward is no exception: with it, what
    a sequence is given would depend on the others.
    """
    config = graph.body.config
    kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
    takes_positions = "position_ids" in inspect.signature(graph.body.forward).parameters
    standard = config._attn_implementation != "eager" or config.model_type in ("gemma2",)
    by_length = depends_on_length(config)
    return bool(takes_positions and standard and kinds <= _LAYERS and not by_length)


@torch.no_grad()
def packed_states(
    graph: ModelGraph, ids: torch.Tensor, positions: torch.Tensor, plan: AttentionPlan
) -> torch.Tensor:
    """Post-norm hidden states of packed tokens.

    Args:
        graph: a loaded model for which `can_pack` is true.
        ids: token ids, shape ``[tokens]``.
        positions: of each token in its own sequence, shape ``[tokens]``.
        plan: what each token attends to.

    Returns:
        Shape ``[tokens, d_model]``, in the graph's dtype, on its device.

    Raises:
        NumericalError: NaN or infinite values.
        UnsupportedModel: the model's attention takes more than is known here.
    """
    from transformers import AttentionInterface

    # A name in transformers' own table; registering it again changes nothing.
    AttentionInterface.register(_NAME, _planned_attention)
    config = graph.body.config
    before = config._attn_implementation
    token = _PLAN.set(graph.simulation.storing(plan))
    try:
        config._attn_implementation = _NAME  # a name without a mask function: no mask is made
        with arithmetic(graph.precision):
            states: torch.Tensor = graph.body(
                input_ids=ids.to(graph.device).unsqueeze(0),
                position_ids=positions.to(graph.device).unsqueeze(0),
                use_cache=False,
                return_dict=True,
            ).last_hidden_state[0]
    finally:
        config._attn_implementation = before
        _PLAN.reset(token)
    if not torch.isfinite(states).all():
        raise NumericalError(
            f"{graph.loaded}: NaN or infinite values in the hidden states",
            hint="the file may be damaged, or overflow in this dtype: try --dtype fp32",
        )
    return states


def _planned_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    del attention_mask
    if unknown := [n for n, o in options.items() if torch.is_tensor(o) and n not in _HARMLESS]:
        raise UnsupportedModel(
            f"attention of `{type(module).__name__}` takes `{unknown[0]}`, which packing leaves out"
        )
    out = _PLAN.get().attend(
        module.layer_idx,
        query[0],
        key[0],
        value[0],
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        soft_cap=softcap,
        window=sliding_window,
    )
    return out.to(query.dtype).transpose(0, 1).unsqueeze(0).contiguous(), None
