"""Windows grouped into forwards: the same groups, in the same order, for every model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.types import IntArray, Window

__all__ = ["batches", "hidden_states", "targets"]


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


def hidden_states(
    graph: ModelGraph, windows: Sequence[Window], batch_tokens: int
) -> Iterator[torch.Tensor]:
    """Post-norm hidden states at the positions that predict scored tokens, a batch at a time.

    Yields:
        Shape ``[scored tokens of the batch, d_model]`` on the CPU, in the windows' order.

    Raises:
        NumericalError: see `ModelGraph.hidden`.
    """
    for group in batches(windows, batch_tokens):
        ids = torch.from_numpy(np.stack([window.ids[:-1] for window in group]).astype(np.int64))
        states = graph.hidden(ids)
        rows = [states[i, window.first - 1 :] for i, window in enumerate(group)]
        yield torch.cat(rows).cpu()


def targets(windows: Sequence[Window]) -> IntArray:
    """The scored tokens of all windows, shape ``[n_scored]``."""
    return np.concatenate([window.ids[window.first :] for window in windows])
