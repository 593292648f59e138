"""A module graph of which one layer at a time has weights.

The body's own forward is run once for each layer, so that embeddings, masks, positions and the
final norm are its own business. In the k-th pass, layer k takes up the states that layer k - 1 left
in the pass before, and the other layers hand on what they are given. Every product is the same as
in a forward through all of them, so states are too, to the bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.graph_weights import GraphWeights
from bitloss.engines.dense.layer_list import layer_list
from bitloss.engines.dense.memory import return_freed_memory
from bitloss.engines.dense.streaming.lookups import TokenRows, embeddings
from bitloss.errors import UnsupportedModel

__all__ = ["LayerPasses", "layers_of"]

# Config values of models whose layers give each other more than a state.
_SHARED = ("num_kv_shared_layers", "cross_attention_layers")


def layers_of(body: Any) -> tuple[str, list[Any]]:
    """The path of the body's list of layers, and the layers; none where one layer is not all that
    another one gets its input from, or none is found.
    """
    if any(getattr(body.config, name, None) for name in _SHARED):
        return "", []
    path, layers = layer_list(body)
    return (path, layers) if len({id(one) for one in layers}) == len(layers) else ("", [])


class LayerPasses:
    """Reads a model's layers one after the other, the next one while the last one computes.

    Args:
        graph: whose layers `layers_of` finds; all of its weights are released.
        weights: of the model.
        advance: called with the bytes of each tensor that was read.
    """

    def __init__(
        self, graph: ModelGraph, weights: GraphWeights, advance: Callable[[int], None]
    ) -> None:
        self._graph = graph
        self._weights = weights
        self._advance = advance
        self._path, self._layers = layers_of(graph.body)
        self._at = 0
        self._result: tuple[Any, ...] | None = None  # further values of a layer's own result
        self._before: deque[torch.Tensor] = deque()
        self._after: deque[torch.Tensor] = deque()
        self._lookups: list[TokenRows] = []

    def run(
        self, works: Sequence[Callable[[], torch.Tensor]], done: Callable[[int], None]
    ) -> list[torch.Tensor]:
        """Do all of the work, whose forwards have to be the same in every pass.

        Args:
            works: functions that run the graph and give what they make of it.
            done: called with 1 after each layer.

        Returns:
            What each of them gave in the last pass, when it saw the last layer's states.

        Raises:
            CheckpointError: see `GraphWeights`.
            NumericalError: NaN or infinite values, which names the layer.
            UnsupportedModel: a forward does not go through the layers one by one.
        """
        results: list[torch.Tensor] = []
        with self._patched(), ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, 0)
            try:
                for index in range(len(self._layers)):
                    ahead.result()
                    if index + 1 < len(self._layers):
                        ahead = reader.submit(self._read, index + 1)
                    results = self._pass(index, works)
                    done(1)
            finally:
                _wait(ahead)
        return results

    def _pass(self, index: int, works: Sequence[Callable[[], torch.Tensor]]) -> list[torch.Tensor]:
        self._at, self._after = index, deque()
        self._graph.streamed = f"{self._path}.{index}"
        results = [work() for work in works]
        if self._before:
            raise UnsupportedModel(
                f"{self._graph.loaded}: layer {index} saw fewer forwards than the one before it",
                hint="raise --memory, so that the model is read as a whole",
            )
        self._before = self._after
        self._release(self._name(index))
        return_freed_memory()  # else it grows by a tenth of a layer with each of them
        return results

    # Layers -----------------------------------------------------------------------------------

    @contextmanager
    def _patched(self) -> Iterator[None]:
        """Let layers do what their turn is, for the block, and have no weights after it."""
        try:
            with ExitStack() as stack:
                for table in self._lookups:
                    stack.enter_context(table.looked_up())
                for index, layer in enumerate(self._layers):
                    layer.forward = self._turn(index, layer.forward)
                yield
        finally:
            for layer in self._layers:
                vars(layer).pop("forward", None)
            self._graph.streamed = ""
            self._before, self._after = deque(), deque()

    def _turn(self, index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            state = args[0] if args else kwargs.pop("hidden_states")
            if index != self._at:
                return state if self._result is None else (state, *self._result)
            if index:
                state = self._stored(state)
            found = forward(state, *args[1:], **kwargs)
            if isinstance(found, tuple):
                if any(map(torch.is_tensor, found[1:])):
                    raise UnsupportedModel(
                        f"{self._graph.loaded}: layer {index} gives the next one more than a state",
                        hint="raise --memory, so that the model is read as a whole",
                    )
                self._result = (None,) * (len(found) - 1)
            self._after.append(found[0] if isinstance(found, tuple) else found)
            return found

        return run

    def _stored(self, given: torch.Tensor) -> torch.Tensor:
        """The state that the layer before gave in this forward."""
        if not self._before or self._before[0].shape != given.shape:
            raise UnsupportedModel(
                f"{self._graph.loaded}: layer {self._at} saw another forward than the one before",
                hint="raise --memory, so that the model is read as a whole",
            )
        return self._before.popleft()

    # Weights ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Release all weights and read those that are in no layer; of embeddings of tokens, rows
        are read as they are looked up, where the format has rows.

        Raises:
            CheckpointError: see `GraphWeights`.
        """
        self._release(f"{self._graph.prefix}.")
        inside = f"{self._graph.prefix}.{self._path}."
        tables: set[str] = set()
        for path, module in embeddings(self._graph.body, self._path).items():
            name = f"{self._graph.prefix}.{path}.weight"
            rows = self._weights.rows(name)
            if rows is not None:
                tables.add(name)
                self._lookups.append(TokenRows(name, module, self._weights, rows))
        self._fill(lambda name: not name.startswith(inside) and name not in tables)

    def _read(self, index: int) -> None:
        prefix = self._name(index)
        self._fill(lambda name: name.startswith(prefix))

    def _fill(self, wanted: Callable[[str], bool]) -> None:
        self._weights.fill(self._advance, wanted=wanted)

    def _release(self, prefix: str) -> None:
        for name, tensor in self._weights.state.items():
            if name.startswith(prefix):
                tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)

    def _name(self, index: int) -> str:
        return f"{self._graph.prefix}.{self._path}.{index}."


def _wait(ahead: Future[None]) -> None:
    """Let a read that was begun end, whatever comes of it: it writes into the graph."""
    ahead.exception()
