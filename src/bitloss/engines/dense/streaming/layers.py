"""A module graph of which one layer at a time has weights.

The body's own forward is run once for each layer, so that embeddings, masks, positions and the
final norm are its own business. In the k-th pass, layer k takes up the states that layer k - 1 left
in the pass before, and the other layers hand on what they are given. Every product is the same as
in a forward through all of them, so states are too, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.graph_weights import GraphWeights
from bitloss.engines.dense.layer_list import layers_of
from bitloss.engines.dense.memory import return_freed_memory
from bitloss.engines.dense.precision import arithmetic
from bitloss.engines.dense.scoring.keys import state_width
from bitloss.engines.dense.streaming.budget import LayerSize, chosen_experts
from bitloss.engines.dense.streaming.experts import ExpertCalls, expert_module, extra_states
from bitloss.engines.dense.streaming.lookups import TokenRows, embeddings
from bitloss.engines.dense.streaming.states import States, StatesRoom
from bitloss.errors import UnsupportedModel

__all__ = ["LayerPasses", "layer_sizes"]

# Their layers give attention weights besides, which no other layer takes: the tests compare them.
_GIVE_WEIGHTS = frozenset({"bloom", "gpt_neo", "mpt"})
_WHOLE = "raise --memory, so that the model is read as a whole"


def layer_sizes(graph: ModelGraph, weights: GraphWeights) -> list[LayerSize]:
    """Bytes of each layer's weights; of experts too, where single ones can be read.

    Args:
        graph: for which `layers_of` finds layers.
        weights: of the model.
    """
    path, layers = layers_of(graph.body)
    sizes = []
    for index, layer in enumerate(layers):
        prefix = f"{graph.prefix}.{path}.{index}."
        nbytes = {
            name: math.prod(weights.shapes[name]) * tensor.element_size()
            for name, tensor in weights.state.items()
            if name.startswith(prefix)
        }
        total, found = sum(nbytes.values()), expert_module(layer)
        if found is None:
            sizes.append(LayerSize(total))
            continue
        inside = {n: size for n, size in nbytes.items() if n.startswith(f"{prefix}{found[0]}.")}
        count, stacked = found[1].num_experts, sum(inside.values())
        apart = all(weights.shapes[n][0] == count and weights.in_parts(n) for n in inside)
        if not inside or not apart:
            sizes.append(LayerSize(total))
            continue
        config = graph.body.config.to_dict()
        extra = extra_states(found[1], state_width(config), chosen_experts(config))
        sizes.append(LayerSize(total - stacked, count, stacked // count, extra))
    return sizes


class LayerPasses:
    """Reads a model's layers one after the other, the next one while the last one computes.

    Args:
        graph: whose layers `layers_of` finds; all of its weights are released.
        weights: of the model.
        groups: of each layer, how many experts are held at once; 0 holds the layer whole.
        room: for states between layers.
        advance: called with the bytes of each tensor that was read.
    """

    def __init__(
        self,
        graph: ModelGraph,
        weights: GraphWeights,
        groups: Sequence[int],
        room: StatesRoom,
        advance: Callable[[int], None],
    ) -> None:
        self._graph = graph
        self._weights = weights
        self._advance = advance
        self._room = room
        self._path, self._layers = layers_of(graph.body)
        self._groups = groups
        self._at = 0
        self._noting = False  # whether the layer's states are of no use: its experts have not run
        self._result: tuple[Any, ...] | None = None  # further values of a layer's own result
        self._before, self._after = States(room), States(room)
        self._lookups: list[TokenRows] = []

    def run(
        self, works: Sequence[Callable[[], torch.Tensor]], done: Callable[[int], None]
    ) -> Generator[torch.Tensor, None, None]:
        """Do all of the work, whose forwards have to be the same in every pass.

        Args:
            works: functions that run the graph and give what they make of it.
            done: called with 1 after each layer.

        Yields:
            What each of them gives in the last pass, when it sees the last layer's states.

        Raises:
            CheckpointError: see `GraphWeights`.
            NumericalError: NaN or infinite values, which names the layer.
            StorageError: there is no room for states.
            UnsupportedModel: a forward does not go through the layers one by one.
        """
        last = len(self._layers) - 1
        with self._patched(), ThreadPoolExecutor(1) as reader:
            ahead: Future[Any] = reader.submit(self._read, 0)
            try:
                for index in range(last + 1):
                    ahead.result()
                    calls = self._experts_of(index, works, reader)
                    if index < last:
                        ahead = reader.submit(self._read, index + 1)
                    with nullcontext() if calls is None else calls.answered():
                        for made in self._pass(index, works):
                            if index == last:
                                yield made
                    self._release(self._name(index))
                    return_freed_memory()  # else it grows by a tenth of a layer with each of them
                    done(1)
            finally:
                _wait(ahead)

    def _pass(
        self, index: int, works: Sequence[Callable[[], torch.Tensor]]
    ) -> Iterator[torch.Tensor]:
        self._at = index
        self._graph.streamed = f"{self._path}.{index}"
        for work in works:
            yield work()
        if len(self._before):
            raise UnsupportedModel(
                f"{self._graph.loaded}: layer {index} saw fewer forwards than the one before it",
                hint=_WHOLE,
            )
        if self._noting:
            self._before.again()
        else:
            self._before.clear()
            self._before, self._after = self._after, self._before

    # Experts ----------------------------------------------------------------------------------

    def _experts_of(
        self, index: int, works: Sequence[Callable[[], torch.Tensor]], reader: ThreadPoolExecutor
    ) -> ExpertCalls | None:
        """What the layer's experts give, read a group at a time; None where it is held whole."""
        at_once, found = self._groups[index], expert_module(self._layers[index])
        if not at_once or found is None:
            return None
        path, module = found
        calls = ExpertCalls(module, self._room)
        self._noting = True
        try:
            with calls.noted():
                for _ in self._pass(index, works):
                    pass
        finally:
            self._noting = False
        try:
            for step in (0, 1):
                with torch.no_grad(), arithmetic(self._graph.precision):
                    calls.begin(step)
                self._groups_of(calls, step, f"{self._name(index)}{path}.", at_once, reader)
        except BaseException:
            calls.clear()
            raise
        return calls

    def _groups_of(
        self, calls: ExpertCalls, step: int, prefix: str, at_once: int, reader: ThreadPoolExecutor
    ) -> None:
        """Take one of the experts' products, the next group being read meanwhile."""
        wanted = calls.wanted()
        groups = [wanted[at : at + at_once] for at in range(0, len(wanted), at_once)]
        names = [f"{prefix}{name}" for name in calls.parameters(step)]
        read = partial(self._weights.experts, names, advance=self._advance)
        ahead: Future[dict[str, torch.Tensor]] | None = None
        try:
            for group in groups[:1]:
                ahead = reader.submit(read, group)
            for group, following in zip(groups, [*groups[1:], None], strict=True):
                assert ahead is not None
                weights = {n.removeprefix(prefix): one for n, one in ahead.result().items()}
                ahead = None if following is None else reader.submit(read, following)
                with torch.no_grad(), arithmetic(self._graph.precision):
                    calls.run(step, group, weights)
                del weights
                return_freed_memory()
        finally:
            if ahead is not None:
                _wait(ahead)

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
            self._before.clear()
            self._after.clear()

    def _turn(self, index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            state = args[0] if args else kwargs.pop("hidden_states")
            if index != self._at:
                return state if self._result is None else (state, *self._result)
            if index:
                state = self._stored(state)
            found = forward(state, *args[1:], **kwargs)
            if isinstance(found, tuple):
                kind = self._graph.body.config.model_type
                if any(map(torch.is_tensor, found[1:])) and kind not in _GIVE_WEIGHTS:
                    raise UnsupportedModel(
                        f"{self._graph.loaded}: layer {index} gives the next one more than a state",
                        hint=_WHOLE,
                    )
                self._result = (None,) * (len(found) - 1)
            if not self._noting:
                self._after.append(found[0] if isinstance(found, tuple) else found)
            return found

        return run

    def _stored(self, given: torch.Tensor) -> torch.Tensor:
        """The state that the layer before gave in this forward."""
        if self._before.next_shape() != tuple(given.shape):
            raise UnsupportedModel(
                f"{self._graph.loaded}: layer {self._at} saw another forward than the one before",
                hint=_WHOLE,
            )
        return self._before.take(keep=self._noting)

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
        prefix, experts = self._name(index), None
        if self._groups[index] and (found := expert_module(self._layers[index])):
            experts = f"{prefix}{found[0]}."
        self._fill(
            lambda name: (
                name.startswith(prefix) and not (experts is not None and name.startswith(experts))
            )
        )

    def _fill(self, wanted: Callable[[str], bool]) -> None:
        self._weights.fill(self._advance, wanted=wanted)

    def _release(self, prefix: str) -> None:
        for name, tensor in self._weights.state.items():
            if name.startswith(prefix):
                tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)

    def _name(self, index: int) -> str:
        return f"{self._graph.prefix}.{self._path}.{index}."


def _wait(ahead: Future[Any]) -> None:
    """Let a read that was begun end, whatever comes of it: it writes into the graph."""
    ahead.exception()
