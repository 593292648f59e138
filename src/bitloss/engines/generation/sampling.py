"""A token drawn from logits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["sample"]

# Tokens among which the smallest set with `top_p` is looked for before all are sorted.
_LIKELIEST = 1024


def sample(logits: torch.Tensor, temperature: float, top_p: float, draw: float) -> int:
    """Invert the distribution function of ``softmax(logits / temperature)`` cut at `top_p`.

    Args:
        logits: of one position, shape ``[vocabulary]``.
        temperature: above 0.
        top_p: tokens are taken from the most likely down until they have this probability
            (Holtzman et al., 2020, arXiv:1904.09751); the lowest id first among equals.
        draw: uniform in [0, 1).
    """
    scaled = logits.double() / temperature
    probabilities = torch.exp(scaled - scaled.max())
    total = float(probabilities.sum())
    if top_p >= 1:
        return _invert(probabilities.cumsum(0).cpu().numpy(), draw)
    kept = _nucleus(probabilities, top_p * total)
    return int(kept[_invert(probabilities[kept].cumsum(0).cpu().numpy(), draw)])


def _nucleus(probabilities: torch.Tensor, mass: float) -> torch.Tensor:
    """Ids of the fewest tokens that have this much together; of equals, the lowest ids."""
    count = _LIKELIEST
    while True:
        count = min(count, len(probabilities))
        values, ids = probabilities.topk(count)
        reached = values.cumsum(0)
        if count == len(probabilities) or float(reached[-1]) >= mass:
            break
        count *= 8
    size = min(int((reached < mass).sum()) + 1, count)
    # Equals at the edge of the set: topk may have taken any of them.
    edge = values[size - 1]
    above = ids[values > edge]
    if count == len(probabilities) or values[-1] < edge:  # it has them all
        equal = ids[values == edge].sort().values
    else:
        equal = (probabilities == edge).nonzero().squeeze(1)
    return torch.cat([above, equal[: size - len(above)]]).sort().values


def _invert(cumulative: NDArray[np.float64], draw: float) -> int:
    at = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
    return min(at, len(cumulative) - 1)
