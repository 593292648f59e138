"""One model's softmax over the vocabulary, a block of it at a time.

The online softmax of Milakov and Gimelshein, 2018, arXiv:1805.02867. Blocks are summed in float32
and put together in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bitloss.engines.devices import is_cuda

__all__ = ["KeptBlocks", "RunningSoftmax"]


class KeptBlocks:
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


class RunningSoftmax:
    """One model's running softmax over the blocks seen so far, for a chunk of positions.

    Args:
        targets: true token ids, shape ``[targets]``.
        rows: which position predicts each.
        n: number of positions.
        kept: room for the exponentials; None where they are not needed again.
    """

    def __init__(
        self, targets: torch.Tensor, rows: torch.Tensor, n: int, kept: KeptBlocks | None
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

    def probabilities(self) -> Iterator[torch.Tensor]:
        """What was kept, made probabilities in place, a block at a time."""
        for exponentials, maximum in self._seen:
            scale = torch.exp(maximum.double() - self.log_normalizer).float()
            yield exponentials.mul_(scale.unsqueeze(1))

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
