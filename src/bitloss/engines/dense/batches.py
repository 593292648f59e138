"""Windows grouped into forwards: the same groups, in the same order, for every model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.prefix_tree.forwards import plan_forwards
from bitloss.engines.dense.prefix_tree.states import packs, tree_states
from bitloss.engines.dense.prefix_tree.tree import PrefixTree, grow
from bitloss.errors import NumericalError
from bitloss.types import Window

__all__ = ["batches", "hidden_states", "shared_tree"]

# Below these savings, in tokens and in forwards, windows are read as they are.
_LEAST_SAVED = 0.05
_LEAST_FEWER = 0.2


def batches(windows: Sequence[Window], batch_tokens: int) -> Iterator[Sequence[Window]]:
    """Group neighbouring windows of equal length, at most `batch_tokens` tokens in a group.

    Windows are never padded, and a window longer than `batch_tokens` is a group of its own, so
    the shapes depend on the plan alone and never on the model or on what was done before.
    """
    group: list[Window] = []
    for window in windows:
        size = len(window.ids)
        if group and (len(group[0].ids) != size or (len(group) + 1) * (size - 1) > batch_tokens):
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def shared_tree(windows: Sequence[Window], batch_tokens: int) -> PrefixTree | None:
    """The windows' prefix tree, or None where it saves next to nothing (running text).

    It saves tokens where windows begin alike, and forwards where they are short and of many
    lengths. What it is depends on the windows alone, never on the model.
    """
    tree = grow(windows)
    if tree.tokens <= (1 - _LEAST_SAVED) * tree.read:
        return tree
    forwards = sum(1 for _ in batches(windows, batch_tokens))
    fewer = len(plan_forwards(tree, batch_tokens)) <= (1 - _LEAST_FEWER) * forwards
    return tree if fewer else None


def hidden_states(
    graph: ModelGraph,
    windows: Sequence[Window],
    batch_tokens: int,
    *,
    share_prefixes: bool = False,
    alone: bool = False,
) -> Iterator[torch.Tensor]:
    """Post-norm hidden states at the positions that predict scored tokens, a batch at a time.

    Args:
        graph: a loaded model.
        windows: what it reads.
        batch_tokens: tokens in one forward.
        share_prefixes: compute what windows have in common once, as `shared_tree` says; the states
            are then those of the tree's `scored` positions, and `PrefixTree.rows` says which of
            them a scored token needs.
        alone: read a window at a time: the same states up to rounding, in the same order.

    Yields:
        Shape ``[scored tokens of the batch, d_model]`` on the graph's device, in the windows'
        order, or in the tree's.

    Raises:
        NumericalError: see `ModelGraph.hidden`.
    """
    tree = shared_tree(windows, batch_tokens) if share_prefixes else None
    single = 1 if alone else batch_tokens
    if tree is None:
        yield from _flat(graph, windows, single)
    elif alone or not packs(graph):
        yield _unique(graph, windows, tree, single)
    else:
        try:
            yield from tree_states(graph, tree, batch_tokens)
        except NumericalError:
            if graph.streamed:  # which is named already
                raise
            _unique(graph, windows, tree, batch_tokens)  # names the layer
            raise


def _flat(
    graph: ModelGraph, windows: Sequence[Window], batch_tokens: int
) -> Iterator[torch.Tensor]:
    for group in batches(windows, batch_tokens):
        ids = torch.from_numpy(np.stack([window.ids[:-1] for window in group]).astype(np.int64))
        states = graph.hidden(ids)
        rows = [states[i, window.first - 1 :] for i, window in enumerate(group)]
        yield torch.cat(rows)


def _unique(
    graph: ModelGraph, windows: Sequence[Window], tree: PrefixTree, batch_tokens: int
) -> torch.Tensor:
    """The states of the tree's scored positions, read a window or a batch of them at a time."""
    counts = [window.n_scored for window in windows]
    rows = np.split(tree.rows, np.cumsum(counts)[:-1])
    _, firsts = np.unique(tree.rows, return_index=True)
    owners = np.unique(np.repeat(np.arange(len(windows)), counts)[firsts])
    states = torch.cat(list(_flat(graph, [windows[i] for i in owners], batch_tokens)))
    unique = states.new_empty(len(tree.scored), states.shape[1])
    places = torch.from_numpy(np.concatenate([rows[i] for i in owners])).long()
    unique[places.to(states.device)] = states
    return unique
