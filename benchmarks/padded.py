"""Prompts as lm-eval 0.4.13 gives them to transformers: by length, padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

__all__ = ["padded_batches"]


def padded_batches(
    prompts: Sequence[np.ndarray], size: int = 8
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Batches of prompts, the longest first: their indices, token ids, and attention masks."""
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for at in range(0, len(order), size):
        batch = order[at : at + size]
        longest = max(len(prompts[i]) for i in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(batch):
            ids[row, longest - len(prompts[i]) :] = torch.from_numpy(prompts[i].astype(np.int64))
            mask[row, longest - len(prompts[i]) :] = 1
        yield batch, ids, mask
