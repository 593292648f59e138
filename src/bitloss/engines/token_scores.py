"""Every column of a record from one pass over the vocabulary, a block of it at a time.

Any engine may give the logits (`Logits`). Of each model a running maximum, a running sum of
exponentials and a few running expectations are kept for each position (the online softmax of
Milakov and Gimelshein, 2018, arXiv:1805.02867), from which follow

    NLL(t)    = log Z - z_t
    entropy   = log Z - E_p[z]
    KL(p||q)  = E_p[z_p - z_q] - log Z_p + log Z_q

The difference ``z_p - z_q`` is taken element by element before it is summed, so a variant whose
logits are the reference's has a divergence of exactly 0. Blocks are summed in float32 and put
together in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.errors import NumericalError

__all__ = ["FullLogits", "Logits", "PairScores", "ReferenceScores", "score_positions"]

# Small enough that a handful of blocks stay in the cache, large enough for full-speed products.
POSITIONS = 256
COLUMNS = 2048

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
    """A variant's scores beside the reference's; arrays of shape ``[targets]``, nats."""

    nll: _Floats
    entropy: _Floats
    kl_divergence: _Floats
    same_top1: NDArray[np.bool_]
    delta_p: _Floats
    greedy: NDArray[np.bool_]


class _Running:
    """One model's running softmax over the blocks seen so far, for a chunk of positions."""

    def __init__(self, targets: torch.Tensor, rows: torch.Tensor, n: int) -> None:
        device = targets.device
        self.targets = targets
        self.rows = rows
        self.maximum = torch.full((n,), -torch.inf, device=device)
        self.best = torch.zeros(n, dtype=torch.long, device=device)
        self.total = torch.zeros(n, dtype=torch.float64, device=device)
        self.weighted = torch.zeros(n, dtype=torch.float64, device=device)
        self.target_logit = torch.zeros(len(targets), device=device)

    def update(self, block: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in the logits of the columns from `start` on.

        Returns:
            The block's exponentials relative to the new maximum, shape ``[positions, columns]``,
            and the factor by which older sums shrink, shape ``[positions]``.
        """
        top = block.amax(dim=1)
        rows = (top > self.maximum).nonzero().squeeze(1)
        if len(rows):  # rare after the first blocks, so the slow argmax sees few rows
            self.best[rows] = block[rows].argmax(dim=1) + start
        maximum = torch.maximum(self.maximum, top)
        shrink = torch.exp(self.maximum - maximum).double()
        self.maximum = maximum
        exponentials = (block - maximum.unsqueeze(1)).exp_()
        self.total = self.total * shrink + exponentials.sum(dim=1)
        self.weighted = self.weighted * shrink + torch.linalg.vecdot(exponentials, block)
        inside = (self.targets >= start) & (self.targets < start + block.shape[1])
        index = (self.targets - start).clamp(0, block.shape[1] - 1)
        self.target_logit = torch.where(inside, block[self.rows, index], self.target_logit)
        return exponentials, shrink

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
) -> tuple[ReferenceScores, list[PairScores]]:
    """Score the true tokens with the reference and with every variant at once.

    Args:
        targets: true token ids, shape ``[targets]``.
        reference: the reference's logits.
        variants: each variant's, at the same positions; may be empty.
        rows: which position predicts each target, shape ``[targets]``: several targets may be asked
            of one position, whose logits are computed once. None: target i is position i's.

    Returns:
        The reference's scores and one `PairScores` a variant, in their order. Distributions are
        over the vocabulary that all the models share, so a padded one changes nothing.

    Raises:
        NumericalError: NaN or infinite logits.
    """
    positions = reference.positions
    rows = torch.arange(len(targets), device=targets.device) if rows is None else rows
    order = torch.argsort(rows, stable=True)
    starts = torch.arange(0, positions, POSITIONS, device=rows.device)
    counts = torch.searchsorted(rows[order], starts).tolist()
    parts = [
        _score_chunk(
            targets[mine],
            rows[mine] - at,
            slice(at, min(at + POSITIONS, positions)),
            reference,
            variants,
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
) -> tuple[tuple[NDArray[Any], ...], list[tuple[NDArray[Any], ...]]]:
    columns = min([reference.vocabulary, *(variant.vocabulary for variant in variants)])
    positions = here.stop - here.start
    base = _Running(targets, rows, positions)
    states = [_Running(targets, rows, positions) for _ in variants]
    difference = [torch.zeros_like(base.total) for _ in variants]
    for start in range(0, columns, COLUMNS):
        stop = min(start + COLUMNS, columns)
        block = reference.block(here, start, stop)
        weights, shrink = base.update(block, start)
        for v, variant in enumerate(variants):
            theirs = variant.block(here, start, stop)
            states[v].update(theirs, start)
            gap = torch.linalg.vecdot(weights, block - theirs)
            difference[v] = difference[v] * shrink + gap
    _require_finite(base, "the reference")
    results: list[tuple[NDArray[Any], ...]] = []
    for state, gap in zip(states, difference, strict=True):
        _require_finite(state, "a variant")
        divergence = gap / base.total - base.log_normalizer + state.log_normalizer
        results.append(
            (
                _floats(state.nll),
                _floats(state.entropy[rows]),
                _floats(divergence[rows]),
                (state.best == base.best)[rows].cpu().numpy(),
                _floats(torch.exp(-state.nll) - torch.exp(-base.nll)),
                state.greedy.cpu().numpy(),
            )
        )
    own = _floats(base.nll), _floats(base.entropy[rows]), base.greedy.cpu().numpy()
    return own, results


def _require_finite(state: _Running, whose: str) -> None:
    if not torch.isfinite(state.log_normalizer).all():
        raise NumericalError(
            f"NaN or infinite logits of {whose}",
            hint="the file may be damaged, or the model overflows in this dtype: try --dtype fp32",
        )


def _floats(values: torch.Tensor) -> _Floats:
    floats: _Floats = values.float().cpu().numpy()
    return floats
