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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.devices import is_cuda
from bitloss.errors import NumericalError

__all__ = ["Blocks", "FullLogits", "Logits", "PairScores", "ReferenceScores", "score_positions"]

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

_Floats = NDArray[np.float32]


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


class _Kept:
    """Memory for what is kept of a chunk, a matrix for each block of the vocabulary.

    It is used again for the next chunk and the next variant: new pages cost more than what is
    written to them.
    """

    def __init__(self, positions: int, columns: int, width: int, device: torch.device) -> None:
        self._width = min(width, columns)
        n_blocks = -(-columns // self._width)
        self._values = torch.empty((n_blocks, positions * self._width), device=device)

    def matrix(self, start: int, shape: torch.Size) -> torch.Tensor:
        """Room for the block of the columns from `start` on."""
        return self._values[start // self._width, : shape.numel()].view(shape)


@dataclass(frozen=True, slots=True)
class _Workspace:
    """What `_Kept` there is: the reference's logits and exponentials, a variant's exponentials."""

    logits: _Kept
    reference: _Kept
    variant: _Kept

    @classmethod
    def of(cls, positions: int, columns: int, width: int, device: torch.device) -> _Workspace:
        """For chunks of so many positions, in blocks of so many columns."""
        return cls(*(_Kept(positions, columns, width, device) for _ in range(3)))


class _Running:
    """One model's running softmax over the blocks seen so far, for a chunk of positions.

    Args:
        targets: true token ids, shape ``[targets]``.
        rows: which position predicts each.
        n: number of positions.
        kept: room for the exponentials; None where they are not needed again.
    """

    def __init__(
        self, targets: torch.Tensor, rows: torch.Tensor, n: int, kept: _Kept | None
    ) -> None:
        device = targets.device
        self.targets = targets
        self.rows = rows
        self.maximum = torch.full((n,), -torch.inf, device=device)
        self.best = torch.zeros(n, dtype=torch.long, device=device)
        self.total = torch.zeros(n, dtype=torch.float64, device=device)
        self.weighted = torch.zeros(n, dtype=torch.float64, device=device)
        self.target_logit = torch.zeros(len(targets), device=device)
        self._kept = kept
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, block: torch.Tensor, start: int) -> None:
        """Take in the logits of the columns from `start` on."""
        top = self._largest(block, start)
        maximum = torch.maximum(self.maximum, top)
        shrink = torch.exp(self.maximum - maximum).double()
        self.maximum = maximum
        room = None if self._kept is None else self._kept.matrix(start, block.shape)
        exponentials = torch.sub(block, maximum.unsqueeze(1), out=room).exp_()
        self.total = self.total * shrink + exponentials.sum(dim=1)
        self.weighted = self.weighted * shrink + torch.linalg.vecdot(exponentials, block)
        inside = (self.targets >= start) & (self.targets < start + block.shape[1])
        index = (self.targets - start).clamp(0, block.shape[1] - 1)
        self.target_logit = torch.where(inside, block[self.rows, index], self.target_logit)
        if room is not None:
            self._seen.append((exponentials, maximum))

    def _largest(self, block: torch.Tensor, start: int) -> torch.Tensor:
        """The largest logit of each position, whose token is remembered if none was larger."""
        if is_cuda(block.device):  # asking how many rows improve would wait for the card
            top, at = block.max(dim=1)
            self.best = torch.where(top > self.maximum, at + start, self.best)
            return top
        top = block.amax(dim=1)
        rows = (top > self.maximum).nonzero().squeeze(1)
        if len(rows):  # rare after the first blocks, so the slow argmax sees few rows
            self.best[rows] = block[rows].argmax(dim=1) + start
        return top

    def probabilities(self, *, in_place: bool) -> Iterator[torch.Tensor]:
        """What was kept as probabilities, a block at a time.

        Args:
            in_place: whether they are to be read again; memory that is not written takes less time.
        """
        for exponentials, maximum in self._seen:
            scale = torch.exp(maximum.double() - self.log_normalizer).float().unsqueeze(1)
            yield exponentials.mul_(scale) if in_place else exponentials * scale

    @property
    def log_normalizer(self) -> torch.Tensor:
        """Log of the sum of exponentials, shape ``[positions]``, float64."""
        return self.maximum.double() + self.total.log()

    @property
    def nll(self) -> torch.Tensor:
        """Negative log-likelihood of the targets, shape ``[targets]``, float64."""
        return self.log_normalizer[self.rows] - self.target_logit.double()

    @property
    def entropy(self) -> torch.Tensor:
        """Entropy of the distributions, shape ``[positions]``, float64."""
        return self.log_normalizer - self.weighted / self.total

    @property
    def greedy(self) -> torch.Tensor:
        """Whether each target is the first of the most likely tokens, shape ``[targets]``."""
        return self.best[self.rows] == self.targets


@torch.no_grad()
def score_positions(
    targets: torch.Tensor,
    reference: Logits,
    variants: Sequence[Logits],
    rows: torch.Tensor | None = None,
    blocks: Blocks | None = None,
) -> tuple[ReferenceScores, list[PairScores]]:
    """Score the true tokens with the reference and with every variant at once.

    Args:
        targets: true token ids, shape ``[targets]``.
        reference: the reference's logits.
        variants: each variant's, at the same positions; may be empty.
        rows: which position predicts each target, shape ``[targets]``: several targets may be asked
            of one position, whose logits are computed once. None: target i is position i's.
        blocks: how much is taken at a time; None is what suits the device.

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
    room = None
    if variants:
        room = _Workspace.of(min(size, positions), columns, blocks.columns, targets.device)
    rows = torch.arange(len(targets), device=targets.device) if rows is None else rows
    order = torch.argsort(rows, stable=True)
    starts = torch.arange(0, positions, size, device=rows.device)
    counts = torch.searchsorted(rows[order], starts).tolist()
    parts = [
        _score_chunk(
            targets[mine],
            rows[mine] - at,
            slice(at, min(at + size, positions)),
            reference,
            variants,
            range(0, columns, blocks.columns),
            room,
        )
        for at, mine in zip(starts.tolist(), order.tensor_split(counts[1:]), strict=True)
    ]
    back = torch.argsort(order).cpu().numpy()
    ours = ReferenceScores(*_joined([chunk for chunk, _ in parts], back))
    theirs = [
        PairScores(*_joined([chunks[v] for _, chunks in parts], back)) for v in range(len(variants))
    ]
    return ours, theirs


def _joined(chunks: Sequence[tuple[NDArray[Any], ...]], back: NDArray[Any]) -> list[NDArray[Any]]:
    return [np.concatenate(column)[back] for column in zip(*chunks, strict=True)]


def _score_chunk(
    targets: torch.Tensor,
    rows: torch.Tensor,
    here: slice,
    reference: Logits,
    variants: Sequence[Logits],
    columns: range,
    workspace: _Workspace | None,
) -> tuple[tuple[NDArray[Any], ...], list[tuple[NDArray[Any], ...]]]:
    room = None if workspace is None else workspace.reference
    base = _Running(targets, rows, here.stop - here.start, room)
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
    blocks = list(zip(logits, base.probabilities(in_place=True), strict=True))
    return own, [_pair_columns(v, here, base, blocks, workspace.variant) for v in variants]


def _pair_columns(
    variant: Logits,
    here: slice,
    base: _Running,
    blocks: Sequence[tuple[torch.Tensor, torch.Tensor]],
    room: _Kept,
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
    state = _Running(base.targets, rows, here.stop - here.start, room)
    gap, apart, hellinger = (torch.zeros_like(base.total) for _ in range(3))
    start = 0
    for logits, p in blocks:
        theirs = variant.block(here, start, start + logits.shape[1])
        state.update(theirs, start)
        gap += torch.linalg.vecdot(p, logits - theirs)
        start += logits.shape[1]
    _require_finite(state, "a variant")
    for (_, p), q in zip(blocks, state.probabilities(in_place=False), strict=True):
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


def _require_finite(state: _Running, whose: str) -> None:
    if not torch.isfinite(state.log_normalizer).all():
        raise NumericalError(
            f"NaN or infinite logits of {whose}",
            hint="try --dtype fp32, in case of an overflow, or download or make the file again",
        )


def _floats(values: torch.Tensor) -> _Floats:
    floats: _Floats = values.float().cpu().numpy()
    return floats
