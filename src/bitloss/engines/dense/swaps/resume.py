"""A forward that begins at a layer, from the state that a full one had there.

A model that differs from another in layer k only has the other's states before layer k. The body's
own forward is run, so that masks and positions are its own business, and layers before the k-th do
nothing but give the stored state. Whether a model allows this (layers may share keys, or take more
than a state) is tried on the model, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.layer_list import layer_list

__all__ = ["LayerStack"]

_TRIED_TOKENS = 24
# Whatever a class does with layers that are left out.
_FAILS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


class LayerStack:
    """The layers of a loaded module graph.

    Args:
        graph: loaded with a model.

    Attributes:
        path: of the list of layers in the body; empty if there is none.
        works: whether a forward that begins at a layer gives the full one's states, to the bit.
    """

    def __init__(self, graph: ModelGraph) -> None:
        self.graph = graph
        self.path, self._layers = layer_list(graph.body)
        self._tuples = False  # whether layers give a tuple; known from the first forward
        self.works = bool(self._layers) and self._is_exact()

    def __len__(self) -> int:
        """How many layers there are; 0 if they were not found."""
        return len(self._layers)

    def record(self, ids: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Run everything.

        Args:
            ids: shape ``[batch, time]``.

        Returns:
            The post-norm states, and the state before each layer and after the last one; none if
            `works` is false.
        """
        if not self.works:
            return self.graph.hidden(ids), ()
        return self._record(ids)

    def resume(self, ids: torch.Tensor, layer: int, state: torch.Tensor) -> torch.Tensor:
        """Run the layers from `layer` on.

        Args:
            ids: as given to `record`.
            layer: the first one that is run; the number of layers runs the final norm alone.
            state: before that layer.

        Returns:
            Post-norm states, shape ``[batch, time, d_model]``.

        Raises:
            NumericalError: see `ModelGraph.hidden`.
        """
        with self._left_out(layer, state):
            return self.graph.hidden(ids)

    def _record(self, ids: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        seen: list[torch.Tensor] = []

        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.append(_state(args, kwargs))

        def keep_last(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self._tuples = isinstance(output, tuple)
            seen.append(output[0] if self._tuples else output)

        handles = [one.register_forward_pre_hook(keep, with_kwargs=True) for one in self._layers]
        last = self._layers[-1]
        handles.append(last.register_forward_hook(keep_last, with_kwargs=True))
        try:
            states = self.graph.hidden(ids)
        finally:
            for handle in handles:
                handle.remove()
        return states, tuple(seen)

    @contextmanager
    def _left_out(self, layers: int, state: torch.Tensor) -> Iterator[None]:
        """Let the first layers do nothing, for the block."""
        given: Any = (state,) if self._tuples else state
        patched = self._layers[:layers]
        try:
            for layer in patched:
                layer.forward = lambda *args, **kwargs: given
            yield
        finally:
            for layer in patched:
                vars(layer).pop("forward", None)

    def _is_exact(self) -> bool:
        """Try every layer on a few tokens."""
        size = self.graph.body.get_input_embeddings().weight.shape[0]
        ids = (torch.arange(_TRIED_TOKENS)[None] * 7 + 3) % size
        try:
            expected, inputs = self._record(ids)
            return len(inputs) == len(self._layers) + 1 and all(
                torch.equal(self.resume(ids, layer, inputs[layer]), expected)
                for layer in range(len(inputs))
            )
        except _FAILS:
            return False


def _state(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    state: torch.Tensor = args[0] if args else kwargs["hidden_states"]
    return state
