"""Every column of a record from one pass over the vocabulary, a block of it at a time.

Any engine may give the logits (`Logits`). Of each model a running maximum, a running sum of
exponentials and a few running expectations are kept for each position (the online softmax of
Milakov and Gimelshein, 2018, arXiv:1805.02867), from which follow

    NLL(t)    = log Z - z_t
    entropy   = log Z - E_p[z]
    KL(p||q)  = E_p[z_p - z_q] - log Z_p + log Z_q

The difference ``z_p - z_q`` is taken element by element before it is summed, so a variant whose
logits are the reference's has a divergence of exactly 0. Two quantities need both normalizers
first, so the exponentials of a chunk of positions are kept and gone through once more:

    overlap   = sum min(p, q)              = 1 - sum max(p - q, 0)
    hellinger = 1 - sum sqrt(p q)          = sum (sqrt p - sqrt q)^2 / 2

in the forms on the right, which are exactly 1 and 0 for equal distributions. Blocks are summed in
float32 and put together in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.devices import is_cuda
from bitloss.engines.running_softmax import KeptBlocks, RunningSoftmax
from bitloss.errors import NumericalError

__all__ = [
    "Blocks",
    "FullLogits",
    "Logits",
    "PairScores",
    "ReferenceScores",
    "score_positions",
    "workers_on",
]

# Small enough that a handful of blocks stay in the cache, large enough for full-speed products.
POSITIONS = 256
COLUMNS = 2048
# Of two models' distributions that are kept at a time: 128 MB each.
KEPT = 1 << 25


class Blocks(NamedTuple):
    """How much is taken at a time.

    Attributes:
        positions: at most.
        columns: of the vocabulary.
        kept: of two models' distributions, numbers of each.
    """

    positions: int
    columns: int
    kept: int

    @classmethod
    def on(cls, device: torch.device) -> Blocks:
        """What suits a device."""
        return _ON_CUDA if is_cuda(device) else _ON_CPU


_ON_CPU = Blocks(POSITIONS, COLUMNS, KEPT)
# A card is kept waiting by launches, and has no cache of that kind: 1 GB each is kept.
_ON_CUDA = Blocks(2048, 32768, 1 << 28)

# More would wait for each other in Python.
_MOST_WORKERS = 4

_Floats = NDArray[np.float32]
# Of a chunk of positions: the reference's columns, and each variant's.
_Chunk = tuple[tuple[NDArray[Any], ...], list[tuple[NDArray[Any], ...]]]


def workers_on(device: torch.device) -> int:
    """How many workers `score_positions` is fastest with: on a CPU, threads that work on chunks of
    their own need not wait for each other after every block.
    """
    return min(_MOST_WORKERS, torch.get_num_threads()) if device.type == "cpu" else 1


class Logits(Protocol):
    """Next-token logits at some positions, given a block at a time."""

    @property
    def positions(self) -> int:
        """Number of positions."""

    @property
    def vocabulary(self) -> int:
        """Number of logits per position."""

    def block(self, rows: slice, start: int, stop: int) -> torch.Tensor:
        """Float32 logits of some positions and the tokens ``start`` to ``stop - 1``."""


@dataclass(frozen=True, slots=True)
class FullLogits:
    """Logits that are in memory already, shape ``[positions, vocabulary]``, float32."""

    values: torch.Tensor

    @property
    def positions(self) -> int:
        """See `Logits.positions`."""
        return self.values.shape[0]

    @property
    def vocabulary(self) -> int:
        """See `Logits.vocabulary`."""
        return self.values.shape[1]

    def block(self, rows: slice, start: int, stop: int) -> torch.Tensor:
        """See `Logits.block`."""
        return self.values[rows, start:stop]


@dataclass(frozen=True, slots=True)
class ReferenceScores:
    """A model's own scores of the true tokens; arrays of shape ``[targets]``, nats.

    `greedy` says whether the true token is the model's most likely one.
    """

    nll: _Floats
    entropy: _Floats
    greedy: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PairScores:
    """A variant's scores beside the reference's; arrays of shape ``[targets]``, nats.

    `overlap` is the probability that both distributions have in common, 0 to 1; `hellinger` their
    squared Hellinger distance, 0 to 1.
    """

    nll: _Floats
    entropy: _Floats
    kl_divergence: _Floats
    same_top1: NDArray[np.bool_]
    delta_p: _Floats
    overlap: _Floats
    hellinger: _Floats
    greedy: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Workspace:
    """What is kept of a chunk: the reference's logits and exponentials, and a variant's."""

    logits: KeptBlocks
    reference: KeptBlocks
    variant: KeptBlocks

    @classmethod
    def of(cls, positions: int, columns: int, width: int, device: torch.device) -> _Workspace:
        """For chunks of so many positions, in blocks of so many columns."""
        return cls(*(KeptBlocks(positions, columns, width, device) for _ in range(3)))


@torch.no_grad()
def score_positions(
    targets: torch.Tensor,
    reference: Logits,
    variants: Sequence[Logits],
    rows: torch.Tensor | None = None,
    blocks: Blocks | None = None,
    workers: int = 1,
) -> tuple[ReferenceScores, list[PairScores]]:
    """Score the true tokens with the reference and with every variant at once.

    Args:
        targets: true token ids, shape ``[targets]``.
        reference: the reference's logits.
        variants: each variant's, at the same positions; may be empty.
        rows: which position predicts each target, shape ``[targets]``: several targets may be asked
            of one position, whose logits are computed once. None: target i is position i's.
        blocks: how much is taken at a time; None is what suits the device.
        workers: threads that score chunks of positions side by side, which ask for logits side by
            side, too. Torch's own threads are divided among them. No number depends on it.

    Returns:
        The reference's scores and one `PairScores` a variant, in their order. Distributions are
        over the vocabulary that all the models share, so a padded one changes nothing.

    Raises:
        NumericalError: NaN or infinite logits.
    """
    positions = reference.positions
    blocks = blocks or Blocks.on(targets.device)
    size = max(1, min(blocks.positions, blocks.kept // reference.vocabulary))
    columns = min([reference.vocabulary, *(variant.vocabulary for variant in variants)])
    rows = torch.arange(len(targets), device=targets.device) if rows is None else rows
    order = torch.argsort(rows, stable=True)
    starts = torch.arange(0, positions, size, device=rows.device)
    counts = torch.searchsorted(rows[order], starts).tolist()
    room = partial(_Workspace.of, min(size, positions), columns, blocks.columns, targets.device)
    score = partial(
        _score_chunk,
        reference=reference,
        variants=variants,
        columns=range(0, columns, blocks.columns),
    )
    chunks = [
        partial(score, targets[mine], rows[mine] - at, slice(at, min(at + size, positions)))
        for at, mine in zip(starts.tolist(), order.tensor_split(counts[1:]), strict=True)
    ]
    parts = _side_by_side(chunks, room if variants else lambda: None, min(workers, len(chunks)))
    back = torch.argsort(order).cpu().numpy()
    ours = ReferenceScores(*_joined([chunk for chunk, _ in parts], back))
    theirs = [
        PairScores(*_joined([chunks[v] for _, chunks in parts], back)) for v in range(len(variants))
    ]
    return ours, theirs


def _side_by_side(
    chunks: Sequence[Callable[..., _Chunk]], room: Callable[[], _Workspace | None], workers: int
) -> list[_Chunk]:
    """What chunks come to, each scored by a worker with a room of its own."""
    if workers < 2:
        workspace = room()
        return [chunk(workspace=workspace) for chunk in chunks]
    threads = torch.get_num_threads()
    rooms: SimpleQueue[_Workspace | None] = SimpleQueue()
    for _ in range(workers):
        rooms.put(room())

    def prepare() -> None:
        torch.set_num_threads(max(1, threads // workers))

    @torch.no_grad()  # which a thread has to say for itself
    def run(chunk: Callable[..., _Chunk]) -> _Chunk:
        workspace = rooms.get()
        try:
            return chunk(workspace=workspace)
        finally:
            rooms.put(workspace)

    try:
        with ThreadPoolExecutor(workers, initializer=prepare) as pool:
            return list(pool.map(run, chunks))
    finally:
        torch.set_num_threads(threads)  # a thread sets it for those that come after, too


def _joined(chunks: Sequence[tuple[NDArray[Any], ...]], back: NDArray[Any]) -> list[NDArray[Any]]:
    return [np.concatenate(column)[back] for column in zip(*chunks, strict=True)]


def _score_chunk(
    targets: torch.Tensor,
    rows: torch.Tensor,
    here: slice,
    *,
    reference: Logits,
    variants: Sequence[Logits],
    columns: range,
    workspace: _Workspace | None,
) -> _Chunk:
    room = None if workspace is None else workspace.reference
    base = RunningSoftmax(targets, rows, here.stop - here.start, room)
    logits: list[torch.Tensor] = []
    for start in columns:
        block = reference.block(here, start, min(start + columns.step, columns.stop))
        base.update(block, start)
        if workspace is not None:
            logits.append(workspace.logits.matrix(start, block.shape).copy_(block))
    _require_finite(base, "the reference")
    own = _floats(base.nll), _floats(base.entropy[rows]), base.greedy.cpu().numpy()
    if workspace is None:
        return own, []
    blocks = list(zip(logits, base.probabilities(), strict=True))
    return own, [_pair_columns(v, here, base, blocks, workspace.variant) for v in variants]


def _pair_columns(
    variant: Logits,
    here: slice,
    base: RunningSoftmax,
    blocks: Sequence[tuple[torch.Tensor, torch.Tensor]],
    room: KeptBlocks,
) -> tuple[NDArray[Any], ...]:
    """One variant's columns, in the order of `PairScores`.

    Args:
        variant: its logits.
        here: the positions of the chunk.
        base: the reference's softmax over it.
        blocks: the reference's logits and probabilities.
        room: for the variant's.
    """
    rows = base.rows
    state = RunningSoftmax(base.targets, rows, here.stop - here.start, room)
    gap, apart, hellinger = (torch.zeros_like(base.total) for _ in range(3))
    start = 0
    for logits, p in blocks:
        theirs = variant.block(here, start, start + logits.shape[1])
        state.update(theirs, start)
        gap += torch.linalg.vecdot(p, logits - theirs)
        start += logits.shape[1]
    _require_finite(state, "a variant")
    for (_, p), q in zip(blocks, state.probabilities(), strict=True):
        apart += (p - q).clamp_min_(0).sum(dim=1)
        roots = p.sqrt().sub_(q.sqrt_())
        hellinger += torch.linalg.vecdot(roots, roots) / 2
    divergence = gap - base.log_normalizer + state.log_normalizer
    return (
        _floats(state.nll),
        _floats(state.entropy[rows]),
        _floats(divergence[rows]),
        (state.best == base.best)[rows].cpu().numpy(),
        _floats(torch.exp(-state.nll) - torch.exp(-base.nll)),
        _floats((1 - apart)[rows]),
        _floats(hellinger[rows]),
        state.greedy.cpu().numpy(),
    )


def _require_finite(state: RunningSoftmax, whose: str) -> None:
    if not torch.isfinite(state.log_normalizer).all():
        raise NumericalError(
            f"NaN or infinite logits of {whose}",
            hint="try --dtype fp32, in case of an overflow, or download or make the file again",
        )


def _floats(values: torch.Tensor) -> _Floats:
    floats: _Floats = values.float().cpu().numpy()
    return floats
