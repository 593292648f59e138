"""Hidden states of a prefix tree, every token of which is computed once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bitloss.engines.dense.architecture import say_once
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import ROUNDING
from bitloss.engines.dense.prefix_tree.attention import TreeAttention
from bitloss.engines.dense.prefix_tree.attention_plan import plan_per_device
from bitloss.engines.dense.prefix_tree.forwards import plan_forwards
from bitloss.engines.dense.prefix_tree.packed import can_pack, packed_states
from bitloss.engines.dense.prefix_tree.tree import PrefixTree, grow
from bitloss.errors import NumericalError, UnsupportedModel
from bitloss.types import Window

__all__ = ["Probe", "packs", "tree_states"]

# Sequences of the probe: tokens in common with the first one, and own tokens.
_PROBE = ((0, 24), (10, 8), (10, 3), (17, 12))
_PROBE_TOKENS = 16


def tree_states(graph: ModelGraph, tree: PrefixTree, batch_tokens: int) -> Iterator[torch.Tensor]:
    """Post-norm hidden states at the tree's scored positions, a forward at a time.

    Args:
        graph: a loaded model for which `packs` is true.
        tree: the tokens to be read.
        batch_tokens: tokens in one forward.

    Yields:
        Shape ``[scored positions of the forward, d_model]`` on the graph's device, in the tree's
        order.

    Raises:
        NumericalError: NaN or infinite values.
    """
    attention, plans = plan_per_device(graph.devices, lambda device: TreeAttention(tree, device))
    ids, positions, scored = (
        torch.from_numpy(part.astype(np.int64)) for part in (tree.ids, tree.positions, tree.scored)
    )
    for forward in plan_forwards(tree, batch_tokens):
        for plan in plans:
            plan.begin(forward)
        here = slice(forward.start, forward.stop)
        states = packed_states(graph, ids[here], positions[here], attention)
        rows = scored[(scored >= forward.start) & (scored < forward.stop)] - forward.start
        yield states[rows.to(states.device)]


def packs(graph: ModelGraph) -> bool:
    """Whether a loaded model gives the same states packed as it does a sequence at a time.

    An architecture may do what packing does not know of. So at a graph's first use a few tokens are
    read both ways, and unless they agree to within rounding, sequences are never packed. Nor are
    they where a simulated scale is of everything that a forward reads.

    Raises:
        NumericalError: the model gives NaN or infinite values, whichever way.
    """
    if graph.simulation.per_sequence:
        return False
    if graph.packs is None:
        # Of the architecture: what a runtime stores in few bits would make both ways differ where
        # a number lies between two codes.
        with graph.simulation.off():
            graph.packs = can_pack(graph) and _probe(graph)
        if not graph.packs:
            kind = graph.body.config.model_type
            say_once(f"`{kind}` models are read one sequence at a time: prefixes are not shared")
    return graph.packs


class Probe:
    """A few tokens that are read both ways.

    Args:
        graph: of the model.
    """

    def __init__(self, graph: ModelGraph) -> None:
        self._graph = graph
        vocabulary = graph.vocabulary
        first = np.arange(3, 3 + 7 * _PROBE[0][1], 7, dtype=np.int32)
        sequences = [
            np.concatenate([first[:common], np.arange(n * 40, n * 40 + own + 1, dtype=np.int32)])
            if n
            else np.append(first, 0)
            for n, (common, own) in enumerate(_PROBE)
        ]
        self._windows = [Window((ids % vocabulary).astype(np.int32), 1) for ids in sequences]
        self._tree = grow(self._windows)

    def flat(self) -> torch.Tensor:
        """A sequence at a time, which is the definition.

        Raises:
            NumericalError: NaN or infinite values.
        """
        ids = (torch.from_numpy(w.ids[None, :-1].astype(np.int64)) for w in self._windows)
        return torch.cat([self._graph.hidden(one)[0] for one in ids]).cpu().float()

    def packed(self) -> torch.Tensor | None:
        """Packed; None where that cannot be done."""
        try:
            parts = tree_states(self._graph, self._tree, _PROBE_TOKENS)
            return torch.cat(list(parts)).cpu().float()
        except torch.OutOfMemoryError:
            raise
        except (UnsupportedModel, NumericalError):
            return None
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            return None  # code of another make, which takes its attention in another way

    def agrees(self, flat: torch.Tensor, packed: torch.Tensor | None) -> bool:
        """Whether both ways give the same states, to within rounding."""
        if packed is None:
            return False
        difference = (packed[torch.from_numpy(self._tree.rows).long()] - flat).abs().mean()
        return bool(difference <= ROUNDING[self._graph.precision] * flat.abs().mean())


def _probe(graph: ModelGraph) -> bool:
    probe = Probe(graph)
    return probe.agrees(probe.flat(), probe.packed())
