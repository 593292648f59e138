"""Many swaps scored on the same windows, beside the reference.

A swap is a loaded model (*home*) with a part from another one (*donor*). The reference is run once
for a batch of windows, and its state before every layer is kept as long as the batch is scored; a
swap begins at the first layer that it changes. Tensors are exchanged by pointer and read from the
donor when they are needed, so memory holds the loaded models and one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.dense.architecture import named_state
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import Precision
from bitloss.engines.dense.scoring.head import Head, load_head
from bitloss.engines.dense.scoring.heads import StateLogits, score_states
from bitloss.engines.dense.swaps.hybrid import Hybrid, NamedWeights, Piece, other_shape
from bitloss.engines.dense.swaps.parts import Part
from bitloss.engines.dense.swaps.resume import LayerStack
from bitloss.engines.devices import for_heads, reports_full_memory
from bitloss.engines.evaluate import load_engine
from bitloss.engines.token_scores import PairScores
from bitloss.engines.values import Candidate, Model, scored_tokens, window_index
from bitloss.spec.fingerprint import fingerprint
from bitloss.types import FloatArray, IntArray, Window

__all__ = ["LayerWeights", "Swap", "SwapScorer", "SwapWork", "WindowScores"]

# Hidden states of swaps whose heads are applied together.
_STATE_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Swap:
    """A part of one model in another one.

    Attributes:
        home: name of the model that is run (`SwapScorer.load`).
        donor: name of the model that gives the part.
        part: what is exchanged; None runs the home as it is.
    """

    home: str
    donor: str
    part: Part | None

    @property
    def key(self) -> str:
        """Tells hybrids apart: the same for parts of different names with the same tensors."""
        pieces = "" if self.part is None else ", ".join(sorted(map(_spelled, self.part.pieces)))
        return f"{self.home} < {self.donor}: {pieces or 'as it is'}"


def _spelled(piece: Piece) -> str:
    return piece.name if piece.experts is None else f"{piece.name}[{piece.experts}]"


@dataclass(frozen=True, slots=True)
class WindowScores:
    """One swap's results window by window; sums over each window's scored tokens.

    Attributes:
        window: index of each window in the text, ascending, shape ``[n_windows]``.
        tokens: scored tokens, same shape.
        kl_divergence: sum of KL(reference || hybrid) in nats, same shape.
        loss_difference: sum of the hybrid's losses less the reference's in nats, same shape.
    """

    window: IntArray
    tokens: IntArray
    kl_divergence: FloatArray
    loss_difference: FloatArray


@dataclass(slots=True)
class SwapWork:
    """What was computed, in units of tokens.

    Attributes:
        layers: tokens times layers that were run.
        heads: tokens times heads that were applied.
    """

    layers: int = 0
    heads: int = 0

    def add(self, other: SwapWork) -> None:
        """Count another one's too."""
        self.layers += other.layers
        self.heads += other.heads


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Weights that a token is multiplied by: in one layer, and in the head."""

    layer: float
    head: float


@dataclass(frozen=True)
class _Home:
    """A model that is loaded."""

    weights: NamedWeights
    stack: LayerStack
    head: Head


@dataclass
class SwapScorer:
    """Scores swaps between models of one architecture.

    Attributes:
        reference: the model whose distributions are the truth; it is loaded.
        precision: the arithmetic.
        device: a torch device.
        work: what was computed so far.
        reuse: whether stored states are used; False runs every swap in full, for measurements.
    """

    reference: Model
    precision: Precision = "fp32"
    device: str = "cpu"
    work: SwapWork = field(default_factory=SwapWork)
    reuse: bool = True
    _homes: dict[str, _Home] = field(default_factory=dict, init=False)
    _donors: dict[str, NamedWeights] = field(default_factory=dict, init=False)
    _heads: dict[str, Head] = field(default_factory=dict, init=False)

    def load(self, name: str, weights: NamedWeights) -> None:
        """Load a model that swaps are made in; the first is the reference.

        Raises:
            BitlossError: see `ModelGraph.load` and `load_head`.
        """
        checkpoint = weights.names.checkpoint
        graph = ModelGraph(
            dict(self.reference.identity.config),
            precision=self.precision,
            device=self.device,
            code=self.reference.code,
        )
        with reports_full_memory(weights.label, self.device):
            graph.load(checkpoint)
            head = self._load_head(weights)
        self._homes[name] = _Home(weights, LayerStack(graph), head)
        self._donors[name] = weights

    def add_donor(self, name: str, weights: NamedWeights) -> None:
        """Name a model that gives parts; its tensors are read when they are needed."""
        self._donors[name] = weights

    @property
    def stack(self) -> LayerStack:
        """The reference's layers."""
        return next(iter(self._homes.values())).stack

    @property
    def first(self) -> str:
        """The reference's name."""
        return next(iter(self._homes))

    def weights_per_token(self) -> LayerWeights:
        """How many weights a token is multiplied by, in a layer and in the head."""
        home = self._homes[self.first]
        body = home.stack.graph.body
        embedding = body.get_input_embeddings().weight.numel()
        inside = sum(value.numel() for value in body.parameters()) - embedding
        return LayerWeights(inside / max(1, len(home.stack)), float(home.head.held.numel()))

    def starts_at(self, swap: Swap) -> int:
        """The first layer that a swap runs; the number of layers if it runs none."""
        home, part = self._homes[swap.home], swap.part
        if part is None:
            return len(home.stack)
        if not self.reuse or not home.stack.works:
            return 0
        return part.first_layer

    def score(
        self, windows: Sequence[Window], first: int, swaps: Sequence[Swap]
    ) -> dict[str, WindowScores]:
        """Score swaps on windows of equal length, one forward per swap.

        Args:
            windows: of one forward; each knows its place in the text, or follows `first`.
            first: index of the first window in the text.
            swaps: what to score; those of one home share its forward.

        Returns:
            By the swap's key.

        Raises:
            NumericalError: NaN or infinite values, with the model and layer that made them.
            Incomparable: a donor's tensor has another shape.
        """
        with reports_full_memory(self.reference.name, self.device):
            return self._score(windows, first, swaps)

    def _score(
        self, windows: Sequence[Window], first: int, swaps: Sequence[Swap]
    ) -> dict[str, WindowScores]:
        ids = torch.from_numpy(np.stack([w.ids[:-1] for w in windows]).astype(np.int64))
        reference = self.first
        states: dict[str, torch.Tensor] = {}
        befores: dict[str, tuple[torch.Tensor, ...]] = {}
        for name in dict.fromkeys((reference, *(swap.home for swap in swaps))):
            states[name], befores[name] = self._homes[name].stack.record(ids)
            self.work.layers += ids.numel() * len(self.stack)
        found: dict[str, WindowScores] = {}
        truth = self._rows(windows, states[reference])
        for group in self._groups(swaps, truth):
            models = [
                StateLogits(
                    self._head(swap), self._rows(windows, self._states(swap, ids, states, befores))
                )
                for swap in group
            ]
            for swap, scores in self._apply_heads(windows, reference, truth, group, models):
                found[swap.key] = _by_window(windows, first, *scores)
        return found

    def _rows(self, windows: Sequence[Window], states: torch.Tensor) -> torch.Tensor:
        """The states that predict scored tokens, window by window, where heads are applied."""
        rows = torch.cat([states[at, window.first - 1 :] for at, window in enumerate(windows)])
        return rows.to(for_heads(self.device))

    def _groups(self, swaps: Sequence[Swap], truth: torch.Tensor) -> Iterator[list[Swap]]:
        """As many swaps as have room for states and heads, with heads of one vocabulary."""
        group: list[Swap] = []
        room, columns = _STATE_BYTES, 0
        for swap in swaps:
            head = self._head(swap)
            size = truth.nbytes + (head.weight.nbytes if self._brings_head(swap) else 0)
            if group and (size > room or head.vocabulary != columns):
                yield group
                group, room = [], _STATE_BYTES
            group.append(swap)
            room, columns = room - size, head.vocabulary
        if group:
            yield group

    def _brings_head(self, swap: Swap) -> bool:
        """Whether the head has to be read from the donor."""
        return swap.part is not None and swap.part.head and swap.donor not in self._homes

    def _states(
        self,
        swap: Swap,
        ids: torch.Tensor,
        states: Mapping[str, torch.Tensor],
        befores: Mapping[str, tuple[torch.Tensor, ...]],
    ) -> torch.Tensor:
        home, part = self._homes[swap.home], swap.part
        if part is None:
            return states[swap.home]
        tensors = self._tensors(swap)
        if not tensors and self.reuse:
            return states[swap.home]  # the head alone
        before = befores[swap.home]
        layer = self.starts_at(swap)
        self.work.layers += ids.numel() * (len(self.stack) - layer)
        with self._exchanged(home.stack.graph, tensors, swap):
            if layer:
                return home.stack.resume(ids, layer, before[layer])
            return home.stack.graph.hidden(ids)

    def _tensors(self, swap: Swap) -> dict[str, torch.Tensor]:
        """The part's tensors in the body, by their names there."""
        assert swap.part is not None
        home = self._homes[swap.home]
        hybrid = Hybrid(home.weights, self._donors[swap.donor], swap.part.pieces)
        state = named_state(home.stack.graph.body)
        own = home.weights.home.architecture.body
        found: dict[str, torch.Tensor] = {}
        for name in sorted({piece.name for piece in swap.part.pieces}):
            inside = name.removeprefix(f"{own}.") if own else name
            if inside in state:
                found[inside] = hybrid.read(name, state[inside].dtype)
        return found

    @contextmanager
    def _exchanged(
        self, graph: ModelGraph, tensors: Mapping[str, torch.Tensor], swap: Swap
    ) -> Iterator[None]:
        state = named_state(graph.body)
        embedding = graph.body.get_input_embeddings().weight
        kept = {name: state[name].data for name in tensors}
        loaded = graph.loaded
        try:
            for name, tensor in tensors.items():
                own = state[name]
                given = tensor.to(device=own.device, dtype=own.dtype)
                if given.shape != own.shape:
                    if own is not embedding or given.shape[1:] != own.shape[1:]:
                        raise other_shape(swap.donor, name, tuple(given.shape), tuple(own.shape))
                    common = min(len(given), len(own))  # rows beyond are never looked up
                    padded = own.data.clone()
                    padded[:common] = given[:common]
                    given = padded
                own.data = given
            graph.loaded = f"{loaded} with a part of {swap.donor}"
            yield
        finally:
            graph.loaded = loaded
            for name, value in kept.items():
                state[name].data = value

    def identity(self, model: Model, batch_tokens: int) -> str:
        """A fingerprint of everything about a model that decides its numbers here."""
        candidate = Candidate(model, arithmetic=self.precision, device=self.device)
        facts = load_engine(candidate.engine).identity(candidate, batch_tokens=batch_tokens)
        return fingerprint(facts)

    def _head(self, swap: Swap) -> Head:
        """The home's head, or the donor's where the part has it."""
        if swap.part is None or not swap.part.head:
            return self._homes[swap.home].head
        if not self._brings_head(swap):
            return self._homes[swap.donor].head
        if swap.donor not in self._heads:
            self._heads.clear()  # the last donor's alone
            self._heads[swap.donor] = self._load_head(self._donors[swap.donor])
        return self._heads[swap.donor]

    def _load_head(self, weights: NamedWeights) -> Head:
        return load_head(
            weights.names.checkpoint,
            precision=self.precision,
            device=for_heads(self.device),
            code=self.reference.code,
        )

    def _apply_heads(
        self,
        windows: Sequence[Window],
        reference: str,
        truth: torch.Tensor,
        group: Sequence[Swap],
        models: Sequence[StateLogits],
    ) -> Iterator[tuple[Swap, tuple[PairScores, NDArray[np.float32]]]]:
        targets = torch.from_numpy(scored_tokens(windows).astype(np.int64))
        self.work.heads += len(targets) * (1 + len(group))
        ours, theirs = score_states(
            targets.to(truth.device), StateLogits(self._homes[reference].head, truth), models
        )
        for swap, scores in zip(group, theirs, strict=True):
            yield swap, (scores, ours.nll)


def _by_window(
    windows: Sequence[Window], first: int, scores: PairScores, nll: NDArray[np.float32]
) -> WindowScores:
    present, index, counts = np.unique(
        window_index(first, windows), return_inverse=True, return_counts=True
    )

    def sums(values: NDArray[np.floating]) -> FloatArray:
        total: FloatArray = np.bincount(index, weights=values).astype(np.float64)
        return total

    return WindowScores(
        present.astype(np.int32),
        counts.astype(np.int32),
        sums(scores.kl_divergence.astype(np.float64)),
        sums(scores.nll.astype(np.float64) - nll),
    )
